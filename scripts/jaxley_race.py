"""Our solver against `jx.integrate`: the same cells, the same steps, forward and gradient.

Jaxley runs with the XLA flags that jaxsnn_mc sets and, in a process of its own, with none. The loss
is the mean squared voltage of the first soma or compartment. Ours is differentiated by every number
of the neuron, Jaxley by a few parameters of each compartment, which costs it less. Units: ms, mV, pF,
nS, pA; wall-clock times in s.
"""

import atexit
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxley as jx
import numpy as np
from jaxley.channels import HH
from peers import NEURON, Run
from peers.jaxley_cells import own_adex_cell
from race import Contestant, Table
from report_neurons import table1

import jaxsnn_mc as mc
from jaxsnn_mc.jaxley import from_jaxley, to_jaxley

Problem = tuple[str, int, int, float]
"""The cell, how many of it, steps, and dt (ms)."""


def tree() -> jx.Cell:
    """63 branches of 10 compartments with HH, which branch in two; all at -65 mV."""
    cell = jx.Cell(jx.Branch(jx.Compartment(), ncomp=10), parents=[-1, *np.arange(62) // 2])
    cell.insert(HH())
    for key, value in {
        "radius": 1.0,
        "length": 20.0,
        "axial_resistivity": 150.0,
        "v": -65.0,
    }.items():
        cell.set(key, value)
    cell.init_states()
    return cell


@cache
def cell_of(kind: str) -> tuple[jx.Cell, Any, float, tuple[str, ...]]:
    """A cell, its compartment to stimulate and record, the current (nA), and what is trained."""
    if kind == "tree":
        cell = tree()
        return cell, cell.branch(0).comp(0), 0.5, ("HH_gNa",)
    cell = own_adex_cell() if kind == "own AdEx" else to_jaxley(table1())
    prefix = "AdEx_g_L" if kind == "own AdEx" else "AdEx_g_leak"
    trained = ("capacitance", prefix, "AdEx_a", "AdEx_b", "AdEx_tau_w", "Leak_gLeak")
    return cell, cell.branch(0).comp(1), 1e-3 * NEURON.current, trained


def currents(n: int, current: float) -> np.ndarray:
    """One a neuron, alike in mean; they fire one after the other."""
    return current * np.linspace(1.0, 1.3, n)


def theirs(problem: Problem, reverse: bool) -> tuple[Callable[[], float], float]:
    """What runs Jaxley once and times it (s), and the time (s) to compile it."""
    kind, n, n_steps, dt = problem
    cell, at, current, trained = cell_of(kind)
    cell.delete_recordings()
    at.record("v", verbose=False)
    if not cell.trainable_params:
        for key in trained:
            rows = np.flatnonzero(cell.nodes[key].notna())
            cell.select(nodes=rows).comp("all").make_trainable(key, verbose=False)

    def one(params: list, current: jax.Array) -> jax.Array:
        stimulus = at.data_stimulate(jnp.full(n_steps, current))
        v = jx.integrate(cell, params=params, data_stimuli=stimulus, delta_t=dt)
        return jnp.mean(v[0, 1 : n_steps + 1] ** 2)

    run = jax.vmap(one, (None, 0)) if n > 1 else one

    def loss(params: list, current: jax.Array) -> jax.Array:
        return jnp.mean(run(params, current))

    params = cell.get_parameters()
    amplitudes = jnp.asarray(currents(n, current) if n > 1 else current)
    return _timed(jax.value_and_grad(loss) if reverse else loss, params, amplitudes)


def ours(problem: Problem, reverse: bool, method: mc.StepMethod) -> Run:
    """The same by our solver."""
    kind, n, n_steps, dt = problem
    with jax.enable_x64(True):
        current = cell_of(kind)[2]
        neuron = from_jaxley(tree()) if kind == "tree" else table1()
        name = "0" if kind == "tree" else "soma"
        amplitudes = 1e3 * (currents(n, current) if n > 1 else np.asarray(current))

        def loss(neuron: mc.Neuron, amplitudes: jax.Array) -> jax.Array:
            inputs = [mc.StepCurrent(name, amplitudes)]
            options: dict[str, Any] = {"t_max": n_steps * dt, "dt": dt, "method": method}
            v = mc.simulate(neuron, inputs, record=[name], **options)[name]
            return jnp.mean(v[..., 1:] ** 2)

        f = jax.value_and_grad(loss) if reverse else loss
        call, setup_s = _timed(f, neuron, jnp.asarray(amplitudes))
    return Run("jaxsnn_mc", call, setup_s, np.array([]))


def _timed(f: Callable[..., Any], *arguments: Any) -> tuple[Callable[[], float], float]:
    begin = time.perf_counter()
    compiled = jax.jit(f).lower(*arguments).compile()
    setup_s = time.perf_counter() - begin

    def call() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        return time.perf_counter() - begin

    return call, setup_s


def same_process(problem: Problem, reverse: bool) -> Run:
    with jax.enable_x64(True):
        call, setup_s = theirs(problem, reverse)
    return Run("jaxley", call, setup_s, np.array([]))


def without_flags(problem: Problem, reverse: bool) -> Run:
    """Jaxley in a process without XLA_FLAGS, which runs once for each line that it is sent."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"JAXSNN_MC_NO_XLA_FLAGS": "1", "JAX_ENABLE_X64": "1"}
    words = [sys.executable, __file__, *map(str, problem), str(int(reverse))]
    pipe: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    child = subprocess.Popen(words, env=environment, **pipe)
    atexit.register(child.kill)
    assert child.stdin is not None
    assert child.stdout is not None
    ask, answer = child.stdin, child.stdout

    def call() -> float:
        ask.write("run\n")
        ask.flush()
        return float(answer.readline())

    return Run("jaxley", call, float(answer.readline()), np.array([]))


def jaxley(quick: bool) -> Iterator[Table]:
    """The 3-compartment AdEx, a batch of it, and a tree of 630 compartments with HH; float64."""
    euler, splitting = mc.ImplicitEuler(), mc.Splitting()
    problems: dict[str, tuple[list[str], int, int, float]] = {
        "One neuron": (["own AdEx", "our AdEx"], 1, 500 if quick else 5_000, 0.01),
        "Batch of 1,000": (["own AdEx", "our AdEx"], 20 if quick else 1_000, 500, 0.01),
        "HH tree of 630": (["tree"], 1, 40 if quick else 400, 0.025),
    }
    for title, (kinds, n, n_steps, dt) in problems.items():
        for reverse in (False, True):
            rows = []
            for method, name in ((euler, "implicit Euler"), (splitting, "splitting")):
                build = partial(ours, (kinds[-1], n, n_steps, dt), reverse, method)
                rows.append(Contestant(f"ours, {name}", build, n, n_steps, dt))
            for kind in kinds:
                for flags, how in (
                    (same_process, "our XLA flags"),
                    (without_flags, "no XLA flags"),
                ):
                    build = partial(flags, (kind, n, n_steps, dt), reverse)
                    label = f"Jaxley, {kind}, {how}"
                    rows.append(Contestant(label, build, n, n_steps, dt))
            what = "gradient" if reverse else "forward"
            yield Table(f"{title}, {what}, float64, {n_steps:,} steps of {dt} ms", rows, None, "us")


def main(kind: str, n: str, n_steps: str, dt: str, reverse: str) -> None:
    call, setup_s = theirs((kind, int(n), int(n_steps), float(dt)), reverse == "1")
    print(setup_s, flush=True)
    for _ in sys.stdin:
        print(call(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
