"""Reconstructed neurons: from an SWC file to the arrays of a `Neuron`, whole or reduced.

    cell = mc.read_morphology("cell.swc").cut(20.0)       # or .reduced(9): a chosen number
    neuron = mc.Neuron.from_arrays(
        **cell.arrays(specific_capacitance=1.0, axial_resistivity=150.0),
        mechanisms=[mc.Leak(cell.conductance(40.0), -65.0),                # uS/cm2
                    (mc.CurrentSynapse(5.0), cell.where("apical"))])

A cell is cut so that compartments lie at the ends of pieces, and so at every branch point: each holds
the membrane half way to its neighbours, and a coupling is the whole cytoplasm between two of them.
That is exact at branch points and of second order in the pieces' length. The soma is one compartment
without inner resistance, and all membrane of the first pieces goes to their far ends.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from .checks import as_float, known
from .units import MOHM_TO_NS, OHM_CM, uF_PER_CM2, uS_PER_CM2

KINDS = {2: "axon", 3: "basal", 4: "apical"}
"""The names of SWC's types; another type k is "type<k>"."""

SHORTEST = 1e-6
"""um. A section that is no longer has no membrane and makes no compartment."""


class Section(NamedTuple):
    """An unbranched stretch: its kind, the index of its parent (-1, the soma), and the `path` (P,) in
    um from its start and the `diameter` (P,) in um of its points."""

    kind: str
    parent: int
    path: np.ndarray
    diameter: np.ndarray

    @property
    def length(self) -> float:
        return float(self.path[-1])

    def pieces(self, number: int) -> "Pieces":
        """Equally long pieces, made of the frusta between the points."""
        path = self.path + 1e-9 * np.arange(self.path.size)  # of two points at a place: a step
        ends = np.linspace(0.0, path[-1], number + 1)
        x = np.union1d(path, ends)
        a, b = (d := np.interp(x, path, self.diameter))[:-1], d[1:]
        dx = np.diff(x)
        of = np.minimum(np.searchsorted(ends, 0.5 * (x[1:] + x[:-1])) - 1, number - 1)

        def summed(values: np.ndarray) -> np.ndarray:
            return np.bincount(of, values, number)

        return Pieces(
            area=summed(0.5 * math.pi * (a + b) * np.hypot(dx, 0.5 * (b - a))),
            axial=summed(4.0 * dx / (math.pi * a * b)),
            electrotonic=summed(2.0 * dx / (np.sqrt(a) + np.sqrt(b))),
        )


class Pieces(NamedTuple):
    """Of each piece (n,): its membrane's `area` (um2), its `axial` resistance over the resistivity
    (1/um), and its `electrotonic` length times lambda over the square root of the diameter (um^1/2),
    the integral of dx / sqrt(d)."""

    area: np.ndarray
    axial: np.ndarray
    electrotonic: np.ndarray


class Segments(eqx.Module):
    """A morphology in compartments, the soma first; arrays as `Neuron.from_arrays` takes them.

    **Fields:** `names` and `kinds` (N,), "soma", "axon", "basal", "apical" or "type5" and so on;
    `couplings`, N-1 pairs of compartment numbers; `area` (N,) of membrane, um2; `axial` (N-1,), the
    resistance of each coupling over the axial resistivity, 1/um; `distance` (N,) to the soma along
    the path, um.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    kinds: tuple[str, ...] = eqx.field(static=True)
    couplings: tuple[tuple[int, int], ...] = eqx.field(static=True)
    area: np.ndarray
    axial: np.ndarray
    distance: np.ndarray

    def where(self, kind: str) -> tuple[int, ...]:
        """The numbers of the compartments of a kind. Raises ValueError if there are none."""
        if kind not in self.kinds:
            there = sorted(set(self.kinds))
            raise ValueError(f"There is no compartment of the kind {kind!r}; there are {there}.")
        return tuple(i for i, k in enumerate(self.kinds) if k == kind)

    def conductance(self, specific: Any, kind: str | None = None) -> Any:
        """A specific conductance (uS/cm2) as one of each compartment, or of each of a kind, nS."""
        area = self.area if kind is None else self.area[np.array(self.where(kind))]
        return as_float(specific, "specific") * as_float(area, "area") * uS_PER_CM2

    def arrays(self, *, axial_resistivity: Any, specific_capacitance: Any = 1.0) -> dict[str, Any]:
        """What `Neuron.from_arrays` takes, but for the mechanisms: `c_m`, `couplings`, `g`, `names`.

        **Arguments:** `axial_resistivity` (ohm cm) and `specific_capacitance` (uF/cm2), numbers.
        """
        resistivity = as_float(axial_resistivity, "axial_resistivity")
        if known(resistivity) and not np.all(np.asarray(resistivity) > 0):
            raise ValueError(f"axial_resistivity must be above 0 (ohm cm), got {resistivity}.")
        c_m = as_float(specific_capacitance, "specific_capacitance") * as_float(self.area, "area")
        return {
            "c_m": c_m * uF_PER_CM2,
            "couplings": self.couplings,
            "g": MOHM_TO_NS / (as_float(self.axial, "axial") * resistivity * OHM_CM),
            "names": self.names,
        }

    def with_spines(self, spine_factor: float, *kinds: str) -> "Segments":
        """The same with `spine_factor` times the membrane on some kinds, by default basal and apical
        dendrites. Raises ValueError for a factor that is not positive or a kind that is not there."""
        if not 0 < spine_factor < math.inf:
            raise ValueError(f"spine_factor must be a positive number, got {spine_factor!r}.")
        for kind in kinds:
            self.where(kind)
        chosen = [k in (kinds or ("basal", "apical")) for k in self.kinds]
        return eqx.tree_at(lambda s: s.area, self, np.where(chosen, spine_factor, 1.0) * self.area)


class Morphology(NamedTuple):
    """A reconstructed neuron: the soma's area (um2), and its sections, parents first."""

    soma_area: float
    sections: tuple[Section, ...]

    def cut(self, max_length: float | Callable[[float], float]) -> Segments:
        """The whole cell, in pieces as long as `max_length` (um) at most, or as a function of their
        section's mean diameter (um), such as `d_lambda_rule(...)` gives."""
        if not callable(max_length) and not 0 < max_length < math.inf:
            raise ValueError(f"max_length must be a positive length (um), got {max_length!r}.")
        kinds, couplings, axial = ["soma"], [], []
        area, distance = [self.soma_area], [0.0]
        end: list[int] = []  # the compartment at the end of each section
        for section in self.sections:
            here = 0 if section.parent < 0 else end[section.parent]
            if section.length <= SHORTEST:
                end.append(here)
                continue
            longest = max_length(_mean_diameter(section)) if callable(max_length) else max_length
            number = max(1, math.ceil(section.length / longest - 1e-9))
            half = section.pieces(2 * number)
            start = distance[here]
            for k in range(number):
                near, far = half.area[2 * k], half.area[2 * k + 1]
                new = len(area)
                area.append(far + (near if here == 0 else 0.0))
                area[here] += 0.0 if here == 0 else near
                kinds.append(section.kind)
                couplings.append((here, new))
                axial.append(half.axial[2 * k] + half.axial[2 * k + 1])
                distance.append(start + section.length * (k + 1) / number)
                here = new
            end.append(here)
        return segments(kinds, couplings, area, axial, distance)

    def reduced(self, number: int) -> Segments:
        """The cell reduced to a number of compartments; see `jaxsnn_mc.reduction`."""
        from .reduction import reduce_morphology

        return reduce_morphology(self, number)


