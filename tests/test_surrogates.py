"""Surrogates: the forward pass untouched to the bit, the backward pass its definition."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import METHODS, euler, neuron_and_inputs, splitting

import jaxsnn_mc as mc

SHAPES = {
    "sigmoid": mc.sigmoid(),
    "superspike": mc.superspike(),
    "arctan": mc.arctan(),
    "triangle": mc.triangle(),
}
NEURON, _ = neuron_and_inputs(reference.table1())


def by_hand(name, m):
    """The default shapes, written out for numpy."""
    with np.errstate(over="ignore"):
        return {
            "sigmoid": lambda: 50.0 / (2.0 + np.exp(50.0 * m) + np.exp(-50.0 * m)),
            "superspike": lambda: 10.0 / (1.0 + 10.0 * np.abs(m)) ** 2,
            "arctan": lambda: 2.0 / (1.0 + (np.pi * 2.0 * m) ** 2),
            "triangle": lambda: np.where(np.abs(m) < 1.0, 1.0 - np.abs(m), 0.0),
        }[name]()


def run(amplitude, rule, method=splitting, dtype=None, t_max=20.0):
    current = [mc.StepCurrent("c0", amplitude)]
    return mc.simulate(
        NEURON, current, t_max=t_max, dt=0.1, method=method, spike_rule=rule, dtype=dtype
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("method", METHODS)
def test_forward_pass_is_untouched(method, dtype):
    """Voltages, states and spikes of several spikes, to the bit those of the run with Exact."""
    exact = run(900.0, mc.Exact(), method, dtype)
    assert exact.counts[0] >= 2
    assert exact.train is None
    for name, shape in SHAPES.items():
        for detach in (False, True):
            if detach != (name in ("sigmoid", "arctan")):
                continue  # two shapes each: a run is cheap, its compilation is not
            ours = run(900.0, mc.Surrogate(shape, detach_reset=detach), method, dtype)
            for what in ("voltages", "states", "slots", "counts", "state"):
                a, b = (jax.tree.leaves(getattr(x, what)) for x in (exact, ours))
                assert len(a) == len(b)
                assert all(
                    x.dtype == y.dtype and bool((x == y).all()) for x, y in zip(a, b, strict=True)
                )
            assert ours.spike_train().sum() == exact.counts[0]
            at = np.floor(exact.spike_times() / 0.1).astype(int)
            assert np.flatnonzero(ours.spike_train()).tolist() == np.unique(at).tolist()


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    """The shapes against hand-written formulas."""
    m = np.concatenate([np.linspace(-3.0, 3.0, 601), [-100.0, 100.0, 1e6, -1e6]])
    np.testing.assert_allclose(
        SHAPES[name](jnp.asarray(m)), by_hand(name, m), rtol=1e-12, atol=1e-300
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_finite(name, dtype):
    """Values and derivatives for margins to 1e6 mV in both signs."""
    m = jnp.concatenate([jnp.array([0.0]), jnp.logspace(-30, 6, 500)]).astype(dtype)
    m = jnp.concatenate([-m, m])
    for values in (SHAPES[name](m), jax.vmap(jax.grad(SHAPES[name]))(m)):
        assert values.dtype == dtype
        assert np.isfinite(values).all()
    assert (SHAPES[name](m) >= 0.0).all()


@pytest.mark.parametrize("name", SHAPES)
def test_rule_is_its_definition(name):
    """`spike` and `reset` against the definition: the value kept, shape * change the derivative."""
    rng = np.random.default_rng(1)
    m, y, change = (jnp.asarray(rng.normal(size=40)) for _ in range(3))
    fired = (m > 0).astype(float)
    rule, cut = mc.Surrogate(SHAPES[name]), mc.Surrogate(SHAPES[name], detach_reset=True)
    shape, one = by_hand(name, np.asarray(m)), jnp.ones_like(m)
    value, slope = jax.jvp(lambda m: rule.spike(fired, m), (m,), (one,))
    assert (value == fired).all()
    np.testing.assert_allclose(slope, shape, rtol=1e-12)
    for which, expected in ((rule, shape * change), (cut, 0.0 * m)):
        value, slope = jax.jvp(lambda m, r=which: r.reset(y, m, change), (m,), (one,))
        assert (value == y).all()
        np.testing.assert_allclose(slope, expected, rtol=1e-12)
        for argument, passes in ((0, 1.0), (2, 0.0)):  # y passes, the change is held constant
            grad = jax.grad(lambda *x, r=which: r.reset(*x).sum(), argument)(y, m, change)
            np.testing.assert_allclose(grad, passes * one, rtol=0, atol=1e-12)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def step_function(shape, m):
    return (m > 0.0) * 1.0


@step_function.defjvp
def step_function_jvp(shape, primals, tangents):
    return step_function(shape, *primals), shape(primals[0]) * tangents[0]


LIF = jnp.array([100.0, 10.0, -65.0, -50.0, -70.0, 1.234, 1200.0])  # c_m ... t_ref, current


def lif_by_hand(theta, rule, dt, n):
    """(V, spike train) of a LIF by backward Euler. The times of events are constants, and a spike adds
    to the state the step function of the margin without events times what firing does (a constant).
    """
    c, g, leak, th, reset, t_ref, current = theta
    const = jax.lax.stop_gradient

    def relax(v, h):
        return v + h * (g * (leak - v) + current) / (c + h * g)

    v, r, voltages, train = leak, 0.0 * t_ref, [], []
    for _ in range(n):
        free, ran = (v if r >= dt else relax(v, dt)), jnp.maximum(r - dt, 0.0)  # without events
        end_v, end_r = (relax(v, dt - r) if 0.0 < r < dt else free), ran
        if free > th and r <= 0.0:
            before = const((th - v) * c / (g * (leak - th) + current))  # relax(v, before) = th
            end_v, end_r = reset, t_ref - (dt - before)
        s = step_function(rule.shape, free - th)
        train.append(s)
        if not rule.detach_reset:  # zero, with the derivative of s
            end_v = end_v + (s - const(s)) * const(reset - free)
            end_r = end_r + (s - const(s)) * const(t_ref - ran)
        v, r = end_v, end_r
        voltages.append(v)
    return jnp.stack(voltages), jnp.stack(train)


@pytest.mark.parametrize("detach", [False, True])
def test_simulated_gradient_is_the_definition(detach):
    """60 steps of a LIF with two spikes: the recursion written out with custom step functions."""
    rule = mc.Surrogate(mc.superspike(0.5), detach_reset=detach)
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(2, 60)))

    def ours(theta):
        c, *lif, current = theta
        neuron = mc.Neuron({"soma": mc.Compartment(c, [mc.LIF(*lif)])})
        inputs = [mc.StepCurrent("soma", current)]
        run = mc.simulate(neuron, inputs, t_max=6.0, dt=0.1, method=euler, spike_rule=rule)
        return run["soma"][1:], run.spike_train()

    def loss(outputs):
        return (weights * jnp.stack(outputs)).sum()

    for a, b in zip(ours(LIF), lif_by_hand(LIF, rule, 0.1, 60), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    assert ours(LIF)[1].sum() == 2
    a = jax.grad(lambda theta: loss(ours(theta)))(LIF)
    b = jax.grad(lambda theta: loss(lif_by_hand(theta, rule, 0.1, 60)))(LIF)
    print("gradients", a, b)
    np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_without_spikes(method):
    """A run that does not spike: the triangle keeps the gradient of Exact, the sigmoid bends it."""

    def gradient(rule):
        return float(jax.grad(lambda i: run(i, rule, method).voltages[-1, 0])(150.0))

    exact = gradient(mc.Exact())
    assert run(150.0, mc.Exact(), method).counts[0] == 0
    assert gradient(mc.Surrogate(mc.triangle())) == pytest.approx(exact, rel=1e-12)
    assert gradient(mc.Surrogate(mc.sigmoid(), detach_reset=True)) == pytest.approx(
        exact, rel=1e-12
    )
    bent = gradient(mc.Surrogate(mc.sigmoid(0.5)))
    print("bent by", bent / exact - 1.0)
    assert 1e-9 < abs(bent / exact - 1.0) < 0.1
