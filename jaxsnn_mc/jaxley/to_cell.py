"""A neuron as a Jaxley cell.

Jaxley couples compartments through half loads: within a branch G = 1e5 / (out ra + in ra) nS, with
loads in 1/um and ra in ohm cm, and at the end of a branch through a massless branch point. A load is
a column of its own, so any chain of couplings is exact. Where a compartment has three neighbours or
more, the branch point stands for the compartment itself: it is tied to it with 1 / epsilon of its
other couplings. Those are scaled so that each is exact between its two compartments; what is left
are couplings among the others, G_j G_k epsilon / sum(G), and rounding of the order of eps / epsilon.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jaxley as jx
import numpy as np
from jaxley.channels import Channel
from jaxley.channels import Leak as JaxleyLeak

from jaxsnn_mc.channels import AdEx as AdExChannel  # pyright: ignore[reportMissingImports]
from jaxsnn_mc.channels import Fire  # pyright: ignore[reportMissingImports]

from ..checks import known, shown
from ..mechanism import Mechanism
from ..mechanisms import LIF, AdEx, Leak
from ..mechanisms.spiking import Spiking
from ..neuron import Neuron
from .channel import PER_AREA, JaxleyChannel

EPSILON = {"float64": 1e-7, "float32": 1e-3}
"""Between the unwanted couplings, which are as large, and rounding, eps / epsilon (measured)."""

HUB = "point_coupled"
"""The group of the compartments for which a branch point stands."""


class Branch(NamedTuple):
    """A branch: its parent (-1: none), its compartments, and the conductances (nS) at its start,
    between its compartments, and at its end (0: none); `hub`: its last compartment is one."""

    parent: int
    compartments: list[int]
    g: list[float]
    hub: bool


def to_jaxley(neuron: Neuron, epsilon: float | None = None) -> jx.Cell:
    """A `jx.Cell` with the neuron's capacitances, couplings, mechanisms and start.

    `AdEx` becomes `jaxsnn_mc.channels.AdEx`, `LIF` a `Leak` and `jaxsnn_mc.channels.Fire`, `Leak`
    Jaxley's, a `JaxleyChannel` what it wraps. A compartment has the membrane area of its Jaxley
    channels, otherwise that of 1 uF/cm2. Those with a name fit for Python are groups of one:
    `cell.soma`. Branches begin at a tip, so the order of compartments is another.

    Chains, and branch points (compartments without capacitance), are exact. A compartment with three
    neighbours or more is so up to `epsilon`, see the top of this file: by default 1e-7 in float64,
    1e-3 in float32.

    Raises ValueError for a population, a traced neuron, and what Jaxley cannot hold.
    """
    if not isinstance(neuron, Neuron):
        raise ValueError(f"Expected a Neuron, got {neuron!r}.")
    if not all(map(known, (neuron.c_m, neuron.g, neuron.v_init))):
        raise ValueError("A jx.Cell cannot be built from traced numbers: build it outside of jit.")
    if max(np.ndim(x) for x in _numbers(neuron)) > 1:
        raise ValueError("A jx.Cell is one neuron, got a population.")
    if epsilon is None:
        epsilon = EPSILON[np.asarray(neuron.c_m).dtype.name]
    if not 0 < epsilon < 0.5:
        raise ValueError(f"epsilon must be between 0 and 0.5, got {epsilon!r}.")
    branches = list(_branches(neuron, epsilon))
    cell: Any = jx.Cell(
        [jx.Branch(jx.Compartment(), ncomp=len(b.compartments)) for b in branches],
        parents=[b.parent for b in branches],
    )
    order = np.array([i for b in branches for i in b.compartments])
    rows = {int(i): row for row, i in enumerate(order)}
    areas = _areas(neuron)
    _set_membrane(cell, neuron, order, areas[order], branches)
    _insert(cell, neuron, rows, areas)
    _name(cell, neuron, rows, [b.compartments[-1] for b in branches if b.hub])
    cell.init_states()
    return cell


def _numbers(neuron: Neuron) -> Iterator[Any]:
    yield from (neuron.c_m, neuron.g, neuron.v_init)
    for mechanism in neuron.mechanisms:
        for value in vars(mechanism).values():
            yield from value.values() if isinstance(value, dict) else [value]


# --- topology ---------------------------------------------------------------------------------------


def _branches(neuron: Neuron, epsilon: float) -> Iterator[Branch]:
    """The tree cut into branches, from a tip, each after its parent."""
    near = _neighbours(neuron)
    massless = np.asarray(neuron.c_m) == 0
    tips = [i for i in range(len(near)) if len(near[i]) < 2 and not massless[i]]
    if not tips:
        raise ValueError("Jaxley needs a tip with a capacitance, and the neuron has none.")
    stack, count = [(tips[0], -1, -1, 0.0)], 0
    while stack:
        start, behind, parent, g_start = stack.pop()
        compartments, g, last = [start], [g_start], behind
        while True:
            here = compartments[-1]
            ahead = [(i, g_i) for i, g_i in near[here].items() if i != last]
            if len(ahead) != 1 or massless[ahead[0][0]]:
                break
            last = here
            compartments.append(ahead[0][0])
            g.append(ahead[0][1])
        hub = len(ahead) > 1
        children, g_end = ahead, 0.0
        if hub:
            between = [neuron.names[i] for i, _ in ahead if massless[i]]
            if between:
                raise ValueError(
                    f"Jaxley cannot couple {neuron.names[here]!r}, which branches, to the branch "
                    f"point {between[0]!r}; couple it to the compartments behind that."
                )
            g_end = sum(g_i for _, g_i in ahead) / epsilon
            children = [(i, g_i / (1.0 - epsilon)) for i, g_i in ahead]
        elif ahead:
            ((last, g_end),) = ahead
            children = [(i, g_i) for i, g_i in near[last].items() if i != here]
        yield Branch(parent, compartments, [*g, g_end], hub)
        stack += [(i, last if not hub else here, count, g_i) for i, g_i in reversed(children)]
        count += 1


def _neighbours(neuron: Neuron) -> list[dict[int, float]]:
    """For each compartment, its neighbours and the conductances to them (nS)."""
    near: list[dict[int, float]] = [{} for _ in neuron.names]
    for edge, g in enumerate(np.asarray(neuron.g, float)):
        a, b = neuron.tree.ends(edge)
        if g == 0:
            raise ValueError(f"Jaxley cannot hold a coupling of 0 nS, as that of {a!r} and {b!r}.")
        i, j = neuron.tree.index(a), neuron.tree.index(b)
        near[i][j] = near[j][i] = float(g)
    return near


# --- membrane ---------------------------------------------------------------------------------------


def _areas(neuron: Neuron) -> np.ndarray:
    """The membrane area (um2) of each compartment: of its Jaxley channels, or that of 1 uF/cm2."""
    areas = 100.0 * np.asarray(neuron.c_m, float)
    given: dict[int, float] = {}
    for mechanism, where in zip(neuron.mechanisms, neuron.placements, strict=True):
        if isinstance(mechanism, JaxleyChannel):
            for i, area in zip(where, np.asarray(mechanism.area, float), strict=True):
                if given.setdefault(i, area) != area:
                    raise ValueError(
                        f"The channels of {neuron.names[i]!r} must have one area, got "
                        f"{given[i]:g} and {area:g} um2."
                    )
                areas[i] = area
    return areas


def _set_membrane(
    cell: Any, neuron: Neuron, order: np.ndarray, area: np.ndarray, branches: list[Branch]
) -> None:
    """Spheres' worth of cylinder, as long as wide; loads from the conductances at both ends."""
    length, ra = np.sqrt(area / np.pi), 1.0
    shape = {"length": length, "radius": 0.5 * length, "axial_resistivity": np.full_like(area, ra)}
    for mechanism, where in zip(neuron.mechanisms, neuron.placements, strict=True):
        if isinstance(mechanism, JaxleyChannel):
            at = np.argsort(order)[list(where)]
            for key in shape.keys() & mechanism.values.keys():
                shape[key][at] = np.asarray(mechanism.values[key])
    for key, value in shape.items():
        cell.set(key, value)
    cell.set("area", area)
    cell.set("capacitance", 100.0 * np.asarray(neuron.c_m, float)[order] / area)
    cell.set("v", np.asarray(neuron.v_init, float)[order])
    # Half of the resistance of a coupling within a branch lies on either side, all of one at an end.
    share = [[1.0, *[0.5] * (len(b.g) - 2), 1.0] for b in branches]
    load = [  # a free end's has no effect
        np.where(np.array(b.g) > 0, 1e5 * np.array(s) / np.maximum(b.g, 1e-300), 1.0)
        for s, b in zip(share, branches, strict=True)
    ]
    resistivity = shape["axial_resistivity"]
    cell.set("resistive_load_in", np.concatenate([x[:-1] for x in load]) / resistivity)
    cell.set("resistive_load_out", np.concatenate([x[1:] for x in load]) / resistivity)


