"""Training, judged against known optima, single fits, and uninterrupted runs."""

import json
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from helpers import neuron_and_inputs, splitting

import jaxsnn_mc as mc
from jaxsnn_mc.fit import Fit, fit, random_starts
from jaxsnn_mc.transforms import Bounds, Transform

TAU_W, G, LEAK = "soma.AdEx.tau_w", "soma-dendrite", "dendrite.Leak.g_leak"
NAMES = [LEAK, G, TAU_W]
TARGET = {TAU_W: 80.0, G: 7.0, LEAK: 1.5}
ADAM = optax.adam(0.3)


def small() -> mc.Neuron:
    return mc.Neuron(
        {
            "soma": mc.Compartment(100.0, [mc.AdEx(10.0)]),
            "dendrite": mc.Compartment(50.0, [mc.Leak(2.0, -65.0)]),
        },
        [("soma", "dendrite", 5.0)],
    )


def distance(neuron: mc.Neuron) -> jax.Array:
    """A loss without a simulation: quick, and lowest at TARGET."""
    return sum(((neuron.get(name) / value - 1.0) ** 2 for name, value in TARGET.items()), 0.0)


def distance_to(neuron: mc.Neuron, tau_w: jax.Array) -> jax.Array:
    return (neuron.get(TAU_W) / tau_w - 1.0) ** 2


def quiet(neuron, loss=distance, trainable=NAMES, optimizer=ADAM, steps=20, **kwargs) -> Fit:
    return fit(
        neuron, loss, trainable, optimizer=optimizer, steps=steps, **({"progress": False} | kwargs)
    )


def assert_same(a: Fit, b: Fit) -> None:
    """Equal to the bit."""
    assert jax.tree.all(
        jax.tree.map(
            np.array_equal, (a.neuron, a.best, a.best_loss), (b.neuron, b.best, b.best_loss)
        )
    )
    assert np.array_equal(a.losses, b.losses, equal_nan=True)
    assert all(np.array_equal(a.history[name], b.history[name]) for name in a.history)
    assert (a.best_step, a.stopped) == (b.best_step, b.stopped)


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


def test_minibatches() -> None:
    """Judged against the losses of each batch in turn; shuffled, every pass takes all of them."""
    data = jnp.array([60.0, 80.0, 120.0])
    still = optax.sgd(0.0)
    losses = quiet(small(), distance_to, [TAU_W], still, 6, batches=data).losses
    one = [(100.0 / x - 1.0) ** 2 for x in data]
    assert np.allclose(losses, one * 2)
    listed = quiet(small(), distance_to, [TAU_W], still, 6, batches=[60.0, 80.0, 120.0])
    assert np.allclose(listed.losses, one * 2)
    with_key = {"batches": data, "key": jax.random.key(1)}
    shuffled = quiet(small(), distance_to, [TAU_W], still, 12, **with_key).losses.reshape(4, 3)
    assert np.allclose(np.sort(shuffled, axis=1), np.sort(one))
    assert len({tuple(row) for row in shuffled.round(9).tolist()}) > 1
    with pytest.raises(ValueError, match="batches ended"):
        quiet(small(), distance_to, [TAU_W], still, 6, batches=iter([60.0, 80.0]))


def test_a_step_is_traced_once() -> None:
    """Judged by counting calls, with new numbers in each batch, weak types and a schedule."""
    count = []

    def loss(neuron: mc.Neuron, batch: dict) -> jax.Array:
        count.append(1)
        return distance_to(neuron, batch["tau_w"])

    batches = [{"tau_w": 60.0 + i} for i in range(7)]
    optimizer = optax.chain(optax.clip(1.0), optax.adam(optax.cosine_decay_schedule(1.0, 10)))
    quiet(small(), loss, [TAU_W], optimizer, batches=batches)
    assert len(count) == 1


def test_stops_early() -> None:
    """Judged against the step of the lowest loss."""
    found = quiet(
        small(), lambda n: (n.get(TAU_W) - 98.5) ** 2, [TAU_W], optax.sgd(0.5), 50, patience=4
    )
    assert len(found.losses) == found.best_step + 5 < 50
    assert found.stopped == f"no lower loss since step {found.best_step}"
    assert float(found.best.get(TAU_W)) == found.history[TAU_W][found.best_step]


