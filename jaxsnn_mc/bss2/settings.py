"""Which setting of the chip holds which number of a neuron: a grid for each.

How the LSB of a bias current map to a conductance or a time constant is public nowhere [U]. Assumed
here: conductances are proportional to the LSB, and the largest setting gives the shortest time
constant of the calibratable range at the full capacitance; time constants of synapses and of adaptation
have their 10 bits spread evenly over the logarithm. The AdEx terms, which no calibration covers,
are in units that are assumed altogether (`ASSUMED`).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array

from ..mechanism import Mechanism, parameters
from ..mechanisms import LIF, AdEx, CurrentSynapse, Leak
from ..mechanisms.spiking import Spiking
from ..neuron import Neuron
from .grid import Grid
from .mapping import Mapping
from .ranges import CADC_MAX, CAPMEM_MAX, CLOCK, CYCLES, RANGES, WEIGHT_MAX

LEAK_FACTORS = (1 / 8, 1.0, 8.0)
"""Division and multiplication of the leak's bias (haldls neuron.h:304-332)."""

ICC_FACTORS = (1 / 4, 1.0, 4.0)
"""Those of the conductance between compartments (haldls neuron.h:108-118)."""

CLOCK_FACTORS = tuple(2.0**scale for scale in range(16))
"""The dividers of the refractory clocks."""

ASSUMED = {"delta_T": 0.05, "b": 40.0, "tau_w": (1.0, 1000.0), "v_exp": (70.0, 20.0, 2.4)}
"""[U]. One LSB of delta_T, in CADC LSB; one LSB of b, as an LSB of `a` at so many CADC LSB; the ends of
tau_w (ms) at 1 and 1022 LSB; for v_exp, that its CapMem value is 70 + (CADC - 20) * 2.4, as calix's
cadc_calib_target.h:19-32 maps the two for other voltages."""

KEYS = {
    "v_leak": "leak", "v_reset": "reset", "v_th": "threshold", "g_leak": "tau_mem", "t_ref": "t_ref",
    "tau_syn": "tau_syn", "v_exp": "v_exp", "delta_T": "delta_T", "tau_w": "tau_w", "a": "a", "b": "b",
}  # fmt: skip
"""The row of the table for each parameter of a mechanism."""

LEAKY = (Leak, LIF, AdEx)
FIRING = (LIF, AdEx)
HELD = (*LEAKY, CurrentSynapse)
"""Mechanisms that a neuron circuit has. Of the first three it has one."""


def missing(mechanism: Mechanism) -> str | None:
    """What of a mechanism a neuron circuit has not, None if it has all of it."""
    kind = type(mechanism).__name__
    if type(mechanism) not in HELD:
        return kind
    if isinstance(mechanism, Spiking) and mechanism.options:
        return f"{kind} with {mechanism.options}"
    return None


class Setting(NamedTuple):
    """Numbers of a neuron, reached by `get`, each with its path; the row of the table; their grid."""

    get: Callable[[Neuron], Array]
    paths: tuple[str, ...]
    key: str
    grid: Grid


def capacitances(neuron: Neuron, mapping: Mapping) -> Setting:
    """The setting of c_m."""
    paths = tuple(f"{name}.c_m" for name in neuron.names)
    grid = Grid(mapping.pF_per_lsb, (1, RANGES["capacitance"].lsb[1]))
    return Setting(lambda n: n.c_m, paths, "capacitance", grid)


def settings(neuron: Neuron, mapping: Mapping) -> list[Setting]:
    """All other settings. The neuron's c_m are on their grid already.

    Raises ValueError for a mechanism that a neuron circuit has not.
    """
    found = [_start(neuron, mapping)]
    if neuron.tree.size > 1:
        found.append(_couplings(neuron, mapping))
    for k, (mechanism, where) in enumerate(zip(neuron.mechanisms, neuron.placements, strict=True)):
        if (lacking := missing(mechanism)) is not None:
            raise ValueError(
                f"A neuron circuit has no {lacking} (in {neuron.names[where[0]]!r}); "
                f"it has {', '.join(kind.__name__ for kind in HELD)}."
            )
        c_m = neuron.c_m[..., np.array(where)]
        for name in parameters(mechanism):
            paths = tuple(f"{neuron.names[i]}.{mechanism.key}.{name}" for i in where)
            get = lambda n, k=k, name=name: getattr(n.mechanisms[k], name)  # noqa: E731
            found.append(Setting(get, paths, KEYS[name], grid(KEYS[name], mapping, c_m)))
    return found