# --- mechanisms -------------------------------------------------------------------------------------


def _insert(cell: Any, neuron: Neuron, rows: dict[int, int], areas: np.ndarray) -> None:
    held: dict[tuple[int, str], str] = {}
    values: dict[tuple[int, str], float] = {}
    for mechanism, where in zip(neuron.mechanisms, neuron.placements, strict=True):
        for channel, params in _channels(mechanism, areas[list(where)], neuron, where):
            view = cell.select(nodes=[rows[i] for i in where])
            name = str(channel.name)
            for i in where:
                if held.setdefault((i, name), mechanism.key) != mechanism.key:
                    raise ValueError(
                        f"Compartment {neuron.names[i]!r} would hold two Jaxley channels {name!r}, of "
                        f"{held[i, name]} and {mechanism.key}; name one of them otherwise."
                    )
            view.insert(channel)
            view = cell.select(nodes=[rows[i] for i in where])
            for key, value in params.items():
                value = np.broadcast_to(np.asarray(value, float), (len(where),))
                for i, x in zip(where, value, strict=True):
                    if values.setdefault((i, key), x) != x:
                        raise ValueError(
                            f"The channels of {neuron.names[i]!r} share {key} in Jaxley, but have "
                            f"{values[i, key]:g} and {x:g}."
                        )
                view.set(key, value)


