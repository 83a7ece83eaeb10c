"""What a run has to report of its events and of its numerics, gathered in the loop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from .cells import Cells, Margins
from .hines import Values
from .locate import either
from .parts import Parts


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


def record(log: Log, parts: Parts, start: Array) -> Log:
    """Notes the events at the ends of a step's parts; the step starts at `start` (ms) in the present
    chunk."""

    def noted(log: Log, which: Margins, time: Array, slope: Array) -> Log:
        def in_slot(times: Array, n: Array, mine: Array) -> Array:
            slots = jnp.arange(times.shape[0]).reshape(-1, *(1,) * n.ndim)
            return jnp.where((slots == n) & mine, start + time, times)

        return log._replace(
            times=jax.tree.map(in_slot, log.times, log.in_chunk, which),
            in_chunk=jax.tree.map(jnp.add, log.in_chunk, which),
            count=jax.tree.map(jnp.add, log.count, which),
            slowest=jnp.minimum(log.slowest, jnp.where(either(which), slope, jnp.inf)),
        )

    def in_turn(log: Log, part):
        fires = either(part[0])
        return lax.cond(fires, lambda: noted(log, *part), lambda: log), None

    return lax.scan(in_turn, log, (parts.which, parts.time, parts.slope))[0]


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
