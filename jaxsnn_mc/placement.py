"""Mechanisms placed on compartments: those of a kind as one, their numbers side by side."""

import operator
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from .mechanism import Mechanism, parameters

Placed = tuple[Mechanism, tuple[int, ...]]
"""A mechanism with parameters (k,), and the k compartments that hold it."""


def group(held: Iterable[Sequence[Mechanism]]) -> list[Placed]:
    """What each compartment holds, those of a kind (same name and pytree structure) as one."""
    groups: dict[Any, list[tuple[Mechanism, int]]] = {}
    for i, mechanisms in enumerate(held):
        for mechanism in mechanisms:
            kind = (mechanism.key, jax.tree.structure(mechanism))
            groups.setdefault(kind, []).append((mechanism, i))
    placed = []
    for (key, _), members in groups.items():
        line = partial(line_up, f"the parameters of {key}")
        one = jax.tree.map(lambda *x, line=line: line(x), *(mechanism for mechanism, _ in members))
        placed.append((one, tuple(i for _, i in members)))
    return placed


def place(one: Any, n: int) -> Placed:
    """A mechanism on all n compartments, or a pair (mechanism, compartment numbers)."""
    mechanism, where = one if isinstance(one, tuple) and len(one) == 2 else (one, range(n))
    if not isinstance(mechanism, Mechanism):
        raise ValueError(
            f"Expected a Mechanism or a pair (Mechanism, compartment numbers), got {one!r}."
        )
    try:
        numbers = tuple(operator.index(i) for i in where)
    except TypeError:
        numbers = ()
    if not numbers or len(set(numbers)) < len(numbers) or not set(numbers) <= set(range(n)):
        raise ValueError(
            f"{mechanism.key} must be placed on different compartments, numbers from 0 to {n - 1}, "
            f"got {where!r:.80}."
        )
    k = len(numbers)
    wide = jax.tree.map(lambda x: fill(x, k), mechanism)
    for name in parameters(mechanism):
        shape = getattr(wide, name).shape
        if shape[-1:] != (k,):
            raise ValueError(f"{mechanism.key}.{name} must be a scalar or ({k},), got {shape}.")
    return wide, numbers


def pair(coupling: Any, n: int) -> tuple[int, int]:
    """The numbers of two of n compartments."""
    try:
        i, j = (operator.index(k) for k in coupling)
        if min(i, j) >= 0 and max(i, j) < n:
            return i, j
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"A coupling is a pair of compartment numbers, 0 to {n - 1} for {n} compartments, got "
        f"{coupling!r}."
    )


def fill(value: Array, n: int) -> Array:
    """A scalar as an array (n,)."""
    return jnp.broadcast_to(value, (n,)) if jnp.ndim(value) == 0 else value


def line_up(what: str, values: Sequence[Any]) -> Array:
    """Scalars, or arrays over a batch, side by side along a last axis. Concrete ones with NumPy: XLA
    takes seconds to compile a stack of thousands."""
    if not values:
        return jnp.zeros((0,))
    batch = common_batch(what, {np.shape(x) for x in values})
    xp = jnp if any(isinstance(x, Tracer) for x in values) else np
    return jnp.asarray(xp.stack([xp.broadcast_to(x, batch) for x in values], axis=-1))


def common_batch(what: str, shapes: set[tuple[int, ...]]) -> tuple[int, ...]:
    """The batch axes that values of these shapes have together."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"The batch axes of {what} must be one and the same, got {sorted(shapes)}."
        ) from None


def root(placed: Iterable[Placed]) -> int:
    """The first spiking compartment: elimination then ends there, where Newton has to iterate."""
    for mechanism, where in placed:
        if type(mechanism).event is not Mechanism.event:
            return where[0]
    return 0


def kinds(placed: Iterable[Placed], n: int) -> list[tuple[int, ...]]:
    """For each of n compartments, the numbers of the mechanisms that it holds."""
    held: list[list[int]] = [[] for _ in range(n)]
    for k, (_, where) in enumerate(placed):
        for i in where:
            held[i].append(k)
    return [tuple(mechanisms) for mechanisms in held]
