"""Dendrify on Brian2: pools of its four-compartment neuron, each driven by Poisson spikes of its own.

Forward Euler in float64 on one thread, as generated C++ and as Cython. Numbers of Dendrify's own
scalability study, dendritic spikes in the form since Dendrify 2.0. The Poisson spikes are drawn in
the loop.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .base import Missing, Run
from .brian import brian, import_brian

RATE = 50.0
"""Hz, of the Poisson spikes into each of two dendrites."""

PULSES = {"trunk": (22.0, 14.0), "prox": (9.0, 5.7), "dist": (3.7, 2.4)}
"""nS: the two conductances of each dendrite's spike."""

MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3)
"""
"""Runs a command from a small process, and prints the most memory (MB) that it used: a child of a
large process counts as large."""


def _network(b2: ModuleType, n_neurons: int, dt: float, active: bool) -> tuple[Any, dict[str, Any]]:
    """-> the network, and the monitors of what is counted: soma, and dist and prox if active."""
    try:
        from dendrify import Dendrite, NeuronModel, Soma
    except ImportError as error:
        raise Missing("Dendrify (pip install dendrify==2.2.0 'numpy<2.4')") from error
    um, mV, ms, nS = b2.um, b2.mV, b2.ms, b2.nS
    soma = Soma("soma", "leakyIF", length=25 * um, diameter=25 * um)
    sizes = {"trunk": 2.5, "prox": 1.0, "dist": 0.5}
    trunk, prox, dist = (
        Dendrite(name, length=100 * um, diameter=diameter * um) for name, diameter in sizes.items()
    )
    for dendrite, g in ((dist, 1.0), (prox, 2.0)):
        dendrite.synapse("AMPA", "x", g=g * nS, t_decay=5 * ms)
    if active:
        for dendrite, (rise, fall) in zip((trunk, prox, dist), PULSES.values(), strict=True):
            dendrite.dspikes("Na", g_rise=rise * nS, g_fall=fall * nS)
    model = NeuronModel(
        [(soma, trunk, 15 * nS), (trunk, prox, 10 * nS), (prox, dist, 4 * nS)],
        cm=1 * b2.uF / b2.cm**2,
        gl=40 * b2.uS / b2.cm**2,
        v_rest=-60 * mV,
        r_axial=150 * b2.ohm * b2.cm,
        scale_factor=2.8,
        spine_factor=1.5,
    )
    if active:
        model.config_dspikes(
            "Na",
            threshold=-40 * mV,
            duration_rise=1.2 * ms,
            duration_fall=2.4 * ms,
            offset_fall=0.2 * ms,
            refractory=5 * ms,
            reversal_rise="E_Na",
            reversal_fall="E_K",
        )
    b2.defaultclock.dt = dt * ms
    group = model.make_neurongroup(
        n_neurons,
        method="euler",
        threshold="V_soma > -50*mV",
        reset="V_soma = -60*mV",
        refractory=4 * ms,
    )
    parts, monitors = [group], {"soma": b2.SpikeMonitor(group, record=False)}
    for name in ("dist", "prox"):
        drive = b2.PoissonGroup(n_neurons, RATE * b2.Hz)
        synapses = b2.Synapses(drive, group, on_pre=f"s_AMPA_x_{name} += 1")
        synapses.connect(j="i")
        parts += [drive, synapses]
        if active:
            monitors[name] = b2.EventMonitor(group, f"spike_Na_{name}", record=False)
    return b2.Network(*parts, *monitors.values()), monitors


def rates(counts: dict[str, float], n_neurons: int, t_max: float) -> str:
    """What fires how often, from counts over all neurons and a time (ms)."""
    each = (f"{name} {1e3 * n / n_neurons / t_max:.2f}" for name, n in counts.items())
    return ", ".join(each) + " Hz"


def dendrify_cpp(n_neurons: int, n_steps: int, dt: float, active: bool, threads: int) -> Run:
    """Brian2's C++ standalone (OpenMP); the time is Brian2's own, of its main loop."""
    folder = tempfile.TemporaryDirectory(prefix="dendrify_cpp_")
    begin = time.perf_counter()
    with brian("cpp_standalone", "float64", threads) as b2:
        network, monitors = _network(b2, n_neurons, dt, active)
        network.run(n_steps * dt * b2.ms, namespace={})
        b2.device.build(directory=folder.name, run=False)
        files = {k: b2.device.get_array_filename(m.variables["N"]) for k, m in monitors.items()}
    setup_s = time.perf_counter() - begin
    results = Path(folder.name, "results")
    results.mkdir(exist_ok=True)
    used = []

    def call() -> float:
        command = [str(Path(folder.name, "main")), "--results_dir", f"{results}{os.sep}"]
        told = subprocess.run(
            [sys.executable, "-c", MEMORY, *command],
            cwd=folder.name,
            check=True,
            capture_output=True,
        )
        used.append(float(told.stdout.split()[-1]))
        return float((results / "last_run_info.txt").read_text().split()[0])

    call()
    counts = {name: np.fromfile(results / file, np.int32)[0] for name, file in files.items()}
    note = f"{rates(counts, n_neurons, n_steps * dt)}; {max(used):.0f} MB"
    return Run("dendrify_cpp", call, setup_s, np.array([]), note=note)


def dendrify_cython(n_neurons: int, n_steps: int, dt: float, active: bool) -> Run:
    """Brian2's runtime with the Cython target; the time is Brian2's own, of its main loop."""
    import_brian()
    begin = time.perf_counter()
    with brian("cython", "float64") as b2:
        network, monitors = _network(b2, n_neurons, dt, active)
        network.store()
        network.run(dt * b2.ms, namespace={})
    setup_s = time.perf_counter() - begin

    def call() -> float:
        with brian("cython", "float64") as b2:
            network.restore()
            network.run(n_steps * dt * b2.ms, namespace={})
            return b2.device._last_run_time

    call()
    counts = {name: int(monitor.num_spikes) for name, monitor in monitors.items() if name == "soma"}
    counts |= {
        name: int(monitor.num_events) for name, monitor in monitors.items() if name != "soma"
    }
    note = rates(counts, n_neurons, n_steps * dt)
    return Run("dendrify_cython", call, setup_s, np.array([]), note=note)
