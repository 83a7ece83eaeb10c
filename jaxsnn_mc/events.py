"""Events inside a step: where a margin crosses zero, the jump, and the rest of the step.

A step without events is one flow. Only when something fires in it, or a refractory period ends, or
a planned switch is due, or an iteration has not converged, is it resolved: the flow is repeated up to
the located crossing (or the planned time), the jump applied, and the rest of the step run from there,
for up to `max_events` events in their order in time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from .cells import Cells, CellState, Margins, put, stack, stack_state, take, together, unstack_state
from .drive import External
from .locate import Crossing, Flow, Start, choose, cross, either, locate, margins
from .log import Log, record, report, stack_log, unstack_log
from .methods import StepMethod, held_for
from .rarely import rarely
from .spike_rules import Exact, SpikeRule, Surrogate


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


def step(
    stepper: Stepper,
    cells: Cells,
    x: CellState,
    external: External,
    dt: Array,
    log: Log,
    chunk_time: Array,
    index: Array,
) -> tuple[CellState, Log, Array]:
    """Step number `index`, of `dt` (ms), events included; `chunk_time` (ms) is where it starts in
    the present chunk of steps. Also returns the events in it (E,), differentiable by the rule."""
    method, rule, _ = stepper
    t = index * dt
    after, error = method.flow(cells, x, external(t, dt), dt, careful=False)
    checks = [m > 0 for m in margins(cells, after)]
    checks += [(left > 0) & (left < dt) for _, left in held_for(cells, x)]
    checks += [(left > 0) & (left <= dt) for left in due_in(cells, x)]
    checks += [e > method.tolerance for e in jax.tree.leaves(error)]
    if not checks:
        return after, log, jnp.zeros(0, dt.dtype)
    hard = lax.stop_gradient(either(checks))

    def resolve(short, start, dt, chunk_time, index):
        _, log = short
        way = _resolve_stacked if _alike(cells) else _resolve
        return way(stepper, start, dt, log, chunk_time, index)

    start = Start(cells, external, x, t)
    end, new_log = rarely(hard, resolve, (after, log), start, dt, chunk_time, index)
    fired = jax.tree.map(lambda a, b: (a - b).astype(dt.dtype), new_log.count, log.count)
    if isinstance(rule, Surrogate) and cells.firing:
        fired = jax.tree.map(rule.spike, fired, margins(cells, after))
        end = _surrogate(rule, cells, after, end)
    return end, new_log, together(fired)


def _surrogate(rule: Surrogate, cells: Cells, after: CellState, end: CellState) -> CellState:
    """The state at the end of a step, with the rule's derivative through the events in it."""
    each = margins(cells, after)
    jumped = jump(cells, after, jax.tree.map(lambda m: jnp.ones_like(m, bool), each))
    v, parts, of_part = end.v, [], iter(each)
    for k, (part, state) in enumerate(zip(cells.parts, end.parts, strict=True)):
        if part.fires:
            old_v, new_v = take(after.v, part.where), take(jumped.v, part.where)
            m = next(of_part)
            v = put(v, part.where, rule.reset(take(v, part.where), m, new_v - old_v))
            old, new, clocks = after.parts[k], jumped.parts[k], part.mechanism.clocks
            state = {
                name: y if name in clocks else rule.reset(y, m, new[name] - old[name])
                for name, y in state.items()
            }
        parts.append(state)
    return CellState(v, tuple(parts))


class Parts(NamedTuple):
    """How events and ends of refractory periods divide a step in up to K parts, constants: how many
    parts, and for each of them the event at its end (of which `which` is nowhere true if none)."""

    count: Int[Array, ""]
    events: Crossing


