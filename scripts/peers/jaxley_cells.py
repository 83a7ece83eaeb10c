"""Jaxley: its own AdEx, and a passive chain."""

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from .base import NEURON, PASSIVE, Missing, Run

LENGTH = 10.0  # um, of a compartment; at 1 uF/cm2 an area of 100 c_m um2


def _import_jaxley() -> tuple[ModuleType, ModuleType]:
    try:
        import jaxley
        from jaxley import channels
    except ImportError as error:
        raise Missing("Jaxley (pip install jaxley)") from error
    return jaxley, channels


def _shape(part: Any, c_m: float, g_axial: float) -> None:
    """Give a compartment (or all of a chain) its capacitance (pF) and couplings (nS)."""
    radius = 100.0 * c_m / (2 * np.pi * LENGTH)  # um
    load = 0.5e5 / g_axial  # of each half compartment, for G (nS) = 1e5 / (load + load)
    part.set("radius", radius)
    part.set("length", LENGTH)
    part.set("capacitance", 1.0)
    part.set("axial_resistivity", load * np.pi * radius**2 / (LENGTH / 2))


def _timed(compiled: Callable[..., Any], argument: Any) -> Callable[[], float]:
    def call() -> float:
        begin = time.perf_counter()
        compiled(argument).block_until_ready()
        return time.perf_counter() - begin

    return call


def _jaxley_cell(jx: ModuleType, channels: ModuleType) -> Any:
    """The neuron as one branch, apical - soma - basal, which is exact: 1 uF/cm2, the areas from
    the capacitances, the axial resistivities from the couplings.

    Jaxley's AdEx takes mS/cm2 and uA/cm2, whatever its comments say.
    """
    n = NEURON
    cell = jx.Cell([jx.Branch(jx.Compartment(), ncomp=3)], parents=[-1])
    parts = [cell.branch(0).comp(position) for position in (1, 0, 2)]  # soma, apical, basal
    parts[0].insert(channels.AdEx(surrogate_warning=False))
    for part in parts[1:]:
        part.insert(channels.Leak())
    parts = [cell.branch(0).comp(position) for position in (1, 0, 2)]
    if n.g_axial[0] != n.g_axial[1]:
        raise ValueError("this mapping needs equal couplings")
    for part, c_m in zip(parts, n.c_m, strict=True):
        _shape(part, c_m, n.g_axial[0])
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


def own_adex_cell() -> Any:
    """Table 1's neuron as a `jx.Cell` with Jaxley's own AdEx; its soma is in the middle."""
    return _jaxley_cell(*_import_jaxley())


def jaxley_adex(n_neurons: int, n_steps: int, dt: float, dtype: str = "float64") -> Run:
    """Jaxley's own AdEx, jit-compiled; a population is a vmap over the input.

    It has no refractory period, so the second spike comes at 133.5 ms instead of 129.4.
    """
    jx, channels = _import_jaxley()
    import jax
    import jax.numpy as jnp

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

    flags = np.asarray(compiled(argument)).reshape(n_neurons, -1)[0]
    return Run("jaxley_adex", _timed(compiled, argument), setup_s, (np.flatnonzero(flags) - 1) * dt)


def jaxley_chain(n_compartments: int, n_steps: int, dt: float) -> Run:
    """Jaxley's implicit Euler on the passive chain, jit-compiled, in float64; records one end."""
    jx, channels = _import_jaxley()
    import jax
    import jax.numpy as jnp

    begin, p = time.perf_counter(), PASSIVE
    cell = jx.Cell([jx.Branch(jx.Compartment(), ncomp=n_compartments)], parents=[-1])
    cell.insert(channels.Leak())
    _shape(cell, p.c_m, p.g_axial)
    cell.set("Leak_gLeak", p.g_leak / p.c_m * 1e-3)  # S/cm2
    cell.set("Leak_eLeak", p.v_leak)
    cell.set("v", p.v_leak)
    end = cell.branch(0).comp(0)
    end.record("v", verbose=False)
    built_s = time.perf_counter() - begin

    def simulate(current: Any) -> Any:
        stimulus = end.data_stimulate(jnp.full(n_steps, current))
        return jx.integrate(cell, data_stimuli=stimulus, delta_t=dt)[0]

    with jax.enable_x64(True):
        argument = jnp.asarray(1e-3 * p.current)  # nA
        compiled = jax.jit(simulate).lower(argument).compile()
    setup_s = time.perf_counter() - begin
    voltage = float(np.asarray(compiled(argument))[n_steps])
    note, call = f"of the setup, {built_s:.2f} s build the cell", _timed(compiled, argument)
    return Run("jaxley_chain", call, setup_s, np.array([]), voltage=voltage, note=note)
