"""A step in its parts: from event to event, planned switch or end of a refractory period.

The parts are searched for one after the other, which gives the state at the end of the step on the
way. The search is never differentiated: its parts are run again for that, and each event has its
derivative from the crossing of its margin.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .cells import Cells, CellState, Margins, put, take
from .hines import Values
from .locate import Flow, Start, choose, cross, either, locate, margins
from .methods import StepMethod, held_for
from .spike_rules import Exact, SpikeRule


def jump(cells: Cells, x: CellState, fires: Margins) -> CellState:
    """The state after the jumps of the events that fire."""
    v, parts, of_part = x.v, [], iter(fires)
    for part, state in zip(cells.parts, x.parts, strict=True):
        if part.fires:
            mine = next(of_part)
            old = take(v, part.where)
            after, new = part.mechanism.jump(state, old)
            state = jax.tree.map(lambda a, b, m=mine: jnp.where(m, a, b), after, state)
            v = put(v, part.where, jnp.where(mine, new, old))
        parts.append(state)
    return CellState(v, tuple(parts))


def due_in(cells: Cells, x: CellState) -> list[Array]:
    """The time (ms) to the next switch of each part that plans some, 0 where none is planned."""
    due = [part.mechanism.due(state) for part, state in zip(cells.parts, x.parts, strict=True)]
    return [left for left in due if left is not None]


def switch(cells: Cells, before: CellState, x: CellState, h: Array) -> CellState:
    """The state after the switches that were due within the `h` (ms) from `before` to `x`."""
    v, parts = x.v, []
    for part, start, state in zip(cells.parts, before.parts, x.parts, strict=True):
        left = part.mechanism.due(start)
        if left is not None:
            now, old = (left > 0) & (left <= h), take(v, part.where)
            after, new = part.mechanism.switch(state, old)
            state = choose(now, after, state)
            v = put(v, part.where, jnp.where(now, new, old))
        parts.append(state)
    return CellState(v, tuple(parts))


class Stepper(NamedTuple):
    """What advances a step: the method, the spike rule, and the most events in one step."""

    method: StepMethod
    rule: SpikeRule
    max_events: int


class Parts(NamedTuple):
    """The K parts of a step at most: how many there are, and of each the length `h` (ms) if an event
    ends it, `which` margins fire there (nowhere true if none does), at what `time` (ms) of the step,
    and the `slope` (mV/ms) of the margin, inf if it fires at once."""

    count: Int[Array, ""]
    h: Float[Array, " K"]
    which: Margins
    time: Float[Array, " K"]
    slope: Float[Array, " K"]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def resolve(stepper: Stepper, start: Start, dt: Array) -> tuple[CellState, Parts, Values]:
    """The state after a step of `dt` (ms), its parts, and the error (mV) that an iteration left."""
    end = _divide(stepper, start, dt)
    return end.x, end.parts, end.error


@resolve.defjvp
def _resolve_jvp(stepper, primals, tangents):
    parts = _divide(stepper, *lax.stop_gradient(primals)).parts
    return jax.jvp(partial(_run_again, stepper, parts), primals, tangents)


class _Division(NamedTuple):
    """What the search carries: the parts so far; the time (ms) of the step, the state and an
    iteration's error (mV) at their end; and whether they fill the step."""

    parts: Parts
    elapsed: Array
    x: CellState
    error: Values
    done: Bool[Array, ""]


def _divide(stepper: Stepper, start: Start, dt: Array) -> _Division:
    """Searches for the parts of a step, one after the other."""
    cells, external, x, t = start
    flow = _flow(stepper.method)

    def another(now: _Division) -> _Division:
        parts, elapsed, x, *_ = now
        left, last = dt - elapsed, parts.count >= stepper.max_events
        begin = Start(cells, external, x, t + elapsed)
        h = jnp.where(last, left, _until_planned(cells, x, left))
        after, error = flow(begin, h)
        quiet = switch(cells, x, after, h), nowhere, h, jnp.zeros_like(h)
        if not cells.firing:
            return _append(now, quiet, error, last | (h >= left))

        def up_to_event():
            event = locate(begin, flow, m0, m1, h)
            at = switch(cells, x, event.at, event.h)
            return jump(cells, at, event.which), event.which, event.h, event.slope

        m0, m1 = margins(cells, x), margins(cells, after)
        fires = either([*(m >= 0 for m in m0), *(m > 0 for m in m1)]) & ~last
        new = lax.cond(_any_in_batch(fires), up_to_event, lambda: quiet)
        return _append(now, choose(fires, new, quiet), error, ~fires & (last | (h >= left)))

    nowhere = tuple(m >= jnp.inf for m in margins(cells, x))
    none, parts = jnp.zeros_like(dt), stepper.max_events + 1
    each = jax.tree.map(
        lambda y: jnp.zeros((parts, *y.shape), y.dtype), (none, nowhere, none, none)
    )
    begin = Parts(jnp.zeros((), jnp.int32), *each)
    error = jax.tree.map(jnp.zeros_like, x.v)
    now = _Division(begin, none, x, error, jnp.array(False))
    return lax.while_loop(lambda now: ~now.done, another, now)