def test_names_where_numbers_break() -> None:
    """Judged against the parameter and the step at which the loss was made to break."""

    def loss(neuron: mc.Neuron) -> jax.Array:
        g, leak = neuron.get(G), neuron.get(LEAK)
        return jnp.sqrt(jnp.where(g > 4.5, (g - 4.5) ** 4, -g)) + leak

    sign = optax.chain(optax.scale_by_sign(), optax.sgd(0.2))
    with pytest.warns(RuntimeWarning, match=rf"in step \d+ .*gradient of {G} is not finite"):
        found = quiet(small(), loss, [G, LEAK], sign)
    step = len(found.losses) - 1
    assert f"in step {step} the loss is nan" in found.stopped
    assert np.isnan(found.losses[step])
    assert np.all(np.isfinite(found.losses[:step]))
    assert np.isfinite(found.neuron.get(G))
    starts = {G: jnp.array([5.0, 50.0])}
    with pytest.warns(RuntimeWarning, match="of start 0"):
        both = quiet(small(), loss, [G, LEAK], sign, starts=starts)
    assert both.losses.shape == (2, 20)
    assert np.all(np.isfinite(both.losses[1]))
    assert both.stopped[1] == "all steps done"


@pytest.mark.parametrize("many", [False, True])
def test_resumes_to_the_same_bits(many: bool, tmp_path: Path) -> None:
    """Judged against a fit that was not interrupted."""
    starts = random_starts(small(), [TAU_W, G], 3, jax.random.key(0)) if many else None
    kwargs = {"batches": jnp.arange(60.0, 70.0), "key": jax.random.key(3), "starts": starts}

    def go(steps: int, **more) -> Fit:
        return quiet(small(), distance_to, [TAU_W, G], optax.adam(1.0), steps, **kwargs, **more)

    whole, file = go(25), tmp_path / "fit"
    go(11, save=file, save_every=4)
    resumed = go(25, resume=file, save=file)
    if many:
        assert np.array_equal(whole.losses, resumed.losses)
        assert np.array_equal(whole.neuron.get(TAU_W), resumed.neuron.get(TAU_W))
    else:
        assert_same(whole, resumed)
    assert [p.name for p in tmp_path.iterdir()] == ["fit"]
    assert json.loads(file.read_bytes().split(b"\n")[0])["step"] == 25


def test_refuses_files_that_do_not_fit(tmp_path: Path) -> None:
    """Judged against ValueError for files cut, altered, or of another fit."""
    file, bad = tmp_path / "fit", tmp_path / "bad"
    quiet(small(), save=file, steps=3)
    content = file.read_bytes()
    altered = bytearray(content)
    altered[-5] ^= 1
    for wrong in (content[:-10], bytes(altered), content[:20], b"", b"\x93NUMPY\n", b"[]\n"):
        bad.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"damaged|not a file"):
            quiet(small(), resume=bad)
    bad.write_bytes(content.replace(b'"version": 1', b'"version": 9'))
    with pytest.raises(ValueError, match="version 9"):
        quiet(small(), resume=bad)
    with pytest.raises(ValueError, match="another fit"):
        quiet(small(), resume=file, optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match="another neuron"):
        quiet(small().set({"soma.c_m": 90.0}), resume=file)
    with pytest.raises(ValueError, match="not of"):
        quiet(small(), trainable=[G], resume=file)


def test_progress_changes_nothing(capsys: pytest.CaptureFixture) -> None:
    """Judged against a run without a bar; in a pipe it prints few lines."""
    silent = quiet(small())
    assert capsys.readouterr().err == ""
    assert_same(silent, quiet(small(), progress=True))
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("loss", "20/20", "step/s"))
    assert shown.count("\r") <= 4


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


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"trainable": TAU_W}, "list of paths"),
        ({"trainable": []}, "different parameters"),
        ({"trainable": ["soma.AdEx.tau"]}, "no parameter 'tau'"),
        ({"trainable": ["soma.AdEx.t_ref"]}, "starts at 0"),
        ({"bounds": {"soma.c_m": (0.0, 1.0)}}, "not trained"),
        ({"bounds": {TAU_W: (200.0, 300.0)}}, "above 200"),
        ({"bounds": {TAU_W: (200.0, 100.0)}}, "must be"),
        ({"scale": "mine"}, "initial"),
        ({"scale": 0.0}, "positive"),
        ({"starts": {TAU_W: 3.0}}, "leading axis"),
        ({"starts": {TAU_W: jnp.ones((3, 2))}}, "must be"),
        ({"starts": {TAU_W: jnp.ones(3), G: jnp.ones(2)}}, "leading axis"),
        ({"batches": {"a": jnp.ones(3), "b": jnp.ones(2)}}, "leading axis"),
        ({"batches": 3.0}, "iterable"),
        ({"steps": 0}, "positive integer"),
        ({"patience": 0}, "positive number"),
        ({"loss": lambda n: n.c_m}, "scalar"),
    ],
)
def test_bad_arguments(kwargs: dict, message: str) -> None:
    """Judged against ValueError that says what is wrong."""
    with pytest.raises(ValueError, match=message):
        quiet(small(), **kwargs)


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
