"""The simulators that a benchmark compares with, all on the same neuron ("Table 1").

A 3-compartment AdEx neuron (soma with apical and basal dendrite), 280 pA into the soma. A peer is
`peer(n_neurons, n_steps, dt, dtype) -> Run`: it builds the simulation and returns what runs and
times it, or raises `Missing` where it cannot. Spike times are the start of the crossing step.
Units: ms, mV, pF, nS, pA, as they are coherent; wall-clock times are in s.

Run as a script, it prints one table of all peers that are installed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
import time
import timeit
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


class Missing(Exception):
    """This peer cannot run here; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Run:
    """A simulation that is built and ready to be timed."""

    name: str
    call: Callable[[], float]  # simulate once -> s, the simulation alone
    setup_s: float  # build, trace and compile (s)
    spikes: np.ndarray  # of neuron 0 (ms)
    parts: dict[str, float] = field(default_factory=dict)  # what the time went into (s)


@dataclass(frozen=True)
class Table1:
    """The neuron; per compartment: soma, apical, basal."""

    c_m: tuple[float, float, float] = (125.0, 100.0, 50.0)
    g_leak: tuple[float, float, float] = (10.0, 2.0, 5.0)
    g_axial: tuple[float, float] = (5.0, 5.0)  # soma-apical, soma-basal
    v_leak: float = -65.0
    v_exp: float = -50.0
    delta_T: float = 2.0
    a: float = 4.0
    tau_w: float = 100.0
    b: float = 100.0
    v_th: float = -40.0
    v_reset: float = -70.0
    t_ref: float = 5.0
    current: float = 280.0


NEURON = Table1()

# --- C: implicit Euler, what a compiler makes of the plain loop -----------------------------------

# The dendrites are eliminated onto the soma (a star), the soma's increment d takes 3 Newton
# iterations; voltages are relative to v_leak. Everything selects, nothing branches: gcc vectorises
# the loop over neurons. The compiler defines REAL, INT (of the same size), MANTISSA (its bits),
# DEGREE and EXP: libm's (vectorised: libmvec) or the polynomial. dt must stay below 0.03 ms:
# beyond, implicit Euler has no root on the upstroke.
C_SOURCE = r"""
#include <math.h>
#include <stdint.h>
typedef REAL real;
typedef struct {  /* reduced coefficients, in the order of _coefficients() */
  real diagonal, from_soma, from_a, from_b, current, keep_a, keep_b, take_a, take_b, g_exp, per_dT,
       v_exp, per_tau, a, b, v_th, v_reset, held;
} Neuron;

static const real inverse_factorial[] = {1, 1, 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720,
    1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600};

/* exp(x) = 2^k exp(r), |r| < ln(2)/2, by its series; without under- and overflow */
static inline __attribute__((always_inline)) real polynomial(real x) {
  real k = __builtin_rint(x * (real)M_LOG2E), r = x - k * (real)M_LN2, sum = 0;
#pragma GCC unroll 16
  for (int i = DEGREE; i >= 0; i--) sum = sum * r + inverse_factorial[i];
  INT bits;
  __builtin_memcpy(&bits, &sum, sizeof bits);
  bits += (INT)k << MANTISSA;
  __builtin_memcpy(&sum, &bits, sizeof bits);
  return sum;
}

static inline __attribute__((always_inline)) void step(const Neuron *p, real now, real *v, real *va,
    real *vb, real *w, real *hold, real *count, real *last) {
  real right = p->current - *w + p->from_soma * *v + p->from_a * *va + p->from_b * *vb, d = 0;
  for (int k = 0; k < 3; k++) {
    real e = p->g_exp * EXP((*v + d - p->v_exp) * p->per_dT);
    d -= (p->diagonal * d - right - e) / (p->diagonal - e * p->per_dT);
  }
  real x = *hold > 0 ? *v : *v + d;
  *va += p->take_a * x - p->keep_a * *va;
  *vb += p->take_b * x - p->keep_b * *vb;
  *w += p->per_tau * (p->a * x - *w);
  *hold = *hold > 0 ? *hold - 1 : 0;
  int fire = x >= p->v_th;
  *v = fire ? p->v_reset : x;
  *w += fire ? p->b : 0;
  *hold = fire ? p->held : *hold;
  *count += fire ? 1 : 0;
  *last = fire ? now : *last;
}

static int single(const Neuron p, long steps, real *s, real *times, int room) {
  real v = s[0], va = s[1], vb = s[2], w = s[3], hold = s[4], count = s[5], last = s[6], seen = 0;
  for (long t = 0; t < steps; t++) {
    step(&p, t, &v, &va, &vb, &w, &hold, &count, &last);
    if (count != seen) { if (count <= room) times[(int)seen] = t; seen = count; }
  }
  s[0] = v; s[1] = va; s[2] = vb; s[3] = w; s[4] = hold; s[5] = count; s[6] = last;
  return count < room ? count : room;
}

/* n neurons, `block` of them at a time through all steps; state is [7][n]. Returns the number of
   times of neuron 0 that it wrote. */
int run(const Neuron *par, long n, long block, long steps, real *state, real *times, int room) {
  const Neuron p = *par;
  int seen = 0;
  if (n == 1) return single(p, steps, state, times, room);
  for (long first = 0; first < n; first += block) {
    long size = n - first < block ? n - first : block;
    real *restrict v = state + first, *restrict va = v + n, *restrict vb = va + n;
    real *restrict w = vb + n, *restrict hold = w + n, *restrict count = hold + n;
    real *restrict last = count + n;
    for (long t = 0; t < steps; t++) {
      real now = t;
#pragma omp simd
      for (long i = 0; i < size; i++)
        step(&p, now, v + i, va + i, vb + i, w + i, hold + i, count + i, last + i);
      if (first == 0 && seen < room && last[0] == now) times[seen++] = now;
    }
  }
  return seen;
}
"""

