"""C: implicit Euler, one thread, compiled by gcc when it is built."""

import ctypes
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .base import NEURON, Missing, Run, Table1

SOURCE = Path(__file__).with_name("kernel.c")
KINDS: dict[str, dict[str, str]] = {  # dtype -> what the compiler defines
    "float64": {"REAL": "double", "INT": "int64_t", "MANTISSA": "52", "DEGREE": "12"},
    "float32": {"REAL": "float", "INT": "int32_t", "MANTISSA": "23", "DEGREE": "7"},
}
LIBM = {"float64": "exp", "float32": "expf"}
BLOCK = 512  # neurons that go through all steps together; as fast as one block of 1e3 to 1e5


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
    Path(source).write_text(SOURCE.read_text())
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
