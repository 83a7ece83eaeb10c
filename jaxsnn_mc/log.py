"""What a run has to report of its events and of its numerics, gathered in the loop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .cells import Cells
from .hines import Values


class Log(NamedTuple):
    """What a run has to report of its events, for each of the E margins of a neuron.

    `times`: S slots of event times (ms) within the present chunk of steps, inf where empty;
    `in_chunk` and `count`: events in the chunk and in all; `lost`: steps with more events than can
    be resolved; `unconverged`: steps with an iteration error above tolerance, `first_step` and
    `compartment` (internal position) of the first one, `worst` error (mV); `slowest`: the smallest
    slope (mV/ms) with which a margin crossed zero at an event.
    """

    times: Float[Array, "S E"]
    in_chunk: Int[Array, " E"]
    count: Int[Array, " E"]
    lost: Int[Array, ""]
    unconverged: Int[Array, ""]
    first_step: Int[Array, ""]
    compartment: Int[Array, ""]
    worst: Float[Array, ""]
    slowest: Float[Array, ""]


def empty_log(cells: Cells, slots: int) -> Log:
    """A log with nothing in it."""
    dtype = jnp.result_type(*jax.tree.leaves(cells.c_m))
    n = sum(len(part.members) for part in cells.firing)
    zero = jnp.zeros((), jnp.int32)
    none = jnp.zeros(n, jnp.int32)
    times = jnp.full((slots, n), jnp.inf, dtype)
    inf = jnp.full((), jnp.inf, dtype)
    return Log(times, none, none, zero, zero, zero - 1, zero - 1, jnp.zeros((), dtype), inf)


def empty_slots(log: Log) -> tuple[Log, Array]:
    """The log for the next chunk of steps, and the event times (S, E) of the one that ends."""
    excess = jnp.maximum(log.in_chunk - log.times.shape[0], 0).sum(dtype=jnp.int32)
    empty = log._replace(
        times=jnp.full_like(log.times, jnp.inf),
        in_chunk=jnp.zeros_like(log.in_chunk),
        lost=log.lost + excess,
    )
    return empty, log.times


def record(log: Log, which: Bool[Array, " E"], time: Array, slope: Array) -> Log:
    """Notes an event at a time (ms) in the present chunk, and the slope (mV/ms) of its margin."""
    slot = jnp.arange(log.times.shape[0])[:, None] == log.in_chunk
    return log._replace(
        times=jnp.where(slot & which, time, log.times),
        in_chunk=log.in_chunk + which,
        count=log.count + which,
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
