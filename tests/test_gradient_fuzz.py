"""Fuzzed gradients: of random runs, many of them grazing their threshold, each is finite or flagged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import euler, splitting
from jax import Array

import jaxsnn_mc as mc

DT, T_MAX = 0.25, 15.0  # ms
FREE, PEAK, PLATEAU = range(3)  # of the LIF's drive, see `graze`
LIF = "lif.LIF."

Run = tuple[mc.Neuron, list]


def skeleton() -> Run:
    """An AdEx coupled to a LIF with a synapse, and their inputs; the numbers are drawn later."""
    neuron = mc.Neuron(
        {
            "adex": mc.Compartment(100.0, [mc.AdEx(10.0)]),
            "lif": mc.Compartment(100.0, [mc.LIF(10.0, -65.0), mc.CurrentSynapse()]),
        },
        [("adex", "lif", 1.0)],
    )
    inputs = [
        mc.StepCurrent("adex", 0.0, 0.0, T_MAX),
        mc.StepCurrent("lif", 0.0, 0.0, T_MAX),
        mc.SpikeTrain("lif", [0.0, 0.0, 0.0], 0.0),
    ]
    return neuron, inputs


class Draw:
    """Random numbers for a population."""

    def __init__(self, count: int, seed: int):
        self.count, self.rng = count, np.random.default_rng(seed)

    def uniform(self, low, high, *shape: int) -> np.ndarray:
        return self.rng.uniform(low, high, (self.count, *shape))

    def log_uniform(self, low, high, *shape: int) -> np.ndarray:
        return np.exp(self.uniform(np.log(low), np.log(high), *shape))

    def or_zero(self, share: float, x: np.ndarray) -> np.ndarray:
        return np.where(self.rng.random(self.count) < share, 0.0, x)


def adex_numbers(draw: Draw) -> dict[str, np.ndarray]:
    """By path: delta_T from 0, a tenth with a reset above v_exp, some without refractory period."""
    v_exp, v_th = draw.uniform(-60.0, -40.0), draw.uniform(-55.0, 0.0)
    below = np.where(draw.rng.random(draw.count) < 0.1, v_th, np.minimum(v_th, v_exp))
    soma = {
        "g_leak": draw.uniform(0.0, 20.0),
        "v_leak": draw.uniform(-75.0, -60.0),
        "v_exp": v_exp,
        "delta_T": draw.or_zero(0.2, draw.log_uniform(1e-3, 5.0)),
        "a": draw.uniform(-2.0, 10.0),
        "tau_w": draw.log_uniform(1.0, 300.0),
        "b": draw.uniform(0.0, 300.0),
        "v_th": v_th,
        "v_reset": below - draw.log_uniform(1.0, 60.0),
        "t_ref": draw.or_zero(0.3, draw.uniform(0.0, 4.0)),
    }
    return {f"adex.AdEx.{name}": x for name, x in soma.items()}


def population(count: int, seed: int) -> tuple[Run, np.ndarray]:
    """Random runs, batched, and the kind of each; half of the LIFs are uncoupled."""
    draw = Draw(count, seed)
    kind = draw.rng.integers(0, 3, count)
    v_leak, v_th = draw.uniform(-75.0, -62.0), draw.uniform(-60.0, -30.0)
    g_leak, steady = draw.log_uniform(0.5, 30.0), kind == PLATEAU
    rheobase = g_leak * (v_th - v_leak)
    neuron, (into_adex, into_lif, train) = skeleton()
    neuron = neuron.set(
        {
            **adex_numbers(draw),
            "adex.c_m": draw.log_uniform(10.0, 300.0),
            "adex.v_init": draw.uniform(-90.0, -45.0),
            "adex-lif": draw.or_zero(0.5, draw.log_uniform(0.1, 30.0)),
            "lif.c_m": draw.log_uniform(5.0, 300.0),
            "lif.v_init": np.where(steady, v_leak, draw.uniform(-90.0, -45.0)),
            f"{LIF}g_leak": g_leak,
            f"{LIF}v_leak": v_leak,
            f"{LIF}v_th": v_th,
            f"{LIF}v_reset": v_th - draw.log_uniform(1.0, 60.0),
            f"{LIF}t_ref": draw.or_zero(0.3, draw.uniform(0.0, 4.0)),
            "lif.CurrentSynapse.tau_syn": draw.log_uniform(0.2, 30.0),
        }
    )
    start, stop = draw.uniform(0.0, 5.0), draw.uniform(6.0, T_MAX)
    current = draw.log_uniform(30.0, 3000.0) * draw.rng.choice([-0.2, 1.0], count)
    into_adex = mc.StepCurrent("adex", current, start, stop)
    current = rheobase * np.where(steady, 1.0, draw.or_zero(0.5, draw.uniform(-1.0, 2.5)))
    into_lif = mc.StepCurrent(
        "lif", current, np.where(steady, 0.0, start), np.where(steady, T_MAX, stop)
    )
    weights = (rheobase * ~steady)[:, None] * draw.uniform(0.0, 2.5, 3)
    train = mc.SpikeTrain("lif", draw.uniform(0.0, 0.9 * T_MAX, 3), weights)
    return (neuron, [into_adex, into_lif, train]), kind


def graze(neuron: mc.Neuron, kind: np.ndarray, peak: Array, seed: int) -> mc.Neuron:
    """The neurons with the LIF's threshold at the highest voltage that it reaches without one (a
    fifth of them), or 1e-15 to 0.1 mV below, unless `kind` is FREE. A PEAK is passed through, a
    PLATEAU (a constant current) approached for ever."""
    draw = Draw(len(kind), seed)
    v_th, v_reset = neuron.get(f"{LIF}v_th"), neuron.get(f"{LIF}v_reset")
    below = draw.or_zero(0.2, 10.0 ** draw.uniform(-15.0, -1.0))
    new = jnp.where(kind == FREE, v_th, peak - jnp.asarray(below, v_th.dtype))
    return neuron.set({f"{LIF}v_th": new, f"{LIF}v_reset": new - (v_th - v_reset)})


def make_gradient(method):
    """What takes runs to their gradients by all numbers, the LIF's highest voltages (B,), counts
    (B, 2) and diagnostics."""

    def loss(run: Run):
        solution = mc.simulate(*run, t_max=T_MAX, dt=DT, method=method)
        total = jnp.mean(solution.voltages) + jnp.sum(solution.voltages[-1])
        for name in ("adex", "lif"):
            times = solution.spikes(name)
            there = jnp.isfinite(times)
            total += jnp.sum(jnp.where(there, jnp.where(there, times, 0.0), 0.0))
        return total, (jnp.max(solution["lif"]), solution.counts, solution.diagnostics)

    return jax.jit(jax.vmap(jax.grad(loss, has_aux=True)))


def largest(gradients: Run) -> np.ndarray:
    """The largest number (B,) in each run's gradient; inf if one is not finite."""
    each = []
    for x in jax.tree.leaves(gradients):
        x = np.abs(np.asarray(x)).reshape(len(x), -1)
        each.append(np.where(np.isfinite(x), x, np.inf).max(axis=1))
    return np.max(each, axis=0)