KINDS: dict[str, dict[str, str]] = {  # dtype -> what the compiler defines
    "float64": {"REAL": "double", "INT": "int64_t", "MANTISSA": "52", "DEGREE": "12"},
    "float32": {"REAL": "float", "INT": "int32_t", "MANTISSA": "23", "DEGREE": "7"},
}
LIBM = {"float64": "exp", "float32": "expf"}
BLOCK = 512  # neurons that go through all steps together, in cache


def _coefficients(neuron: Table1, dt: float, dtype: str) -> np.ndarray:
    """The reduced coefficients, in the order of the C struct."""
    n, (c, c_a, c_b), (g_a, g_b) = neuron, neuron.c_m, neuron.g_axial
    row, row_a, row_b = n.g_leak[0] + g_a + g_b, n.g_leak[1] + g_a, n.g_leak[2] + g_b
    diagonal_a, diagonal_b = c_a / dt + row_a, c_b / dt + row_b
    take_a, take_b = g_a / diagonal_a, g_b / diagonal_b
    reduced = row - g_a * take_a - g_b * take_b
    soma = [c / dt + reduced, -reduced, g_a - row_a * take_a, g_b - row_b * take_b, n.current]
    dendrites = [row_a / diagonal_a, row_b / diagonal_b, take_a, take_b]
    exponential = [n.g_leak[0] * n.delta_T, 1 / n.delta_T, n.v_exp - n.v_leak]
    adaptation = [dt / n.tau_w, n.a, n.b]
    reset = [n.v_th - n.v_leak, n.v_reset - n.v_leak, round(n.t_ref / dt)]
    return np.array(soma + dendrites + exponential + adaptation + reset, dtype)


