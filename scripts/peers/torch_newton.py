"""PyTorch: Newton and Hines in a Python loop over the steps, with autograd."""

import contextlib
import ctypes
import time
from types import ModuleType
from typing import Any

import numpy as np

from .base import NEURON, Missing, Run

PARENT = (-1, 0, 0)
TOLERANCE = 1e-6  # pA
MAX_ITERATIONS = 10


def _import_torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise Missing("PyTorch (pip install torch)") from error
    return torch


def _tidy_heap() -> None:
    """Give freed memory back: a graph leaves millions of fragments, and whoever allocates next would
    pay for sorting them (0.2 s after 5,000 steps)."""
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


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

    def call() -> float:
        seconds, _ = simulate()
        _tidy_heap()
        return seconds

    return Run("torch_newton", call, 0.0, np.array(simulate()[1]))


def torch_gradient(n_steps: int, dt: float) -> Run:
    """`torch_newton` and its gradient: mean of the squared soma voltage, by every number of the
    neuron. `parts` holds the seconds of "forward" and "backward" of the latest call."""
    torch = _import_torch()
    parameters = _torch_parameters(torch)
    leaves = [x for p in parameters.values() for x in (p if isinstance(p, list) else [p])]
    parts: dict[str, float] = {}

    def simulate() -> tuple[list[float], np.ndarray]:
        begin = time.perf_counter()
        trace, spikes = _torch_simulate(torch, parameters, n_steps, dt)
        loss = torch.stack(trace).square().mean()
        middle = time.perf_counter()
        slopes = torch.autograd.grad(loss, leaves, allow_unused=True)
        parts.update(forward=middle - begin, backward=time.perf_counter() - middle)
        return spikes, np.array([0.0 if x is None else x.item() for x in slopes])

    def call() -> float:
        simulate()
        _tidy_heap()
        return parts["forward"] + parts["backward"]

    spikes, slopes = simulate()
    return Run("torch_gradient", call, 0.0, np.array(spikes), parts, gradient=slopes)
