"""Times jaxsnn_mc against other simulators, all on the same problems, in one interleaved run.

Problems: one neuron, populations of it, large passive trees, Jaxley's cells, Dendrify's pools,
gradients and their memory. Every table shows the time of a step, the ratio to its first row or to the
row before, and how far each contestant is from the exact solution. What is not installed is said to
be missing.
For all peers: pip install -e ".[peers]" in an environment of its own (Brian2 needs an older NumPy).
Units: ms, mV, pF, nS, pA; wall-clock and CPU times in s.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import jax
import memory
import numpy as np
from gradients import gradient
from jaxley_race import jaxley
from pools import pool
from problems import large_tree, one_neuron, population
from race import Table, environment, figures, race, render

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
jaxley   the mean squared voltage and its gradient, all in jax.jit: see scripts/jaxley_race.py. "no XLA
         flags" is a process of its own, as a user of Jaxley alone would have it.
torch_newton takes fewer steps than the others; its ratio is per step.
pool     Dendrify (Brian2) has its Poisson spikes drawn in the loop, ours are drawn before (in setup s).
         MB: the process of the generated C++, or what XLA allots to ours.
gradient of the mean squared soma voltage, by every number of neuron and input, with its value; x
         forward is to the value alone, in the row above. Both in jax.jit, without the dispatch of
         `simulate`; setup s is all of trace and compile.
PyTorch  follows no spike in time: after one its gradient is another. The time, of forward and backward.
rel. error of a gradient by the logarithms of the numbers, as a vector, in the norm, against differences
         of the event-locating reference at the same sample times.
memory   exponent p of the last three sizes, where memory = constant + c steps^p."""


PROBLEMS: dict[str, Callable[[bool], Iterator[Table]]] = {
    "neuron": one_neuron,
    "population": population,
    "tree": large_tree,
    "jaxley": jaxley,
    "pool": pool,
    "gradient": gradient,
}
"""By name: `problem(quick)` yields tables, each then raced. "gradient" goes on to the memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, help="rounds of timing (default 7; quick: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--only", choices=PROBLEMS, help="this problem only")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="plot gradients' memory there")
    options = parser.parse_args()
    rounds = options.rounds or (2 if options.quick else 7)
    where, tables, begin = environment(), [], time.perf_counter()
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    print(
        f"{where['date']}, {where['cpu']}, {where['cores']} cores, {rounds} rounds, "
        f"load {where['load_average'][0]:.1f}\n{versions}"
    )
    names = [options.only] if options.only else list(PROBLEMS)
    if "pool" in names:
        jax.config.update("jax_num_cpu_devices", where["cores"])
    for name in names:
        for table in PROBLEMS[name](options.quick):
            race(table, rounds)
            print(f"\n{render(table)}", flush=True)
            rows = [figures(one, table) for one in table.contestants]
            exact = [] if table.exact is None else np.atleast_1d(table.exact).tolist()
            tables.append({"problem": name, "title": table.title, "exact": exact, "rows": rows})
    result = {"rounds": rounds, "environment": where, "tables": tables}
    if "gradient" in names:
        used = memory.measure(options.quick)
        print(f"\n{memory.render(used)}")
        result["memory"] = asdict(used)
        if options.figure:
            memory.plot(used, options.figure)
    print(f"{NOTES}\n\n{time.perf_counter() - begin:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