def segments(kinds: list, couplings: list, area: list, axial: list, distance: list) -> Segments:
    """`Segments` with names: "soma", and each kind's compartments counted, "basal_0" and so on."""
    counted: dict[str, int] = {}
    names = []
    for kind in kinds:
        k = counted[kind] = counted.get(kind, -1) + 1
        names.append(kind if kind == "soma" else f"{kind}_{k}")
    numbers = (np.array(x, float) for x in (area, axial, distance))
    return Segments(tuple(names), tuple(kinds), tuple(couplings), *numbers)


def d_lambda_rule(
    axial_resistivity: float,
    specific_capacitance: float = 1.0,
    fraction: float = 0.1,
    frequency: float = 100.0,
) -> Callable[[float], float]:
    """The d_lambda rule, for `Morphology.cut`: no piece is longer than a fraction of the length
    constant at a frequency (Hz), sqrt(d / (4 pi f R_i C)) (Hines and Carnevale, Neuroscientist 7:123,
    2001).

    **Arguments:** `axial_resistivity` (ohm cm), `specific_capacitance` (uF/cm2).
    """
    given = (axial_resistivity, specific_capacitance, fraction, frequency)
    if not all(0 < x < math.inf for x in given):
        raise ValueError(f"The numbers of the d_lambda rule must be positive, got {given}.")
    # With d = 1e-4 cm and C = 1e-6 F/cm2 it is 10 cm, or 1e5 um.
    scale = 1e5 / math.sqrt(4.0 * math.pi * frequency * axial_resistivity * specific_capacitance)
    return lambda diameter: fraction * scale * math.sqrt(diameter)


def read_morphology(path: str | Path) -> Morphology:
    """Reads an SWC file (or another format of MorphIO's) with MorphIO.

    A neurite of a single point starts at the soma's centre, as in NEURON; others start at their first
    point, and join the soma without resistance before it.

    Raises ValueError for a file that cannot be read or has no soma, and ImportError without MorphIO.
    """
    try:
        import morphio
    except ImportError:
        raise ImportError(
            "Reading morphologies needs MorphIO: pip install 'jaxsnn_mc[morphology]'."
        ) from None
    try:
        read = morphio.Morphology(str(path))
    except morphio.MorphioError as error:
        raise ValueError(f"The morphology {str(path)!r} must be a readable file: {error}") from None
    if not len(read.soma.points):
        raise ValueError(
            f"The morphology {str(path)!r} has no soma; give it one (type 1 in an SWC)."
        )
    sections = [_section(one, read.soma.center) for one in read.iter()]
    number = {one.id: k for k, one in enumerate(read.iter())}
    parents = [-1 if one.is_root else number[one.parent.id] for one in read.iter()]
    joined = [s._replace(parent=p) for s, p in zip(sections, parents, strict=True)]
    return Morphology(_soma_area(read.soma), tuple(joined))


def _section(one: Any, centre: np.ndarray) -> Section:
    points, diameters = np.array(one.points, float), np.array(one.diameters, float)
    if len(points) == 1:
        points = np.concatenate([[centre], points])
        diameters = np.repeat(diameters, 2)
    if not np.all(diameters > 0):
        raise ValueError(
            f"A diameter must be positive, got {diameters.min():g} um near {points[0].tolist()}; "
            "change it in the file."
        )
    path = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    kind = int(one.type)
    return Section(KINDS.get(kind, f"type{kind}"), -1, path, diameters)


def _soma_area(soma: Any) -> float:
    """The soma's surface (um2); of a contour, that of a sphere with its mean radius."""
    try:
        return float(soma.surface)
    except Exception:
        away = np.linalg.norm(np.asarray(soma.points, float) - soma.center, axis=1)
        return float(4.0 * math.pi * np.mean(away) ** 2)


def _mean_diameter(section: Section) -> float:
    widths = 0.5 * (section.diameter[1:] + section.diameter[:-1])
    return float(np.average(widths, weights=np.diff(section.path)))