def _compile(dtype: str, exponential: str, folder: str) -> ctypes.CDLL:
    """Compile the kernel. -ffast-math only compiles: linked with it, it would set the whole
    process to flush denormals to zero."""
    wide = ["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else []
    defines = [f"-D{key}={value}" for key, value in KINDS[dtype].items()]
    source, made, library = (str(Path(folder, f"{exponential}.{end}")) for end in ("c", "o", "so"))
    Path(source).write_text(C_SOURCE)
    flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp-simd", "-fPIC", *wide]
    subprocess.run(
        ["gcc", *flags, *defines, f"-DEXP={exponential}", "-c", source, "-o", made],
        check=True,
    )
    subprocess.run(["gcc", "-shared", made, "-o", library, "-lm"], check=True)
    return ctypes.CDLL(library)


def _c_simulation(
    library: ctypes.CDLL, n_neurons: int, n_steps: int, dt: float, dtype: str
) -> Callable[[], tuple[float, np.ndarray]]:
    """-> a function that simulates and returns its time (s) and neuron 0's spikes (ms)."""
    coefficients = _coefficients(NEURON, dt, dtype)
    start = np.zeros((7, n_neurons), dtype)  # v, v_apical, v_basal, w, held, count, last step
    start[6] = -1
    times = np.zeros(64, dtype)

    def simulate() -> tuple[float, np.ndarray]:
        state = start.copy()
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (coefficients, state, times)]
        sizes = [ctypes.c_long(size) for size in (n_neurons, BLOCK, n_steps)]
        begin = time.perf_counter()
        written = library.run(pointers[0], *sizes, *pointers[1:], len(times))
        seconds = time.perf_counter() - begin
        return seconds, times[:written].astype(float) * dt

    return simulate


def c_kernel(n_neurons: int, n_steps: int, dt: float, dtype: str = "float64") -> Run:
    """C, one thread: implicit Euler, 3 Newton iterations, spikes on the grid, no traces.

    A population takes the exponential (libmvec's or a polynomial) that is faster on this machine.
    """
    if shutil.which("gcc") is None:
        raise Missing("gcc (Debian: apt-get install gcc libc6-dev)")
    begin = time.perf_counter()
    choices = [LIBM[dtype]] if n_neurons == 1 else [LIBM[dtype], "polynomial"]
    with tempfile.TemporaryDirectory() as folder:
        libraries = {choice: _compile(dtype, choice, folder) for choice in choices}
    setup_s = time.perf_counter() - begin

    def probe(choice: str) -> float:
        short = _c_simulation(libraries[choice], min(n_neurons, BLOCK), 500, dt, dtype)
        return min(short()[0] for _ in range(5))

    best = min(choices, key=probe)
    simulate = _c_simulation(libraries[best], n_neurons, n_steps, dt, dtype)
    spikes = simulate()[1]
    return Run(f"c_kernel ({best})", lambda: simulate()[0], setup_s, spikes)


# --- Brian2: forward Euler ------------------------------------------------------------------------

BRIAN_EQUATIONS = """
dv/dt = (gl*(el - v) + gl*dT*exp((v - vT)/dT) - w + ga*(va - v) + gb*(vb - v) + I)/C
        : volt (unless refractory)
dva/dt = (gla*(el - va) + ga*(v - va))/Ca : volt
dvb/dt = (glb*(el - vb) + gb*(v - vb))/Cb : volt
dw/dt = (a*(v - el) - w)/tau_w : amp
"""


def _import_brian() -> ModuleType:
    try:
        import brian2
    except (ImportError, AttributeError) as error:  # AttributeError: NumPy is too new for it
        raise Missing("Brian2 (pip install brian2==2.9.0 'numpy<2.4' cython)") from error
    return brian2


@contextmanager
def _brian(target: str, dtype: str) -> Iterator[ModuleType]:
    """Brian2 on a device and target, put back as it was afterwards."""
    b2 = _import_brian()
    kept = b2.prefs.codegen.target, b2.prefs.core.default_float_dtype
    b2.prefs.core.default_float_dtype = getattr(np, dtype)
    if target == "cpp_standalone":
        b2.prefs.devices.cpp_standalone.extra_make_args_unix = ["-j2"]
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
    with _brian("cpp_standalone", dtype) as b2:
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
    parts = {"std::clock": n_steps * _clock_cost()}
    return Run("brian2_cpp", call, setup_s, 1e3 * times[indices == 0], parts)


