"""Pools of Dendrify's four-compartment neuron, against Dendrify: its scalability study.

Every neuron has Poisson spikes of its own, 50 Hz into each of two dendrites, and no neuron hears
another; 1 s in steps of 0.1 ms. Dendrify draws its spikes in the loop, ours are drawn before (part
of the build). Dendrify's generated C++ runs on one thread, as it comes, and on all cores by OpenMP;
ours on one device, and divided over as many as there are cores. Units: ms, mV, pF, nS, um;
wall-clock times in s.
"""

import time
from collections.abc import Iterator
from functools import partial

import jax
import numpy as np
from peers import Run
from peers.dendrify_pool import PULSES, RATE, dendrify_cpp, dendrify_cython, rates
from poisson import poisson
from problems import EULER, SPLITTING
from race import Contestant, Table

import jaxsnn_mc as mc
from jaxsnn_mc.geometry import Cylinder

DT = 0.1  # ms


def pool(quick: bool) -> Iterator[Table]:
    """Passive and active dendrites, pools of 100 to 100,000."""
    n_steps = 1_000 if quick else 10_000
    for active in (False, True):
        for n in (128,) if quick else (100, 1_000, 10_000, 100_000):
            rows = []
            for dtype in ("float32", "float64"):
                for cores in dict.fromkeys((1, jax.device_count())):
                    build = partial(_ours, n, n_steps, dtype, SPLITTING, active, cores)
                    name = f"ours, splitting, {dtype}, {threads(cores)}"
                    rows.append(Contestant(name, build, n, n_steps, DT))
            build = partial(_ours, n, n_steps, "float32", EULER, active, 1)
            rows.append(Contestant("ours, Euler, float32, 1 thread", build, n, n_steps, DT))
            for cores in dict.fromkeys((1, jax.device_count())):
                build = partial(dendrify_cpp, n, n_steps, DT, active, cores)
                name = f"dendrify, C++, float64, {threads(cores)}"
                rows.append(Contestant(name, build, n, n_steps, DT))
            build = partial(dendrify_cython, n, n_steps, DT, active)
            rows.append(Contestant("dendrify, Cython, float64, 1 thread", build, n, n_steps, DT))
            kind = "active" if active else "passive"
            title = f"Pool of {n:,}, {kind} dendrites, {n_steps:,} steps of {DT:g} ms"
            yield Table(title, rows, None, rounds=3)


def threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def neuron(active: bool) -> mc.Neuron:
    """The neuron: a chain of soma, trunk, prox and dist."""
    shape = partial(Cylinder, specific_leak=40.0, scale_factor=2.8)
    soma = shape(25.0, 25.0)
    fires = mc.LIF(soma.g_leak, v_leak=-60.0, v_th=-50.0, v_reset=-60.0, t_ref=4.0, frozen=False)
    at = {"soma": mc.Compartment(soma.c_m, [fires])}
    for name, diameter in (("trunk", 2.5), ("prox", 1.0), ("dist", 0.5)):
        size = shape(100.0, diameter, spine_factor=1.5)
        holds: list[mc.Mechanism] = [mc.Leak(size.g_leak, -60.0)]
        if name != "trunk":
            holds.append(mc.AMPA({"prox": 2.0, "dist": 1.0}[name], 5.0))
        if active:
            holds.append(mc.SodiumPulse(*PULSES[name], v_th=-40.0))
        at[name] = mc.Compartment(size.c_m, holds)
    edges = [("soma", "trunk", 15.0), ("trunk", "prox", 10.0), ("prox", "dist", 4.0)]
    return mc.Neuron(at, edges)


def _ours(n: int, n_steps: int, dtype: str, method: mc.StepMethod, active: bool, cores: int) -> Run:
    """Our own simulation, until the spike counts are there."""
    begin, rng, t_max = time.perf_counter(), np.random.default_rng(0), n_steps * DT
    with jax.enable_x64(dtype == "float64"):
        one, hz = neuron(active), np.full(n, RATE)
        inputs = [
            mc.SpikeTrain(name, poisson(hz, t_max, rng).astype(dtype), 1.0, synapse="AMPA")
            for name in ("dist", "prox")
        ]

    mesh = None if cores == 1 else jax.make_mesh((cores,), ("neurons",))
    run = partial(mc.simulate, t_max=t_max, dt=DT, method=method, record=(), mesh=mesh)

    def simulate() -> tuple[float, mc.Solution]:
        begin = time.perf_counter()
        with jax.enable_x64(dtype == "float64"):
            solution = run(one, inputs)
            jax.block_until_ready(solution.counts)
        return time.perf_counter() - begin, solution

    _, solution = simulate()
    setup_s = time.perf_counter() - begin
    total = np.asarray(solution.counts).sum(0)
    counts = dict(zip([name for name, _ in solution.sources], total, strict=True))
    order = [name for name in ("soma", "dist", "prox") if name in counts]
    with jax.enable_x64(dtype == "float64"):
        used = jax.jit(run).lower(one, inputs).compile().memory_analysis()
    allotted = used.argument_size_in_bytes + used.temp_size_in_bytes + used.output_size_in_bytes
    note = f"{rates({name: counts[name] for name in order}, n, t_max)}; {allotted / 1e6:.0f} MB"
    return Run("jaxsnn_mc", lambda: simulate()[0], setup_s, np.array([]), note=note)
