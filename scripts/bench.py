"""Times jaxsnn_mc against other simulators, all on the same problems, in one interleaved run.

Problems: one neuron, populations of it, large passive trees. Every table shows the time of a step,
the ratio to its first row, and how far each contestant is from the exact solution. What is not
installed is said to be missing. For all peers: pip install -e ".[peers]" in an environment of its own
(Brian2 needs an older NumPy). Units: ms, mV, pF, nS, pA; wall-clock and CPU times in s.
"""

import argparse
import json
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
from race import Contestant, Table, environment, figures, race, render
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
NOTES = """
ours     `mc.simulate` as a user calls it: checks, dispatch and results included, until the spike counts
         are there. The time of a peer is that of its simulation loop alone.
setup s  build, trace and compile (ours: the first call); 0 where an earlier row compiled it.
CPU ms   of the whole call, all threads and child processes, so with what a peer does around its loop.
x first  the median over rounds of the time per neuron and ms simulated, over that of the first row.
spikes   peers give the start of the step in which they cross, ours the crossing itself.
brian2_cpp asks std::clock, a system call, once a step: on some machines it is most of its time for
         one neuron (measured: ~480 of 520 ns). Its share is estimated where it is shown.
jaxley_adex has no refractory period: later spikes differ. It runs with the XLA_FLAGS that we set,
         which make it faster (measured: 1.1 instead of 1.7 us a step for one neuron).
torch_newton takes fewer steps than the others; its ratio is per step."""


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


PROBLEMS: dict[str, Callable[[bool], Iterator[Table]]] = {
    "neuron": one_neuron,
    "population": population,
    "tree": large_tree,
}
"""By name: `problem(quick)` yields tables, each then raced. Gradients belong here, too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, help="rounds of timing (default 7; quick: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--only", choices=PROBLEMS, help="this problem only")
    options = parser.parse_args()
    rounds = options.rounds or (2 if options.quick else 7)
    where, tables, begin = environment(), [], time.perf_counter()
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    print(
        f"{where['date']}, {where['cpu']}, {where['cores']} cores, {rounds} rounds, "
        f"load {where['load_average'][0]:.1f}\n{versions}"
    )
    for name in [options.only] if options.only else PROBLEMS:
        for table in PROBLEMS[name](options.quick):
            race(table, rounds)
            print(f"\n{render(table)}", flush=True)
            rows = [figures(one, table) for one in table.contestants]
            exact = np.atleast_1d(table.exact).tolist()
            tables.append({"problem": name, "title": table.title, "exact": exact, "rows": rows})
    print(f"{NOTES}\n\n{time.perf_counter() - begin:.0f} s")
    if options.json:
        result = {"rounds": rounds, "environment": where, "tables": tables}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