def grid(key: str, mapping: Mapping, c_m: Array) -> Grid:
    """The grid of a mechanism's parameter, of compartments with these c_m (pF)."""
    lsb, conductance = mapping.mV_per_lsb, _conductance("tau_mem", LEAK_FACTORS, mapping)
    top = (0, CAPMEM_MAX)
    match key:
        case "leak" | "reset" | "threshold":
            low, high = RANGES[key].hardware or top
            return Grid(lsb, (int(low), int(high)), mapping.millivolts(0))
        case "tau_mem":
            return _by_time_constant(key, LEAK_FACTORS, mapping, c_m)
        case "t_ref":
            low, high = RANGES[key].biological or (0.0, math.inf)
            return Grid(2e0 / CLOCK, CYCLES, factors=CLOCK_FACTORS, low=low, high=high)
        case "tau_syn":
            low, high = RANGES[key].biological or (1.0, 1.0)
            return Grid(math.log(high / low) / CAPMEM_MAX, top, low, logarithmic=True)
        case "tau_w":
            low, high = ASSUMED[key]
            return Grid(math.log(high / low) / CAPMEM_MAX, top, low, logarithmic=True)
        case "v_exp":
            code, cadc, per_cadc = ASSUMED[key]
            return Grid(lsb / per_cadc, top, mapping.millivolts(cadc - code / per_cadc))
        case "delta_T":
            return Grid(ASSUMED[key] * lsb, top)
        case "a":
            return Grid(conductance, (-CAPMEM_MAX, CAPMEM_MAX))
        case "b":
            return Grid(conductance * ASSUMED[key] * lsb, (-CAPMEM_MAX, CAPMEM_MAX))
    raise ValueError(f"No mechanism has the setting {key!r}.")


def weights(mapping: Mapping) -> Grid:
    """The grid of a spike train's weights (pA): 6 bits, and the sign of the row."""
    return Grid(mapping.pA_per_lsb, (-WEIGHT_MAX, WEIGHT_MAX))


def carriers(neuron: Neuron) -> np.ndarray:
    """For each coupling, the compartment (its index) that carries the resistor: the child (N-1,)."""
    tree, children = neuron.tree, np.zeros(neuron.tree.size - 1, int)
    for position in range(1, tree.size):
        children[tree.edge[position]] = tree.order[position]
    return children


def _start(neuron: Neuron, mapping: Mapping) -> Setting:
    """v_init: the chip starts at rest, so this is for simulations alone; it is held as the CADC's."""
    paths = tuple(f"{name}.v_init" for name in neuron.names)
    values = Grid(mapping.mV_per_lsb, (0, CADC_MAX), mapping.millivolts(0))
    return Setting(lambda n: n.v_init, paths, "leak", values)


def _couplings(neuron: Neuron, mapping: Mapping) -> Setting:
    paths = tuple("-".join(neuron.tree.ends(edge)) for edge in range(neuron.tree.size - 1))
    c_m = neuron.c_m[..., carriers(neuron)]
    return Setting(lambda n: n.g, paths, "tau_icc",
                   _by_time_constant("tau_icc", ICC_FACTORS, mapping, c_m))  # fmt: skip


def _by_time_constant(key: str, factors: tuple[float, ...], mapping: Mapping, c_m: Array) -> Grid:
    """Conductances (nS) such that c_m / g is in the calibratable range."""
    low, high = RANGES[key].biological or (0.0, math.inf)
    step = _conductance(key, factors, mapping)
    return Grid(step, (0, CAPMEM_MAX), factors=factors, low=c_m / high, high=c_m / low)


def _conductance(key: str, factors: tuple[float, ...], mapping: Mapping) -> float:
    """One LSB of a conductance (nS), without division or multiplication [U]."""
    low, _ = RANGES[key].biological or (1.0, 1.0)
    full = mapping.pF_per_lsb * RANGES["capacitance"].lsb[1]
    return full / low / (CAPMEM_MAX * factors[-1])