def brian2_cython(n_neurons: int, n_steps: int, dt: float, dtype: str = "float64") -> Run:
    """Brian2's runtime with the Cython target; the time is Brian2's own, of its main loop."""
    _import_brian()
    from brian2.codegen.runtime.cython_rt.cython_rt import CythonCodeObject

    if not CythonCodeObject.is_available():
        raise Missing("Cython and a C++ compiler (pip install cython setuptools; g++)")
    begin = time.perf_counter()
    with _brian("cython", dtype) as b2:
        network, monitor = _brian_network(b2, n_neurons, dt)
        network.store()
        network.run(dt * b2.ms)
    setup_s = time.perf_counter() - begin

    def call() -> float:
        with _brian("cython", dtype) as b2:
            network.restore()
            network.run(n_steps * dt * b2.ms)
            return b2.device._last_run_time

    call()
    return Run("brian2_cython", call, setup_s, np.array(monitor.spike_trains()[0] / b2.ms))


# --- PyTorch: Newton and Hines in a Python loop ---------------------------------------------------

PARENT = (-1, 0, 0)
TOLERANCE = 1e-6  # pA
MAX_ITERATIONS = 10


def _import_torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise Missing("PyTorch (pip install torch)") from error
    return torch


def _torch_parameters(torch: ModuleType) -> dict[str, Any]:
    """Every number of the neuron as a tensor that requires a gradient; lists per compartment."""

    def leaf(value: Any) -> Any:
        if isinstance(value, tuple):
            return [leaf(x) for x in value]
        return torch.tensor(value, dtype=torch.float64, requires_grad=True)

    return {name: leaf(value) for name, value in vars(NEURON).items() if name != "t_ref"}


def _residual(torch: ModuleType, p: dict[str, Any], x: list, v: list, w: Any, dt: float) -> tuple:
    """-> the residual of implicit Euler at x, and the diagonal of its Jacobian."""
    n, rows, diagonal = len(x), [], []
    for i in range(n):
        rows.append(p["c_m"][i] / dt * (x[i] - v[i]) + p["g_leak"][i] * (x[i] - p["v_leak"]))
        diagonal.append(p["c_m"][i] / dt + p["g_leak"][i])
    for i in range(1, n):
        flow, parent = p["g_axial"][i - 1] * (x[i] - x[PARENT[i]]), PARENT[i]
        rows[i], rows[parent] = rows[i] + flow, rows[parent] - flow
        diagonal[i] = diagonal[i] + p["g_axial"][i - 1]
        diagonal[parent] = diagonal[parent] + p["g_axial"][i - 1]
    rise = p["g_leak"][0] * torch.exp((x[0] - p["v_exp"]) / p["delta_T"])
    rows[0] = rows[0] - p["delta_T"] * rise + w - p["current"]
    diagonal[0] = diagonal[0] - rise
    return rows, diagonal


def _hines(p: dict[str, Any], diagonal: list, right: list, held: bool) -> list:
    """Solve the tree's system: leaves to root, and back. A held soma does not move."""
    n, diagonal, right = len(right), list(diagonal), list(right)
    for i in range(n - 1, 0, -1):
        g, parent = p["g_axial"][i - 1], PARENT[i]
        factor = g / diagonal[i]
        diagonal[parent] = diagonal[parent] - factor * g
        right[parent] = right[parent] + factor * right[i]
    x = [right[0] * 0.0 if held else right[0] / diagonal[0]]
    for i in range(1, n):
        x.append((right[i] + p["g_axial"][i - 1] * x[PARENT[i]]) / diagonal[i])
    return x


def _torch_step(
    torch: ModuleType, p: dict[str, Any], v: list, w: Any, dt: float, held: bool
) -> tuple[list, Any]:
    """Newton to the tolerance, then w, semi-implicitly."""
    x = list(v)
    for _ in range(MAX_ITERATIONS):
        rows, diagonal = _residual(torch, p, x, v, w, dt)
        if max(abs(row.item()) for row in rows[held:]) < TOLERANCE:
            break
        change = _hines(p, diagonal, [-row for row in rows], held)
        x = [a + b for a, b in zip(x, change, strict=True)]
    return x, w + dt * (p["a"] * (x[0] - p["v_leak"]) - w) / p["tau_w"]