def _channels(
    mechanism: Mechanism, area: np.ndarray, neuron: Neuron, where: tuple[int, ...]
) -> Iterator[tuple[Channel, dict[str, Any]]]:
    """A mechanism as Jaxley channels, each with its parameters, per area."""
    name, m = mechanism.name or None, mechanism
    if isinstance(m, Spiking) and m.options:
        raise ValueError(
            f"Jaxley has no {type(m).__name__} with {m.options} (in {neuron.names[where[0]]!r}); leave "
            "that away to go over."
        )
    if type(m) is Leak:
        yield _leak(m, name, area)
    elif type(m) is AdEx:
        channel = AdExChannel(name)
        yield channel, _params(m, channel, area, "g_leak", "a", "b")
    elif type(m) is LIF:
        channel = Fire(name)
        yield _leak(m, leak_of(channel), area)
        yield channel, _params(m, channel, area)
    elif isinstance(m, JaxleyChannel):
        c_m = np.asarray(neuron.c_m, float)[list(where)]
        given = m.values.get("capacitance")
        if given is not None and not np.allclose(given, 100.0 * c_m / area, rtol=1e-6):
            raise ValueError(f"{m.key}.capacitance must be 100 c_m / area, got {given}.")
        for channel in m.channels:
            yield channel, {k: m.values[k] for k in channel.channel_params or {}}
    else:
        there = [neuron.names[i] for i in where]
        raise ValueError(
            f"Jaxley has no channel for {m.key} ({type(m).__name__}), in {shown(there, 3)}; leave it "
            "out, and give its current as a stimulus."
        )


def leak_of(fire: Channel) -> str:
    """The name of the `Leak` that makes an `LIF` with a `Fire`."""
    return "Leak" if fire.name == "Fire" else f"{fire.name}_Leak"


def _leak(m: Any, name: str | None, area: np.ndarray) -> tuple[Channel, dict[str, Any]]:
    channel = JaxleyLeak(name)
    density = np.asarray(m.g_leak, float) / (PER_AREA * area)
    return channel, {f"{channel.name}_gLeak": density, f"{channel.name}_eLeak": m.v_leak}


def _params(m: Any, channel: Channel, area: np.ndarray, *per_area: str) -> dict[str, Any]:
    """The parameters that mechanism and channel have in common; nS and pA `per_area`."""
    result = {}
    for key in channel.channel_params or {}:
        name = key.removeprefix(f"{channel.name}_")
        if hasattr(m, name):
            value = np.asarray(getattr(m, name), float)
            result[key] = value / (PER_AREA * area) if name in per_area else value
    return result


def _name(cell: Any, neuron: Neuron, rows: dict[int, int], hubs: list[int]) -> None:
    taken = {*dir(type(cell)), *vars(cell), *cell.nodes.columns}
    for i, row in rows.items():
        name = neuron.names[i]
        if name.isidentifier() and name not in taken:
            cell.select(nodes=[row]).add_to_group(name)
    if hubs:
        cell.select(nodes=[rows[i] for i in hubs]).add_to_group(HUB)
