"""What a run has to report of its events and of its numerics, gathered in the loop."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .cells import Cells, Margins, Part, stack_parts, unstack_parts
from .hines import Values


class Log(NamedTuple):
    """What a run has to report of its events, for each part with events, and of its numerics.

    `times`: S slots, (S,) or (S, k), of event times (ms) within the present chunk of steps, inf where
    empty; `in_chunk` and `count`: events in the chunk and in all; `lost`: steps with more events than
    can be resolved; `unconverged`: steps with an iteration error above tolerance, `first_step` and
    `compartment` (internal position) of the first one, `worst` error (mV); `slowest`: the smallest
    slope (mV/ms) with which a margin crossed zero at an event.
    """

    times: Margins
    in_chunk: Margins
    count: Margins
    lost: Int[Array, ""]
    unconverged: Int[Array, ""]
    first_step: Int[Array, ""]
    compartment: Int[Array, ""]
    worst: Float[Array, ""]
    slowest: Float[Array, ""]


def empty_log(cells: Cells, slots: int) -> Log:
    """A log with nothing in it."""
    dtype = jnp.result_type(*jax.tree.leaves(cells.c_m))
    shapes = [() if cells.unrolled else (len(part.members),) for part in cells.firing]
    zero = jnp.zeros((), jnp.int32)
    none = tuple(jnp.zeros(shape, jnp.int32) for shape in shapes)
    times = tuple(jnp.full((slots, *shape), jnp.inf, dtype) for shape in shapes)
    inf = jnp.full((), jnp.inf, dtype)
    return Log(times, none, none, zero, zero, zero - 1, zero - 1, jnp.zeros((), dtype), inf)


def empty_slots(log: Log, slots: int) -> tuple[Log, Array]:
    """The log for the next chunk of steps, and the event times (S, E) of the one that ends."""
    lost = log.lost
    for times, n in zip(log.times, log.in_chunk, strict=True):
        lost = lost + jnp.maximum(n - times.shape[0], 0).sum(dtype=jnp.int32)
    empty = log._replace(
        times=jax.tree.map(lambda x: jnp.full_like(x, jnp.inf), log.times),
        in_chunk=jax.tree.map(jnp.zeros_like, log.in_chunk),
        lost=lost,
    )
    each = [jnp.zeros((slots, 0), log.worst.dtype), *(x.reshape(slots, -1) for x in log.times)]
    return empty, jnp.concatenate(each, axis=-1)


def stack_log(firing: list[Part], log: Log) -> Log:
    """The log of unrolled cells, with these parts with events, as that of the stacked ones."""
    return _each_part(log, lambda each, axis: stack_parts(firing, each, axis))


def unstack_log(firing: list[Part], log: Log) -> Log:
    """The inverse of `stack_log`."""
    return _each_part(log, lambda each, axis: unstack_parts(firing, each, axis))


def _each_part(log: Log, change: Callable) -> Log:
    return log._replace(
        times=tuple(change(log.times, -1)),
        in_chunk=tuple(change(log.in_chunk, 0)),
        count=tuple(change(log.count, 0)),
    )


def record(log: Log, which: Margins, time: Array, slope: Array) -> Log:
    """Notes an event at a time (ms) in the present chunk, and the slope (mV/ms) of its margin."""

    def noted(times: Array, n: Array, mine: Array) -> Array:
        slots = jnp.arange(times.shape[0]).reshape(-1, *(1,) * n.ndim)
        return jnp.where((slots == n) & mine, time, times)

    return log._replace(
        times=jax.tree.map(noted, log.times, log.in_chunk, which),
        in_chunk=jax.tree.map(jnp.add, log.in_chunk, which),
        count=jax.tree.map(jnp.add, log.count, which),
        slowest=jnp.minimum(log.slowest, slope),
    )


def report(log: Log, error: Values, tolerance: float, index: Array) -> Log:
    """Notes a step whose iteration ended with an error above tolerance."""
    errors = jnp.stack(error) if isinstance(error, tuple) else error
    worst = jnp.max(errors)
    bad = ~(worst <= tolerance)
    first = bad & (log.unconverged == 0)
    return log._replace(
        unconverged=log.unconverged + bad,
        first_step=jnp.where(first, index, log.first_step),
        compartment=jnp.where(first, jnp.argmax(errors).astype(jnp.int32), log.compartment),
        worst=jnp.where(bad, jnp.maximum(worst, log.worst), log.worst),
    )