def _divide(stepper: Stepper, start: Start, dt: Array) -> Parts:
    """Looks for the events of a step, one after the other."""
    start, dt = lax.stop_gradient((start, dt))
    cells, external, x, t = start
    flow, parts = _flow(stepper.method), stepper.max_events + 1

    def another(carry):
        k, x, elapsed, done, found = carry
        left, last = dt - elapsed, k == stepper.max_events
        begin = Start(cells, external, x, t + elapsed)
        h = jnp.where(last, left, _until_planned(cells, x, left))
        after, _ = flow(begin, h)
        end = (switch(cells, x, after, h), elapsed + h, done | (h >= left))
        event = _no_event(cells, x)
        if cells.firing:
            m0, m1 = margins(cells, x), margins(cells, after)
            fires = either([*(m >= 0 for m in m0), *(m > 0 for m in m1)]) & ~last & ~done

            def past_event():
                event = locate(begin, flow, m0, h)
                at = switch(cells, x, event.at, event.h)
                return (jump(cells, at, event.which), elapsed + event.h, done), event

            def nothing():
                return end, event

            event_or_not = lax.cond(_any_in_batch(fires), past_event, nothing)
            end, event = choose(fires, event_or_not, nothing())
        events = jax.tree.map(
            lambda y, new: lax.dynamic_update_index_in_dim(y, new, k, 0), found.events, event
        )
        return k + 1, *end, Parts(found.count + ~done, events)

    def going_on(carry):
        k, _, _, done, _ = carry
        return _any_in_batch(~done) & (k < parts)

    none = jax.tree.map(lambda y: jnp.zeros((parts, *y.shape), y.dtype), _no_event(cells, x))
    found = Parts(jnp.zeros((), jnp.int32), none)
    *_, found = lax.while_loop(
        going_on, another, (0, x, jnp.zeros_like(dt), jnp.array(False), found)
    )
    return found


def _no_event(cells: Cells, x: CellState) -> Crossing:
    """What stands for the event at the end of a part without one."""
    zero = jnp.zeros((), jnp.result_type(*jax.tree.leaves(x.v)))
    still = jax.tree.map(jnp.zeros_like, x)
    none = tuple(m >= jnp.inf for m in margins(cells, x))
    return Crossing(none, zero, still, still, zero + jnp.inf)


def _resolve(stepper, start, dt, log, chunk_time, index):
    """The step again in its parts, each lane of a batch in its own, with their derivative."""
    method, rule, max_events = stepper
    cells, external, x, t = start
    flow, parts = _flow(method), _divide(stepper, start, dt)

    def part(x, elapsed, log, error, k, event):
        left = dt - elapsed
        begin = Start(cells, external, x, t + elapsed)
        h = jnp.where(k == parts.count - 1, left, _until_planned(cells, x, left))
        fires = either(event.which) if cells.firing else jnp.array(False)
        h = jnp.where(fires, event.h, h)
        after, error = flow(begin, h)
        elapsed = elapsed + h
        if not cells.firing:
            return switch(cells, x, after, h), elapsed, log, error
        at, late = cross(cells, after, event) if isinstance(rule, Exact) else (after, 0.0)
        after, at = switch(cells, x, after, h), switch(cells, x, at, h)
        at, time = jump(cells, at, event.which), elapsed + late
        new_log = record(log, event.which, chunk_time + time, event.slope)
        return *choose(fires, (at, time, new_log), (after, elapsed, log)), error

    part = jax.checkpoint(part, prevent_cse=False)

    def in_turn(carry, now):
        k, _ = now
        used = k < parts.count
        new = lax.cond(_any_in_batch(used), lambda: part(*carry, *now), lambda: carry)
        return choose(used, new, carry), None

    error = jax.tree.map(jnp.zeros_like, x.v)
    start = (x, jnp.zeros_like(dt), log, error)
    (after, _, log, error), _ = lax.scan(in_turn, start, (jnp.arange(max_events + 1), parts.events))
    if cells.firing:
        log = log._replace(lost=log.lost + either(m > 0 for m in margins(cells, after)))
    return after, report(log, lax.stop_gradient(error), method.tolerance, index)


def _alike(cells: Cells) -> bool:
    """Whether most parts are of a mechanism with several: stacked, they then compile much faster."""
    return cells.unrolled and len(cells.parts) >= 3 * len({part.group for part in cells.parts})


def _resolve_stacked(stepper, start, dt, log, chunk_time, index):
    """`_resolve` of the cells in the other layout."""
    cells, external, x, t = start
    there = stack(cells)
    start = Start(
        there, External(there, external.currents, external.drive), stack_state(cells, x), t
    )
    log = stack_log(cells.firing, log)
    x, log = _resolve(stepper, start, dt, log, chunk_time, index)
    return unstack_state(cells, x), unstack_log(cells.firing, log)


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