def numbers(runs: Run, i: int) -> list:
    """All numbers of a run, to repeat it."""
    return [np.asarray(x[i]).tolist() for x in jax.tree.leaves(runs)]


def batched(x: Array, count: int) -> Array:
    return x if x.shape[:1] == (count,) else jnp.broadcast_to(x, (count, *x.shape))


RUNS = [
    pytest.param(euler, jnp.float64, 1),
    pytest.param(splitting, jnp.float32, 2),
    pytest.param(euler, jnp.float32, 3, marks=pytest.mark.slow),
    pytest.param(splitting, jnp.float64, 4, marks=pytest.mark.slow),
]


def report(kind, size, counts, grazing, lost) -> None:
    """Prints what was found in the runs of each kind."""
    for k, name in enumerate(("free", "peak", "plateau")):
        mine = kind == k
        sound = size[mine & ~grazing & ~lost]
        print(
            f"{name}: {mine.sum()} runs, the LIF fires in {(counts[mine, 1] > 0).mean():.0%}; "
            f"{grazing[mine].sum()} grazing, {lost[mine].sum()} lost events, "
            f"{np.isinf(size[mine]).sum()} not finite; largest number in a gradient "
            f"{size[mine].max():.1e}, of the others {sound.max():.1e} (median {np.median(sound):.1e})"
        )


@pytest.mark.parametrize(("method", "dtype", "seed"), RUNS)
def test_finite_or_flagged(method, dtype, seed, request):
    """150 runs of each (2,500 with --slow): reverse mode through spike times and voltages. Also, what
    is not flagged is of a size to be used, and what does not graze on purpose is not flagged."""
    count = 2500 if request.config.getoption("--slow") else 150
    runs, kind = population(count, seed)
    neuron, inputs = jax.tree.map(lambda x: jnp.asarray(batched(x, count), dtype), runs)
    gradient, v_th = make_gradient(method), f"{LIF}v_th"
    _, (peak, *_) = gradient((neuron.set({v_th: neuron.get(v_th) + 1e3}), inputs))
    runs = graze(neuron, kind, peak, seed), inputs
    gradients, (_, counts, diagnostics) = gradient(runs)

    size, grazing = largest(gradients), np.asarray(diagnostics.grazing)
    lost = np.asarray(diagnostics.lost_events) > 0
    report(kind, size, np.asarray(counts), grazing, lost)
    bad = np.flatnonzero(~(size < 1e8) & ~grazing & ~lost)
    for i in bad[:3]:
        print(f"run {i}: {size[i]:.1e} in the gradient of {numbers(runs, i)}")
    assert not bad.size
    assert grazing[kind == FREE].mean() <= 0.01
    assert grazing[kind == PLATEAU].any() or dtype == jnp.float32
    assert lost.mean() < 0.1
