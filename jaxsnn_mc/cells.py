"""A neuron laid out for the inner loop.

Small trees are *unrolled*: values over compartments are tuples of scalars, and a mechanism is one
part for each compartment that holds it. Large trees are *stacked*: values are arrays (N,), a
mechanism is one part, and its compartments are runs of neighbouring indices, so that neither the
loop nor its transpose needs an index array (XLA then compiles the whole loop into one function).
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .hines import Values
from .mechanism import Mechanism, State
from .neuron import Neuron, NeuronState

T = TypeVar("T")

UNROLLED_UP_TO = 24
"""Compartments. Beyond it the compile time of unrolled elimination outweighs its speed."""

Where: TypeAlias = int | tuple[tuple[int, int], ...]
"""Internal positions of a part: one compartment (unrolled) or runs start:stop (stacked)."""


class Part(eqx.Module):
    """A mechanism in its place: `group`, its index in the neuron, and `members` there."""

    mechanism: Mechanism
    where: Where = eqx.field(static=True)
    group: int = eqx.field(static=True)
    members: tuple[int, ...] = eqx.field(static=True)

    @property
    def fires(self) -> bool:
        return type(self.mechanism).event is not Mechanism.event


class Cells(eqx.Module):
    """The compartments in internal order (see `tree.py`): `c_m` (pF), `g` to the parent (nS), and the
    parts."""

    parent: tuple[int, ...] = eqx.field(static=True)
    c_m: Values
    g: Values
    parts: tuple[Part, ...]

    @property
    def unrolled(self) -> bool:
        return isinstance(self.c_m, tuple)

    @property
    def firing(self) -> list[Part]:
        """The parts with events, in the order of `margins`."""
        return [part for part in self.parts if part.fires]


Margins: TypeAlias = tuple[Array, ...]
"""Something of each part with events, in the order of `Cells.firing`: () if unrolled, (k,) if stacked.
Separate arrays, since XLA does all that leads to one array once for each of its elements."""


def together(values: Margins) -> Array:
    """All of the E values in one array (E,)."""
    return jnp.concatenate([jnp.atleast_1d(x) for x in values]) if values else jnp.zeros(0)


class CellState(NamedTuple):
    """The state in the loop: voltages (mV) and the state of each part."""

    v: Values
    parts: tuple[State, ...]


def lay_out(neuron: Neuron) -> Cells:
    """The neuron in the layout that suits its size; batch axes stay in front."""
    unrolled = neuron.tree.size <= UNROLLED_UP_TO
    order, edge = np.array(neuron.tree.order), np.array(neuron.tree.edge)
    if len(order) > 1:
        g = neuron.g[..., edge[1:]]
        g = jnp.concatenate([jnp.zeros_like(g[..., :1]), g], axis=-1)
    else:
        g = jnp.zeros_like(neuron.c_m)
    parts = []
    for k, places in enumerate(_places(neuron)):
        for where, members in _pieces(places, unrolled):
            parts.append(Part(_pick(neuron.mechanisms[k], where, members), where, k, members))
    return Cells(
        neuron.tree.parent,
        spread(neuron.c_m[..., order], unrolled),
        spread(g, unrolled),
        tuple(parts),
    )


def lay_out_state(neuron: Neuron, cells: Cells, state: NeuronState) -> CellState:
    """A neuron's state in the layout of its cells."""
    v = spread(state.v[np.array(neuron.tree.order)], cells.unrolled)
    return CellState(
        v, tuple(_pick(state.mechanisms[p.group], p.where, p.members) for p in cells.parts)
    )


def collect_state(neuron: Neuron, cells: Cells, x: CellState) -> NeuronState:
    """The inverse of `lay_out_state`."""
    back = np.argsort(np.array(neuron.tree.order))
    v = jnp.stack(x.v) if cells.unrolled else x.v
    groups = []
    for k in range(len(neuron.mechanisms)):
        mine = [(p, s) for p, s in zip(cells.parts, x.parts, strict=True) if p.group == k]
        members = np.argsort(np.concatenate([p.members for p, _ in mine]))
        states = [jax.tree.map(jnp.atleast_1d, s) for _, s in mine]
        groups.append(jax.tree.map(lambda *s, m=members: jnp.concatenate(s)[m], *states))
    return NeuronState(v[back], tuple(groups))


