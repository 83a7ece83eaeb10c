"""Brian2: forward Euler, as generated C++ and as Cython."""

import os
import shutil
import subprocess
import tempfile
import time
import timeit
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .base import NEURON, Missing, Run

BRIAN_EQUATIONS = """
dv/dt = (gl*(el - v) + gl*dT*exp((v - vT)/dT) - w + ga*(va - v) + gb*(vb - v) + I)/C
        : volt (unless refractory)
dva/dt = (gla*(el - va) + ga*(v - va))/Ca : volt
dvb/dt = (glb*(el - vb) + gb*(v - vb))/Cb : volt
dw/dt = (a*(v - el) - w)/tau_w : amp
"""


def import_brian() -> ModuleType:
    try:
        import brian2
    except (ImportError, AttributeError) as error:  # AttributeError: NumPy is too new for it
        raise Missing("Brian2 (pip install brian2==2.9.0 'numpy<2.4' cython)") from error
    return brian2


@contextmanager
def brian(target: str, dtype: str, threads: int = 1) -> Iterator[ModuleType]:
    """Brian2 on a device and target, put back as it was afterwards; generated C++ on some threads."""
    b2 = import_brian()
    kept = b2.prefs.codegen.target, b2.prefs.core.default_float_dtype
    b2.prefs.core.default_float_dtype = getattr(np, dtype)
    if target == "cpp_standalone":
        b2.prefs.devices.cpp_standalone.extra_make_args_unix = ["-j2"]
        b2.prefs.devices.cpp_standalone.openmp_threads = 0 if threads == 1 else threads
        b2.set_device(target, build_on_run=False)
    else:
        b2.prefs.codegen.target = target
    try:
        with warnings.catch_warnings():  # its check for huge values overflows float32
            warnings.simplefilter("ignore", RuntimeWarning)
            yield b2
    finally:
        if target == "cpp_standalone":
            b2.device.reinit()
            b2.devices.reset_device()
        b2.prefs.codegen.target, b2.prefs.core.default_float_dtype = kept


def _brian_network(b2: ModuleType, n_neurons: int, dt: float) -> tuple[Any, Any]:
    """-> the network, and its spike monitor."""
    n, mV, ms, nS, pF, pA = NEURON, b2.mV, b2.ms, b2.nS, b2.pF, b2.pA
    names = ("C", "Ca", "Cb", "gl", "gla", "glb", "ga", "gb")
    sizes = [x * pF for x in n.c_m] + [x * nS for x in (*n.g_leak, *n.g_axial)]
    values = dict(zip(names, sizes, strict=True))
    values |= {"el": n.v_leak * mV, "vT": n.v_exp * mV, "dT": n.delta_T * mV, "a": n.a * nS}
    values |= {"tau_w": n.tau_w * ms, "I": n.current * pA, "b": n.b * pA}
    values |= {"v_th": n.v_th * mV, "v_reset": n.v_reset * mV}
    group = b2.NeuronGroup(
        n_neurons,
        BRIAN_EQUATIONS,
        threshold="v >= v_th",
        reset="v = v_reset; w += b",
        refractory=n.t_ref * ms,
        method="euler",
        dt=dt * ms,
        namespace=values,
    )
    group.v = group.va = group.vb = n.v_leak * mV
    monitor = b2.SpikeMonitor(group)
    return b2.Network(group, monitor), monitor


def _clock_cost() -> float:
    """Seconds of one call of std::clock: Python's name for the same system call, less what a call
    from Python costs."""

    def cost(function: Callable[[], float]) -> float:
        return min(timeit.repeat(function, number=5_000, repeat=5)) / 5_000

    return max(cost(time.process_time) - cost(time.monotonic), 0.0)


def brian2_cpp(n_neurons: int, n_steps: int, dt: float, dtype: str = "float64") -> Run:
    """Brian2 C++ standalone without OpenMP; the time is Brian2's own, of its main loop.

    That loop asks std::clock once a step, a system call: for one neuron it can be most of the
    time, so `parts` estimates it.
    """
    if shutil.which("make") is None or shutil.which("g++") is None:
        raise Missing("make and g++ (Debian: apt-get install make g++)")
    folder = tempfile.TemporaryDirectory(prefix="brian2_cpp_")
    begin = time.perf_counter()
    with brian("cpp_standalone", dtype) as b2:
        network, monitor = _brian_network(b2, n_neurons, dt)
        network.run(n_steps * dt * b2.ms)
        b2.device.build(directory=folder.name, run=False)
        files = [b2.device.get_array_filename(monitor.variables[name]) for name in ("t", "i")]
    setup_s = time.perf_counter() - begin
    results = Path(folder.name, "results")
    results.mkdir(exist_ok=True)

    def call() -> float:
        command = [str(Path(folder.name, "main")), "--results_dir", f"{results}{os.sep}"]
        subprocess.run(command, cwd=folder.name, check=True, capture_output=True)
        return float((results / "last_run_info.txt").read_text().split()[0])

    call()
    times, indices = (
        np.fromfile(results / file, kind)
        for file, kind in zip(files, (np.float64, np.int32), strict=True)
    )
    parts = {"estimate: std::clock": n_steps * _clock_cost()}
    return Run("brian2_cpp", call, setup_s, 1e3 * times[indices == 0], parts)


def brian2_cython(n_neurons: int, n_steps: int, dt: float, dtype: str = "float64") -> Run:
    """Brian2's runtime with the Cython target; the time is Brian2's own, of its main loop."""
    import_brian()
    from brian2.codegen.runtime.cython_rt.cython_rt import CythonCodeObject

    if not CythonCodeObject.is_available():
        raise Missing("Cython and a C++ compiler (pip install cython setuptools; g++)")
    begin = time.perf_counter()
    with brian("cython", dtype) as b2:
        network, monitor = _brian_network(b2, n_neurons, dt)
        network.store()
        network.run(dt * b2.ms)
    setup_s = time.perf_counter() - begin

    def call() -> float:
        with brian("cython", dtype) as b2:
            network.restore()
            network.run(n_steps * dt * b2.ms)
            return b2.device._last_run_time

    call()
    return Run("brian2_cython", call, setup_s, np.array(monitor.spike_trains()[0] / b2.ms))
