"""What the simulators are raced on: one neuron, populations of it, large passive trees.

Every problem is `problem(quick)`, which yields tables. Units: ms, mV, pF, nS, pA; wall-clock times
in s.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import peers
import scipy.sparse
from peers import NEURON, PASSIVE, Run
from race import Contestant, Table
from report_neurons import table1
from scipy.sparse.linalg import expm_multiply

import jaxsnn_mc as mc

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import reference

DT = 0.01  # ms
TORCH_STEPS = 5_000
DTYPES = ("float64", "float32")
EULER, SPLITTING = mc.ImplicitEuler(), mc.Splitting()
NAMES = {EULER: "implicit Euler", SPLITTING: "splitting"}
ADEX = ("g_leak", "v_leak", "v_exp", "delta_T", "a", "tau_w", "b", "v_th", "v_reset", "t_ref")


def ours(
    make: Callable[[], tuple[mc.Neuron, list]],
    n_steps: int,
    dtype: str,
    method: mc.StepMethod,
    dt: float = DT,
    record: Sequence[str] | None = (),
    jit: bool = False,
) -> Run:
    """Our own simulation of a neuron and its inputs, until the spike counts are there; `jit`: traced
    once, without the work that `mc.simulate` does at each call."""
    begin = time.perf_counter()
    with jax.enable_x64(dtype == "float64"):
        neuron, inputs = jax.block_until_ready(make())
    built_s = time.perf_counter() - begin
    options: dict[str, Any] = {"t_max": n_steps * dt, "dt": dt, "method": method, "record": record}
    run = partial(mc.simulate, **options)
    run = jax.jit(run) if jit else run

    def simulate() -> tuple[float, mc.Solution]:
        begin = time.perf_counter()
        with jax.enable_x64(dtype == "float64"):
            solution = run(neuron, inputs)
            jax.block_until_ready((solution.counts, solution.voltages))
        return time.perf_counter() - begin, solution

    first_s, solution = simulate()
    spikes, voltage, note = np.array([]), np.nan, ""
    if solution.sources:
        times = solution.spike_times()
        spikes = times[0] if isinstance(times, list) else times
        counts = np.asarray(solution.counts)
        note = f"{counts.mean():.2f} spikes a neuron" if counts.ndim > 1 else ""
    else:
        voltage, note = float(solution["0"][-1]), f"{built_s:.2f} s more to make the neuron"
    return Run("jaxsnn_mc", lambda: simulate()[0], first_s, spikes, voltage=voltage, note=note)


@cache
def exact_spikes(t_max: float) -> np.ndarray:
    """The spike times (ms) of Table 1, from the event-locating reference."""
    return reference.solve(reference.table1(), t_max).spikes[0]


def peer(name: str, n: int, n_steps: int, dtype: str) -> Contestant:
    build = partial(peers.PEERS[name], n, n_steps, DT, dtype)
    size = f" (N={n:,})" if n > 1 else ""
    return Contestant(f"{name}{size}", build, n, n_steps, DT)


# --- one neuron -----------------------------------------------------------------------------------


def one_neuron(quick: bool) -> Iterator[Table]:
    """Table 1's neuron, 20,000 steps of 0.01 ms."""
    n_steps, torch_steps = (3_000, 300) if quick else (20_000, TORCH_STEPS)
    for dtype in DTYPES[:1] if quick else DTYPES:
        rows = [
            *(_one(f"ours, {name}", n_steps, dtype, method) for method, name in NAMES.items()),
            *(
                _one(f"ours, {name}, 3 voltages recorded", n_steps, dtype, method, record=None)
                for method, name in NAMES.items()
            ),
            _one("ours, implicit Euler, in jax.jit", n_steps, dtype, EULER, jit=True),
            _one("ours, splitting, dt = 0.1 ms", n_steps // 10, dtype, SPLITTING, dt=10 * DT),
        ]
        for name in peers.PEERS:
            rows.append(peer(name, 1, torch_steps if name == "torch_newton" else n_steps, dtype))
        yield Table(f"One neuron, {dtype}, {n_steps:,} steps", rows, exact_spikes(n_steps * DT))


def _one(name: str, n_steps: int, dtype: str, method: mc.StepMethod, **options: Any) -> Contestant:
    def make() -> tuple[mc.Neuron, list]:
        return table1(), [mc.StepCurrent("soma", NEURON.current)]

    build = partial(ours, make, n_steps, dtype, method, **options)
    return Contestant(name, build, 1, n_steps, options.get("dt", DT))


# --- populations ----------------------------------------------------------------------------------


def population(quick: bool) -> Iterator[Table]:
    """Many neurons, 4,000 steps of 0.01 ms, spikes only. Neuron 0 is Table 1's; ours drives each of
    the others with its own current, so that they fire one after the other (a step in which any of a
    block fires costs more), unless it says "in step"; the peers drive all alike."""
    n_steps = 4_000  # 40 ms: neuron 0 fires at 26.3 ms
    for n in (128,) if quick else (1_000, 10_000):
        for dtype in ("float32",) if quick else DTYPES:
            rows = []
            for method, name in list(NAMES.items())[: 1 if quick else 2]:
                kinds = {"": spread, ", in step": alike}
                kinds |= {} if quick else {", all parameters differ": varied}
                for kind, make in kinds.items():
                    build = partial(ours, partial(make, n), n_steps, dtype, method)
                    rows.append(Contestant(f"ours, {name}{kind}", build, n, n_steps, DT))
            rows.append(peer("c_kernel", n, n_steps, dtype))
            if not quick:
                rows.append(peer("brian2_cpp", n, n_steps, dtype))
            if n == 1_000:
                rows.append(peer("jaxley_adex", 100, n_steps, dtype))
            title = f"Population of {n:,}, {dtype}, {n_steps:,} steps"
            yield Table(title, rows, exact_spikes(n_steps * DT))


def alike(n: int) -> tuple[mc.Neuron, list]:
    """All n with Table 1's current: they fire in the same step."""
    return table1(), [mc.StepCurrent("soma", np.full(n, NEURON.current))]


def spread(n: int) -> tuple[mc.Neuron, list]:
    """Currents from 270 to 400 pA, in no order; neuron 0 has Table 1's."""
    currents = np.random.default_rng(0).uniform(270.0, 400.0, n)
    currents[0] = NEURON.current
    return table1(), [mc.StepCurrent("soma", currents)]


def varied(n: int) -> tuple[mc.Neuron, list]:
    """`spread`, and each parameter of the AdEx differs by up to 2 %."""
    neuron, inputs = spread(n)
    factors = 1.0 + np.random.default_rng(1).uniform(-0.02, 0.02, (len(ADEX), n))
    factors[:, 0] = 1.0
    paths = [f"soma.AdEx.{name}" for name in ADEX]
    values = {path: neuron.get(path) * f for path, f in zip(paths, factors, strict=True)}
    return neuron.set(values), inputs


# --- large trees ----------------------------------------------------------------------------------


def large_tree(quick: bool) -> Iterator[Table]:
    """Passive chains and random trees in float64, 1,000 steps of 0.025 ms, one voltage recorded."""
    n_steps, dt = 1_000, 0.025
    for n in (100,) if quick else (100, 1_000, 4_000):
        for kind in ("chain", "random tree"):
            pairs = _pairs(n, kind == "chain")
            make = partial(_passive, n, pairs)
            rows = []
            for method, name in NAMES.items():
                build = partial(ours, make, n_steps, "float64", method, dt=dt, record=("0",))
                rows.append(Contestant(f"ours, {name}", build, 1, n_steps, dt))
            if kind == "chain":
                build = partial(peers.jaxley_chain, n, n_steps, dt)
                rows.append(Contestant("jaxley, implicit Euler", build, 1, n_steps, dt))
            exact = exact_voltage(n, pairs, n_steps * dt)
            yield Table(f"Passive {kind} of {n:,}, float64, {n_steps:,} steps", rows, exact, "us")


def _pairs(n: int, chain: bool) -> list[tuple[int, int]]:
    rng = np.random.default_rng(0)
    return [(i - 1 if chain else int(rng.integers(i)), i) for i in range(1, n)]


def _passive(n: int, pairs: list[tuple[int, int]]) -> tuple[mc.Neuron, list]:
    p = PASSIVE
    leak = mc.Leak(g_leak=p.g_leak, v_leak=p.v_leak)
    neuron = mc.Neuron.from_arrays(np.full(n, p.c_m), pairs, p.g_axial, [leak], v_init=p.v_leak)
    return neuron, [mc.StepCurrent("0", p.current)]


def exact_voltage(n: int, pairs: list[tuple[int, int]], t: float) -> float:
    """Compartment 0's voltage (mV) at t (ms), by the matrix exponential of (v - v_leak, 1)."""
    p, (i, j) = PASSIVE, np.array(pairs).T
    g = scipy.sparse.coo_array((np.full(n - 1, p.g_axial), (i, j)), (n + 1, n + 1))
    g = g + g.T
    leak = np.append(np.full(n, p.g_leak), 0.0)
    matrix = g - scipy.sparse.diags_array(g.sum(axis=0) + leak)
    drive = scipy.sparse.coo_array(([p.current], ([0], [n])), (n + 1, n + 1))
    start = np.append(np.zeros(n), 1.0)
    return p.v_leak + float(expm_multiply((matrix + drive).tocsr() * (t / p.c_m), start)[0])