def spread(x: Array, unrolled: bool) -> Values:
    """An array (..., N) as values."""
    return tuple(x[..., i] for i in range(x.shape[-1])) if unrolled else x


def stack(cells: Cells) -> Cells:
    """Unrolled cells in the other layout."""
    parts, mechanisms = [], stack_parts(cells.parts, [part.mechanism for part in cells.parts])
    for same, mechanism in zip(_by_group(cells.parts), mechanisms, strict=True):
        places = [(p.where, p.members[0]) for p in same if isinstance(p.where, int)]
        ((where, members),) = _pieces(places, unrolled=False)
        parts.append(Part(mechanism, where, same[0].group, members))
    return Cells(cells.parent, jnp.stack(cells.c_m), jnp.stack(cells.g), tuple(parts))


def stack_state(cells: Cells, x: CellState) -> CellState:
    """The state of unrolled cells as that of the stacked ones."""
    return CellState(jnp.stack(x.v), tuple(stack_parts(cells.parts, x.parts)))


def unstack_state(cells: Cells, x: CellState) -> CellState:
    """The inverse: the state of the stacked cells as that of the unrolled ones."""
    return CellState(spread(x.v, True), tuple(unstack_parts(cells.parts, x.parts)))


def stack_parts(parts: Sequence[Part], each: Sequence[T]) -> list[T]:
    """Of something for each unrolled part, that for each stacked one, with a new first axis."""
    left, stacked = iter(each), []
    for same in _by_group(parts):
        mine = [next(left) for _ in same]
        stacked.append(jax.tree.map(lambda *x: jnp.stack(x), *mine))
    return stacked


def unstack_parts(parts: Sequence[Part], each: Sequence[T], axis: int = 0) -> list[T]:
    """The inverse of `stack_parts`, along an `axis`."""
    unrolled = []
    for same, one in zip(_by_group(parts), each, strict=True):
        for k in range(len(same)):
            unrolled.append(jax.tree.map(lambda x, k=k: lax.index_in_dim(x, k, axis, False), one))
    return unrolled


def _by_group(parts: Sequence[Part]) -> list[list[Part]]:
    return [list(same) for _, same in groupby(parts, key=lambda part: part.group)]


def take(values: Values, where: Where) -> Array:
    """The values at a part's compartments."""
    if isinstance(where, int):
        return values[where]
    pieces = [values[a:b] for a, b in where]
    return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces)


def put(values: Values, where: Where, x: Array) -> Values:
    """The values with a part's compartments set to `x`."""
    if isinstance(where, int):
        return (*values[:where], x, *values[where + 1 :])
    start = 0
    for a, b in where:
        values = values.at[a:b].set(x[start : start + b - a])
        start += b - a
    return values


def add(values: Values, where: Where, x: Array) -> Values:
    """The values with `x` added at a part's compartments."""
    return put(values, where, take(values, where) + x)


def internal(neuron: Neuron) -> np.ndarray:
    """The internal position (N,) of each of the user's compartments."""
    return np.argsort(np.array(neuron.tree.order))


def firing_sources(neuron: Neuron) -> tuple[tuple[str, str], ...]:
    """The (compartment, mechanism) of each event margin, in the order of `margins`."""
    return tuple(
        (neuron.names[neuron.placements[k][member]], neuron.mechanisms[k].key)
        for k, places in enumerate(_places(neuron))
        if type(neuron.mechanisms[k]).event is not Mechanism.event
        for _, member in places
    )


def _places(neuron: Neuron) -> list[list[tuple[int, int]]]:
    """For each mechanism, (internal position, member) sorted by position."""
    at = internal(neuron)
    return [
        sorted((int(at[i]), member) for member, i in enumerate(where))
        for where in neuron.placements
    ]


def _pieces(places: list[tuple[int, int]], unrolled: bool):
    if unrolled:
        return [(position, (member,)) for position, member in places]
    positions = [position for position, _ in places]
    starts = [p for p in positions if p - 1 not in set(positions)]
    stops = [p + 1 for p in positions if p + 1 not in set(positions)]
    return [(tuple(zip(starts, stops, strict=True)), tuple(member for _, member in places))]


def _pick(tree, where: Where, members: tuple[int, ...]):
    """The members' numbers: scalars when unrolled, arrays (k,) when stacked, behind batch axes."""
    index = members[0] if isinstance(where, int) else np.array(members)
    return jax.tree.map(lambda x: x[..., index], tree)