def _torch_simulate(
    torch: ModuleType, p: dict[str, Any], n_steps: int, dt: float
) -> tuple[list, list[float]]:
    """-> the soma's voltage after each step (mV), the spikes (ms)."""
    v, w = [p["v_leak"] + 0.0] * 3, torch.zeros((), dtype=torch.float64)
    held, trace, spikes = 0, [], []
    for step in range(n_steps):
        v, w = _torch_step(torch, p, v, w, dt, held > 0)
        held = max(held - 1, 0)
        if v[0].item() >= p["v_th"].item():
            v, w = [p["v_reset"] + 0.0, *v[1:]], w + p["b"]
            held = round(NEURON.t_ref / dt)
            spikes.append(step * dt)
        trace.append(v[0])
    return trace, spikes


def torch_newton(n_neurons: int, n_steps: int, dt: float, dtype: str = "float64") -> Run:
    """The replaced solver: PyTorch, Newton to 1e-6 pA over a Hines solve, a Python loop over the
    steps, autograd on. One neuron; memory grows with the steps (0.13 MB each)."""
    if n_neurons != 1 or dtype != "float64":
        raise Missing("nothing to install: this peer is one neuron, in float64")
    torch = _import_torch()
    parameters = _torch_parameters(torch)

    def simulate() -> tuple[float, list[float]]:
        begin = time.perf_counter()
        _, spikes = _torch_simulate(torch, parameters, n_steps, dt)
        return time.perf_counter() - begin, spikes

    return Run("torch_newton", lambda: simulate()[0], 0.0, np.array(simulate()[1]))


def torch_gradient(n_steps: int, dt: float) -> Run:
    """`torch_newton` and its gradient: mean of the squared soma voltage, by every number of the
    neuron. `parts` holds the seconds of "forward" and "backward" of the latest call."""
    torch = _import_torch()
    parameters = _torch_parameters(torch)
    leaves = [x for p in parameters.values() for x in (p if isinstance(p, list) else [p])]
    parts: dict[str, float] = {}

    def simulate() -> list[float]:
        begin = time.perf_counter()
        trace, spikes = _torch_simulate(torch, parameters, n_steps, dt)
        loss = torch.stack(trace).square().mean()
        middle = time.perf_counter()
        torch.autograd.grad(loss, leaves, allow_unused=True)
        parts.update(forward=middle - begin, backward=time.perf_counter() - middle)
        return spikes

    def call() -> float:
        simulate()
        return parts["forward"] + parts["backward"]

    return Run("torch_gradient", call, 0.0, np.array(simulate()), parts)


# --- Jaxley, its own AdEx -------------------------------------------------------------------------


def _jaxley_cell(jx: ModuleType, channels: ModuleType) -> Any:
    """The neuron as one branch, apical - soma - basal, which is exact: 1 uF/cm2, the areas from
    the capacitances, the axial resistivities from the couplings.

    Jaxley's AdEx takes mS/cm2 and uA/cm2, whatever its comments say.
    """
    n, length = NEURON, 10.0  # um
    cell = jx.Cell([jx.Branch(jx.Compartment(), ncomp=3)], parents=[-1])
    parts = [cell.branch(0).comp(position) for position in (1, 0, 2)]  # soma, apical, basal
    parts[0].insert(channels.AdEx(surrogate_warning=False))
    for part in parts[1:]:
        part.insert(channels.Leak())
    parts = [cell.branch(0).comp(position) for position in (1, 0, 2)]
    if n.g_axial[0] != n.g_axial[1]:
        raise ValueError("this mapping needs equal couplings")
    load = 0.5e5 / n.g_axial[0]  # of each half compartment, for G (nS) = 1e5 / (load + load)
    for part, c_m in zip(parts, n.c_m, strict=True):
        radius = 100.0 * c_m / (2 * np.pi * length)  # um; the area is 100 c_m um2
        part.set("radius", radius)
        part.set("length", length)
        part.set("capacitance", 1.0)
        part.set("axial_resistivity", load * np.pi * radius**2 / (length / 2))
        part.set("v", n.v_leak)
    adex = {"g_L": n.g_leak[0] / n.c_m[0], "a": n.a / n.c_m[0], "b": n.b / n.c_m[0]}
    adex |= {"E_L": n.v_leak, "v_T": n.v_exp, "delta_T": n.delta_T, "tau_w": n.tau_w}
    adex |= {"v_threshold": n.v_th, "v_reset": n.v_reset}
    for name, value in adex.items():
        parts[0].set(f"AdEx_{name}", value)
    for part, c_m, g_leak in zip(parts[1:], n.c_m[1:], n.g_leak[1:], strict=True):
        part.set("Leak_gLeak", g_leak / c_m * 1e-3)  # S/cm2
        part.set("Leak_eLeak", n.v_leak)
    return cell