def _append(now: _Division, end: tuple, error: Values, done: Array) -> _Division:
    """With one more part, of which `end` is the state there, and what `Parts` says of it."""
    x, which, h, slope = end
    k, time = now.parts.count, now.elapsed + h

    def put_in(y: Array, new: Array) -> Array:
        return lax.dynamic_update_index_in_dim(y, new, k, 0)

    each = jax.tree.map(put_in, tuple(now.parts[1:]), (h, which, time, slope))
    return _Division(Parts(k + 1, *each), time, x, error, done)


def _run_again(stepper, parts: Parts, start: Start, dt: Array):
    """The step in its known parts, each lane of a batch in its own: to be differentiated."""
    method, rule, max_events = stepper
    cells, external, x, t = start
    flow = _flow(method)

    def part(x, elapsed, k, h, which, slope):
        left = dt - elapsed
        begin = Start(cells, external, x, t + elapsed)
        fires = either(which) if cells.firing else jnp.array(False)
        until = jnp.where(k == parts.count - 1, left, _until_planned(cells, x, left))
        h = jnp.where(fires, h, until)
        after, error = flow(begin, h)
        elapsed = elapsed + h
        if not cells.firing:
            return switch(cells, x, after, h), elapsed, error, slope
        at, late = after, jnp.zeros_like(h)
        if isinstance(rule, Exact):
            at, late, slope = cross(begin, flow, h, after, which, slope)
        after, at = switch(cells, x, after, h), switch(cells, x, at, h)
        at, time = jump(cells, at, which), elapsed + late
        return *choose(fires, (at, time), (after, elapsed)), error, slope

    part = jax.checkpoint(part, prevent_cse=False)

    def in_turn(carry, now):
        x, elapsed, error = carry
        k, h, which, slope = now
        used, kept = k < parts.count, (x, elapsed, error, slope)
        new = lax.cond(
            _any_in_batch(used), lambda: part(x, elapsed, k, h, which, slope), lambda: kept
        )
        x, elapsed, error, slope = choose(used, new, kept)
        return (x, elapsed, error), (elapsed, slope)

    error = jax.tree.map(jnp.zeros_like, x.v)
    each = (jnp.arange(max_events + 1), parts.h, parts.which, parts.slope)
    (x, _, error), (time, slope) = lax.scan(in_turn, (x, jnp.zeros_like(dt), error), each)
    return x, parts._replace(time=time, slope=slope), error


def _flow(method: StepMethod) -> Flow:
    """A method's flow, in the form that a search takes."""

    def flow(start: Start, h: Array):
        cells, external, x, t = start
        after, error = method.flow(cells, x, external(t, h), h, careful=True)
        return after, jax.tree.map(jnp.zeros_like, after.v) if error is None else error

    return flow


def _until_planned(cells: Cells, x: CellState, left: Array) -> Array:
    """The time (ms) to the first end of a refractory period or switch within `left`, or `left`."""
    for planned in [*(held for _, held in held_for(cells, x)), *due_in(cells, x)]:
        left = jnp.minimum(left, jnp.min(jnp.where(planned > 0, planned, left)))
    return left


@jax.custom_batching.custom_vmap
def _any_in_batch(predicate: Array) -> Array:
    """The predicate, or under vmap whether it holds anywhere in the batch.

    Where `rarely` runs a batch side by side, a `cond` on it stays a branch: the batch takes the long
    way only when one of its members must (and each member then selects its own result).
    """
    return predicate


@_any_in_batch.def_vmap
def _any_in_batch_vmap(size, batched, predicate):
    return _any_in_batch(jnp.any(predicate, axis=0)), False
