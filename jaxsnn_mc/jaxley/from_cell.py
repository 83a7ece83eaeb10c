"""A Jaxley cell as a neuron.

Jaxley's branch points are kept as compartments without capacitance, which the solver holds exactly;
those with two neighbours are eliminated. For loads and conductances see `to_cell.py`.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jaxley as jx
import numpy as np
from jaxley.channels import Channel
from jaxley.channels import Leak as JaxleyLeak

from jaxsnn_mc.channels import AdEx as AdExChannel  # pyright: ignore[reportMissingImports]
from jaxsnn_mc.channels import Fire  # pyright: ignore[reportMissingImports]

from ..checks import shown
from ..mechanism import Mechanism
from ..mechanisms import LIF, AdEx, Leak
from ..neuron import Neuron
from .channel import GEOMETRY, PER_AREA, JaxleyChannel, traffic
from .to_cell import HUB, leak_of

Placed = tuple[Mechanism, list[int]]
Edge = tuple[int, int, float]


def from_jaxley(cell: Any) -> Neuron:
    """A neuron with a cell's tree, capacitances, channels, parameters and start (`v`).

    `jaxsnn_mc.channels.AdEx` becomes an `AdEx`, `Fire` and the `Leak` beside it an `LIF`, `Leak` a
    `Leak`, all other channels a `JaxleyChannel`. Gates start at rest, as after `cell.init_states()`.
    Compartments are numbered as in `cell.nodes` ("0", "1", ...), or have the name of the group that
    holds nothing else; branch points are "branchpoint0", ... without capacitance.

    **Arguments:** `cell`, a `jx.Cell`, such as of `jx.read_swc`, a `jx.Branch` or `jx.Compartment`.

    Raises ValueError for what a neuron cannot hold: synapses, pumps, diffusion, channels that write
    the voltage; stimuli, clamps and trainables have to be deleted first.
    """
    _check(cell)
    nodes = cell.nodes
    area = nodes["area"].to_numpy(float)
    c_m = nodes["capacitance"].to_numpy(float) * area / 100.0
    v = nodes["v"].to_numpy(float)
    edges, points = _couplings(cell, len(nodes))
    means = [np.average([v[i] for i, _ in p], weights=[g for _, g in p]) for p in points]
    names = _names(cell) + [f"branchpoint{k}" for k in range(len(points))]
    edges += [(i, len(nodes) + k, g) for k, point in enumerate(points) for i, g in point]
    return Neuron.from_arrays(
        np.concatenate([c_m, np.zeros(len(points))]),
        [(i, j) for i, j, _ in edges],
        np.array([g for *_, g in edges]),
        _mechanisms(cell, area),
        np.concatenate([v, means]),
        names,
    )


def _check(cell: Any) -> None:
    if not isinstance(cell, jx.Cell | jx.Branch | jx.Compartment) or isinstance(cell, jx.Network):
        raise ValueError(
            f"Expected a whole jx.Cell, jx.Branch or jx.Compartment, got a {type(cell).__name__}: a "
            "neuron is one cell."
        )
    unwanted = {
        "synapses": [str(name) for name in cell.synapse_names],
        "pumps": [str(pump.name) for pump in cell.pumps],
        "diffusion of": list(cell.diffusion_states),
        "trainables (write_trainables, then delete_trainables)": [
            key for params in cell.trainable_params for key in params
        ],
        "stimuli or clamps (give them as inputs; delete_stimuli, delete_clamps)": list(
            cell.externals
        ),
    }
    for what, there in unwanted.items():
        if there:
            raise ValueError(f"A neuron cannot hold the cell's {what}: {shown(there)}.")


# --- topology ---------------------------------------------------------------------------------------


def _couplings(cell: Any, n: int) -> tuple[list[Edge], list[list[tuple[int, float]]]]:
    """Couplings (i, j, nS) between compartments, and the branch points: [(compartment, nS), ...]."""
    nodes, table = cell.nodes, cell._comp_edges
    if n == 1:
        return [], []
    ra = nodes["axial_resistivity"].to_numpy(float)
    ends = [nodes[f"resistive_load_{end}"].to_numpy(float) * ra for end in ("in", "out")]
    edges: list[Edge] = []
    points: dict[int, list[tuple[int, float]]] = {}
    columns = (table[key].to_numpy(int) for key in ("source", "sink", "ordered", "type"))
    for source, sink, ordered, kind in zip(*columns, strict=True):
        if kind == 0 and source < sink:
            total = ends[ordered][source] + ends[1 - ordered][sink]
            edges.append((int(source), int(sink), 1e5 / total))
        elif kind in (1, 2):
            points.setdefault(source, []).append((int(sink), 1e5 / ends[1 - ordered][sink]))
    hubs = set(np.flatnonzero(nodes[HUB].to_numpy(bool))) if HUB in nodes else set()
    kept = []
    for point in points.values():
        hub = next(((i, g) for i, g in point if i in hubs and g == max(g for _, g in point)), None)
        total = sum(g for _, g in point)
        if len(point) == 2:
            (i, g), (j, h) = point
            edges.append((i, j, g * (h / total)))
        elif hub is not None:
            edges += [(hub[0], i, g * (hub[1] / total)) for i, g in point if i != hub[0]]
        elif len(point) > 2:
            kept.append(point)
    return edges, kept


def _names(cell: Any) -> list[str]:
    """The group that holds a compartment alone, or its number."""
    names = [str(i) for i in range(len(cell.nodes))]
    for group in cell.group_names:
        there = np.flatnonzero(cell.nodes[group].to_numpy(bool))
        if len(there) == 1 and group != HUB:
            names[there[0]] = group
    return names


# --- mechanisms -------------------------------------------------------------------------------------


def _mechanisms(cell: Any, area: np.ndarray) -> list[Placed]:
    fires = [c for c in cell.channels if isinstance(c, Fire)]
    taken = {leak_of(fire): set(_rows(cell, fire.name)) for fire in fires}
    placed: list[Placed] = []
    wrapped = []
    for channel in cell.channels:
        name, rows = str(channel.name), _rows(cell, channel.name)
        if type(channel) is JaxleyLeak:
            rows = [i for i in rows if i not in taken.get(name, ())]
            if rows:
                placed.append((Leak(*_leak(cell, name, rows, area), name=_own_name(channel)), rows))
        elif isinstance(channel, AdExChannel):
            per_area = ("g_leak", "a", "b")
            values = _fields(cell, name, rows, AdEx, area, per_area)
            placed.append((AdEx(**values, name=_own_name(channel)), rows))
        elif isinstance(channel, Fire):
            placed.append((_lif(cell, channel, rows, area), rows))
        elif rows:
            wrapped.append(channel)
    return placed + [_wrap(cell, group, area) for group in _groups(wrapped)]


def _rows(cell: Any, name: str | None) -> list[int]:
    return [int(i) for i in np.flatnonzero(cell.nodes[name].to_numpy(bool))]


def _column(cell: Any, key: str, rows: list[int]) -> Any:
    return cell.nodes[key].to_numpy(float)[rows]


def _own_name(channel: Channel) -> str:
    return "" if channel.name == type(channel).__name__ else str(channel.name)


def _fields(
    cell: Any,
    name: str,
    rows: list[int],
    kind: Any,
    area: np.ndarray,
    per_area: Iterable[str] = (),
) -> dict[str, Any]:
    """The parameters that a channel shares with a mechanism, `per_area` in nS and pA."""
    result = {}
    for key in (field.name for field in dataclasses.fields(kind)):
        if f"{name}_{key}" in cell.nodes:
            scale = PER_AREA * area[rows] if key in per_area else 1.0
            result[key] = _column(cell, f"{name}_{key}", rows) * scale
    return result


def _leak(cell: Any, name: str, rows: list[int], area: np.ndarray) -> tuple[Any, Any]:
    """Conductance (nS) and reversal (mV) of a Jaxley `Leak`."""
    g = _column(cell, f"{name}_gLeak", rows) * PER_AREA * area[rows]
    return g, _column(cell, f"{name}_eLeak", rows)


def _lif(cell: Any, fire: Channel, rows: list[int], area: np.ndarray) -> LIF:
    """`Fire` with the leak beside it, or with none."""
    g: Any = np.zeros(len(rows))
    v: Any = np.full(len(rows), -65.0)
    name = leak_of(fire)
    if any(c.name == name and type(c) is JaxleyLeak for c in cell.channels):
        there = np.isin(rows, _rows(cell, name))
        g[there], v[there] = _leak(cell, name, list(np.array(rows)[there]), area)
    return LIF(g, v, **_fields(cell, str(fire.name), rows, LIF, area), name=_own_name(fire))


def _groups(channels: list[Channel]) -> list[list[Channel]]:
    """Channels that read or write each other's states or currents, together."""
    groups = [[channel] for channel in channels]
    for channel in channels:
        read, _, written = traffic(channel)
        used = (read | written) - {"v"}
        linked = [
            group
            for group in groups
            if channel in group
            or any(used & {str(c.current_name), *(c.channel_states or {})} for c in group)
        ]
        if len(linked) > 1:
            together = sorted((c for group in linked for c in group), key=channels.index)
            groups = [group for group in groups if group not in linked] + [together]
    return groups


def _wrap(cell: Any, group: list[Channel], area: np.ndarray) -> Placed:
    rows = _rows(cell, group[0].name)
    for other in group[1:]:
        if _rows(cell, other.name) != rows:
            raise ValueError(
                f"{group[0].name} and {other.name} share states or currents, so they must be in the "
                "same compartments."
            )
    asked = {key for channel in group for key in traffic(channel)[1]}
    keys = {key for channel in group for key in channel.channel_params or {}}
    keys |= asked & set(GEOMETRY)
    values: dict[str, Any] = {key: _column(cell, key, rows) for key in keys}
    return JaxleyChannel(group if len(group) > 1 else group[0], area[rows], **values), rows
