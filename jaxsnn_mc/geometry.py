"""Compartments from their geometry: open cylinders of membrane around a core of cytoplasm.

soma = mc.Cylinder(25.0, 25.0, specific_leak=40.0)
dend = mc.Cylinder(100.0, 1.0, specific_leak=40.0, axial_resistivity=150.0, spine_factor=1.5)
trunk = mc.Cylinder(100.0, 2.5, specific_leak=40.0, axial_resistivity=150.0)
neuron = mc.Neuron({"soma": mc.Compartment(soma.c_m, [mc.Leak(soma.g_leak, -70.0)]),
                    "trunk": mc.Compartment(trunk.c_m, [mc.Leak(trunk.g_leak, -70.0)]),
                    "dend": mc.Compartment(dend.c_m, [mc.Leak(dend.g_leak, -70.0)])},
                   [("soma", "trunk", 15.0),                             # an absolute value, nS
                    ("trunk", "dend", mc.half_cylinders(trunk, dend))])
"""

import math
from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .checks import as_float, check_bounds
from .mechanism import parameters
from .units import MOHM_TO_NS, OHM_CM, uF_PER_CM2, uS_PER_CM2


def _positive(name: str, unit: str, exclusive: bool = True, **default: Any) -> Any:
    """A field of `Cylinder`, declared as a mechanism's `parameter` is."""
    declared = {"unit": unit, "low": 0.0, "high": math.inf, "exclusive": exclusive}
    convert = partial(as_float, what=f"Cylinder.{name}", optional=None in default.values())
    return eqx.field(converter=convert, metadata=declared, **default)


class Cylinder(eqx.Module):
    """An open cylinder (no end caps; one as long as wide has the area of a sphere).

    Its fields are numbers or arrays, and may be differentiated by. `scale_factor` and `spine_factor`
    multiply the membrane's area, and so c_m and g_leak, but not the axial resistance.

    Raises ValueError for a number that is not finite or not positive (a leak may be 0).
    """

    length: Array = _positive("length", "um")
    diameter: Array = _positive("diameter", "um")
    specific_leak: Array = _positive("specific_leak", "uS/cm2", exclusive=False)
    specific_capacitance: Array = _positive("specific_capacitance", "uF/cm2", default=1.0)
    axial_resistivity: Array | None = _positive("axial_resistivity", "ohm cm", default=None)
    scale_factor: Array = _positive("scale_factor", "1", default=1.0)
    spine_factor: Array = _positive("spine_factor", "1", default=1.0)

    def __check_init__(self):
        for name, declared in parameters(self).items():
            check_bounds(f"Cylinder.{name}", getattr(self, name), **declared)

    @property
    def lateral_area(self) -> Array:
        """pi length diameter (um2), without the factors."""
        return math.pi * self.length * self.diameter

    @property
    def area(self) -> Array:
        """The area of the membrane (um2), with both factors."""
        return self.lateral_area * self.scale_factor * self.spine_factor

    @property
    def c_m(self) -> Array:
        """The capacitance (pF)."""
        return self.area * self.specific_capacitance * uF_PER_CM2

    @property
    def g_leak(self) -> Array:
        """The leak conductance (nS)."""
        return self.area * self.specific_leak * uS_PER_CM2

    @property
    def time_constant(self) -> Array:
        """c_m / g_leak (ms)."""
        return self.c_m / self.g_leak

    @property
    def axial_resistance(self) -> Array:
        """From end to end, 4 axial_resistivity length / (pi diameter^2) (MOhm).

        Raises ValueError without an axial resistivity.
        """
        if self.axial_resistivity is None:
            raise ValueError(
                "This Cylinder has no axial resistivity; give it axial_resistivity=... (ohm cm), or "
                "couple the compartments by a conductance (nS)."
            )
        per_length = 4.0 * OHM_CM * self.axial_resistivity / (math.pi * self.diameter**2)
        return per_length * self.length

    @property
    def axial_conductance(self) -> Array:
        """1 / axial_resistance (nS): a coupling by one cylinder's formula."""
        return MOHM_TO_NS / self.axial_resistance

    @property
    def electrotonic_length(self) -> Array:
        """length / lambda, with the membrane's factors in lambda: sqrt(axial_resistance g_leak)."""
        return jnp.sqrt(self.axial_resistance * self.g_leak / MOHM_TO_NS)


def half_cylinders(a: Cylinder, b: Cylinder) -> Array:
    """The coupling (nS) of the middles of two cylinders that meet at their ends: 2 / (R_a + R_b)."""
    return 2.0 * MOHM_TO_NS / (a.axial_resistance + b.axial_resistance)