def jaxley_adex(n_neurons: int, n_steps: int, dt: float, dtype: str = "float64") -> Run:
    """Jaxley's own AdEx, jit-compiled; a population is a vmap over the input.

    It has no refractory period, so the second spike comes at 133.5 ms instead of 129.4.
    """
    try:
        import jax
        import jax.numpy as jnp
        import jaxley as jx
        from jaxley import channels
    except ImportError as error:
        raise Missing("Jaxley (pip install jaxley)") from error
    begin = time.perf_counter()
    cell = _jaxley_cell(jx, channels)
    soma = cell.branch(0).comp(1)
    soma.record("AdEx_spikes", verbose=False)

    def simulate(current: Any) -> Any:
        stimulus = soma.data_stimulate(jnp.full(n_steps, current))
        return jx.integrate(cell, data_stimuli=stimulus, delta_t=dt)[0]

    with jax.enable_x64(dtype == "float64"):
        currents = jnp.full(n_neurons, 1e-3 * NEURON.current, dtype)  # nA
        run = jax.jit(jax.vmap(simulate) if n_neurons > 1 else simulate)
        argument = currents if n_neurons > 1 else currents[0]
        compiled = run.lower(argument).compile()
    setup_s = time.perf_counter() - begin

    def call() -> float:
        begin = time.perf_counter()
        compiled(argument).block_until_ready()
        return time.perf_counter() - begin

    flags = np.asarray(compiled(argument)).reshape(n_neurons, -1)[0]
    return Run("jaxley_adex", call, setup_s, (np.flatnonzero(flags) - 1) * dt)


PEERS: dict[str, Callable[..., Run]] = {
    "c_kernel": c_kernel,
    "brian2_cpp": brian2_cpp,
    "brian2_cython": brian2_cython,
    "torch_newton": torch_newton,
    "jaxley_adex": jaxley_adex,
}


def _row(n_neurons: int, n_steps: int, dtype: str, build: Callable[[], Run]) -> str:
    """One line of the table: the best of three runs."""
    run = build()
    seconds = min(run.call() for _ in range(3))
    each = 1e9 * seconds / (n_neurons * n_steps)
    spikes = " ".join(f"{t:.2f}" for t in run.spikes)
    parts = " ".join(f"{name} {value:.4f} s" for name, value in run.parts.items())
    size = f"{run.name:24s}{dtype:8s}{n_neurons:7d}{n_steps:7d}"
    return f"{size}{run.setup_s:9.2f}{seconds:11.5f}{each:12.2f}   {spikes} {parts}"


def main() -> None:
    """Print all peers: one neuron, and the populations of the compiled ones."""
    dt, both = 0.01, ("float64", "float32")
    cases = [(peer, 1, 5_000 if peer == "torch_newton" else 20_000, both) for peer in PEERS]
    compiled = ("c_kernel", "brian2_cpp")
    cases += [(peer, n, 20_000, both) for n in (1_000, 10_000) for peer in compiled]
    print(f"{'peer':24s}{'dtype':8s}{'N':>7s}{'steps':>7s}{'setup s':>9s}{'run s':>11s}", end="")
    print(f"{'ns/(N step)':>12s}   spikes of neuron 0 (ms)")
    for peer, n_neurons, n_steps, dtypes in cases:
        for dtype in dtypes:
            try:
                build = partial(PEERS[peer], n_neurons, n_steps, dt, dtype)
                print(_row(n_neurons, n_steps, dtype, build), flush=True)
            except Missing as missing:
                print(f"{peer:24s}{dtype:8s} missing: {missing}")
    try:
        print(_row(1, 5_000, "float64", partial(torch_gradient, 5_000, dt)))
    except Missing as missing:
        print(f"{'torch_gradient':24s} missing: {missing}")


if __name__ == "__main__":
    main()
