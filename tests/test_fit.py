"""Training, judged against known optima, bounds, and single fits."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from fitting import LEAK, NAMES, TAU_W, G, distance, quiet, small
from helpers import neuron_and_inputs, splitting

import jaxsnn_mc as mc
from jaxsnn_mc.fit import random_starts
from jaxsnn_mc.transforms import Bounds, Transform


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(0.0), Bounds(high=100.0), Bounds(-3.0, 90.0)])
def test_transforms_invert_and_keep_units(bounds: Bounds) -> None:
    """Judged against the start itself, and against slope 1 there (a step is a step)."""
    start = jnp.array([0.5, 5.0, 40.0, 80.0])
    transform = Transform("x", start, bounds)
    x = transform.free(start)
    assert np.allclose(transform.constrain(x), start, rtol=1e-13)
    slope = jax.vmap(jax.grad(lambda x, t: t.constrain(x)))(x, transform)
    assert np.all((slope > 0.975) & (slope <= 1.0))
    for far in (-1e9, 1e9):
        y, slope = jax.vmap(jax.value_and_grad(lambda x, t: t.constrain(x)))(x + far, transform)
        assert np.all((bounds.low <= y) & (y <= bounds.high))
        assert np.all(np.isfinite(slope))


def test_recovers_tau_w_from_a_spike_time() -> None:
    """Judged against the tau_w that made the target spike: the report's task, in 30 steps."""
    neuron, inputs = neuron_and_inputs(reference.table2(100.0, 50.0))
    tau_w = "c0.AdEx.tau_w"
    traces = []

    def first_spike(neuron: mc.Neuron) -> jax.Array:
        run = mc.simulate(neuron, inputs, t_max=50.0, dt=0.05, method=splitting, record=())
        return mc.readouts.spike_time(run, "c0")

    target = float(first_spike(neuron))

    def loss(neuron: mc.Neuron) -> jax.Array:
        traces.append(1)
        return (first_spike(neuron) - target) ** 2

    adam = optax.adam(20.0, b1=0.5, b2=0.9)
    found = quiet(neuron.set({tau_w: 50.0}), loss, [tau_w], adam, 30)
    assert abs(float(found.neuron.get(tau_w)) - 100.0) < 0.1
    assert len(traces) == 1
    assert found.losses.shape == found.history[tau_w].shape == (30,)
    assert found.history[tau_w][0] == pytest.approx(50.0, rel=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_whatever_the_learning_rate(seed: int) -> None:
    """Judged against the bounds: random starts, and losses that push against both of them."""
    starts = random_starts(small(), NAMES, 16, jax.random.key(seed))
    for sign in (1.0, -1.0):
        found = quiet(
            small(),
            lambda n, sign=sign: sign * sum(n.get(name) for name in NAMES),
            optimizer=optax.sgd(1e4 * 10.0**seed),
            bounds={TAU_W: (10.0, 200.0), LEAK: (-jnp.inf, 4.0)},
            starts=starts,
        )
        assert np.all((found.history[TAU_W] >= 10.0) & (found.history[TAU_W] <= 200.0))
        assert np.all(found.history[LEAK] <= 4.0)
        assert np.all((found.history[G] >= 0.0) & np.isfinite(found.history[G]))
        assert found.neuron.g.shape == (16, 1)


def test_exclusive_bounds_are_never_reached() -> None:
    """Judged against zero: tau_w must stay above it."""
    found = quiet(small(), lambda n: n.get(TAU_W), [TAU_W], optax.sgd(1e200))
    assert np.all(found.history[TAU_W] > 0.0)


def test_many_starts_are_single_fits() -> None:
    """Judged against a fit from each start alone."""
    starts = random_starts(small(), NAMES, 3, jax.random.key(0))
    together = quiet(small(), starts=starts)
    for i in range(3):
        alone = quiet(small().set({name: values[i] for name, values in starts.items()}))
        assert np.allclose(together.losses[i], alone.losses, rtol=1e-10)
        assert np.allclose(together.neuron.get(G)[i], alone.neuron.get(G), rtol=1e-10)
        assert np.allclose(together.best_loss[i], alone.best_loss, rtol=1e-10)
    assert together.losses.shape == (3, 20)
    assert together.best_start == int(np.argmin(together.losses.min(axis=1)))
    assert "of 3" in str(together)


def test_projects_before_the_loss() -> None:
    """Judged against a quantiser with a straight-through gradient: losses of whole numbers only."""

    def whole(neuron: mc.Neuron) -> mc.Neuron:
        return jax.tree.map(lambda x: x + jax.lax.stop_gradient(jnp.round(x) - x), neuron)

    found = quiet(small(), lambda n: (n.get(G) - 7.3) ** 2, [G], optax.sgd(0.1), project=whole)
    assert np.allclose(found.losses, (np.round(found.history[G]) - 7.3) ** 2)
    assert abs(float(found.best.get(G)) - 7.0) <= 0.5


def test_trains_any_pytree_and_any_leaves() -> None:
    """Judged against a least-squares optimum, and against bounds declared for whole arrays."""
    x = jnp.array([1.0, 2.0, 3.0])
    free = quiet(
        {"w": x}, lambda p: jnp.sum((p["w"] - 5.0) ** 2), lambda p: p["w"], optax.sgd(0.25)
    )
    assert np.allclose(free.neuron["w"], 5.0, atol=1e-4)
    leaves = quiet(
        small(), lambda n: jnp.sum(n.g) + jnp.sum(n.c_m), lambda n: (n.g, n.c_m), optax.adam(9.0)
    )
    assert list(leaves.history) == [".g", ".c_m"]
    assert np.all(leaves.history[".c_m"] > 0)
    starts = {".g": jnp.array([[5.0], [6.0]])}
    two = quiet(small(), lambda n: jnp.sum(n.g), lambda n: n.g, starts=starts)
    assert two.best.g.shape == (2, 1)


def test_scale_is_the_unit_of_a_step() -> None:
    """Judged against Adam's first step, which is the learning rate."""
    found = quiet(small(), distance, [TAU_W, G], optax.adam(0.01), 2, scale="initial")
    for name, start in ((TAU_W, 100.0), (G, 5.0)):
        assert abs(np.diff(found.history[name])[0]) == pytest.approx(0.01 * start, rel=0.02)


def test_lbfgs_and_float32() -> None:
    """Judged against the optimum (an optimiser that needs the loss), and the type of the numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = quiet(small(), optimizer=optax.lbfgs(), scale="initial", steps=15)
    assert found.losses[-1] < 1e-8
    single = jax.tree.map(lambda x: x.astype(jnp.float32), small())
    found = quiet(single)
    assert all(
        x.dtype == jnp.float32 for x in jax.tree.leaves(eqx.filter(found.neuron, eqx.is_array))
    )
