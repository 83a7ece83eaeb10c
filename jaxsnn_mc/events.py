"""Events inside a step: where a margin crosses zero, the jump, and the rest of the step.

A step without events is one flow. Only when something fires in it, or a refractory period ends, or
an iteration has not converged, is it resolved: the flow is repeated up to the located crossing (or
the end of the refractory period), the jump applied, and the rest of the step run from there, for up
to `max_events` events in their order in time.
"""

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .cells import Cells, CellState, put, take
from .drive import External
from .hines import Values
from .methods import StepMethod, held_for
from .spike_rules import SpikeRule

LOCATE_ITERATIONS = 50
"""Safeguarded Newton iterations for the time of an event at most; about four are usual."""

ACCURACY = 1e-4
"""The last Newton correction of that time, in steps; what it leaves is of the order of its square."""

_TINY = 1e-6


class Log(NamedTuple):
    """What a run has to report of its events, for each of the E margins of a neuron.

    `times`: S slots of event times (ms) within the present chunk of steps, inf where empty;
    `in_chunk` and `count`: events in the chunk and in all; `lost`: steps with more events than can
    be resolved; `unconverged`: steps with an iteration error above tolerance, `first_step` and
    `compartment` (internal position) of the first one, `worst` error (mV).
    """

    times: Float[Array, "S E"]
    in_chunk: Int[Array, " E"]
    count: Int[Array, " E"]
    lost: Int[Array, ""]
    unconverged: Int[Array, ""]
    first_step: Int[Array, ""]
    compartment: Int[Array, ""]
    worst: Float[Array, ""]


def empty_log(cells: Cells, slots: int) -> Log:
    """A log with nothing in it."""
    dtype = jnp.result_type(*jax.tree.leaves(cells.c_m))
    n = sum(len(part.members) for part in cells.firing)
    zero = jnp.zeros((), jnp.int32)
    none = jnp.zeros(n, jnp.int32)
    times = jnp.full((slots, n), jnp.inf, dtype)
    return Log(times, none, none, zero, zero, zero - 1, zero - 1, jnp.zeros((), dtype))


def empty_slots(log: Log) -> tuple[Log, Array]:
    """The log for the next chunk of steps, and the event times (S, E) of the one that ends."""
    excess = jnp.maximum(log.in_chunk - log.times.shape[0], 0).sum(dtype=jnp.int32)
    empty = log._replace(
        times=jnp.full_like(log.times, jnp.inf),
        in_chunk=jnp.zeros_like(log.in_chunk),
        lost=log.lost + excess,
    )
    return empty, log.times


def margins(cells: Cells, x: CellState) -> Float[Array, " E"]:
    """The event margins of all parts, positive where one fires."""
    values = [jnp.atleast_1d(m) for m in _separate_margins(cells, x)]
    return jnp.concatenate(values) if values else jnp.zeros(0)


def _separate_margins(cells: Cells, x: CellState) -> list[Array]:
    """The event margin of each part that has one."""
    values = [
        part.mechanism.event(state, take(x.v, part.where))
        for part, state in zip(cells.parts, x.parts, strict=True)
    ]
    return [m for m in values if m is not None]


def jump(cells: Cells, x: CellState, fires: Bool[Array, " E"]) -> CellState:
    """The state after the jumps of the events that fire."""
    v, parts, start = x.v, [], 0
    for part, state in zip(cells.parts, x.parts, strict=True):
        if part.fires:
            mine = fires[start : start + len(part.members)]
            mine = mine[0] if isinstance(part.where, int) else mine
            start += len(part.members)
            old = take(v, part.where)
            after, new = part.mechanism.jump(state, old)
            state = jax.tree.map(lambda a, b, m=mine: jnp.where(m, a, b), after, state)
            v = put(v, part.where, jnp.where(mine, new, old))
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
    checks = [m > 0 for m in _separate_margins(cells, after)]
    checks += [(left > 0) & (left < dt) for _, left in held_for(cells, x)]
    checks += [e > method.tolerance for e in jax.tree.leaves(error)]
    if not checks:
        return after, log, jnp.zeros(0, dt.dtype)
    hard = lax.stop_gradient(reduce(jnp.logical_or, [jnp.any(check) for check in checks]))

    def resolve(x, after, log):
        resolved = _resolve(stepper, cells, x, external, t, dt, log, chunk_time, index)
        return _where(hard, resolved, (after, log))

    # Backwards, what the branch computes is computed again: else quiet steps would store zeros.
    resolve = jax.checkpoint(resolve, prevent_cse=False)

    def as_it_is(x, after, log):
        return after, log

    end, new_log = lax.cond(_any_in_batch(hard), resolve, as_it_is, x, after, log)
    if rule.exact_times or not cells.firing:
        return end, new_log, (new_log.count - log.count).astype(dt.dtype)
    fired = (new_log.count - log.count).astype(dt.dtype)
    return (
        _surrogate(rule, cells, after, end, fired),
        new_log,
        rule.spike(fired, margins(cells, after)),
    )


def _surrogate(
    rule: SpikeRule, cells: Cells, after: CellState, end: CellState, fired: Array
) -> CellState:
    """The state at the end of a step, with the rule's derivative through the events in it."""
    jumped = jump(cells, after, jnp.ones_like(fired, bool))
    margin = margins(cells, after)
    v, parts, start = end.v, [], 0
    for k, (part, state) in enumerate(zip(cells.parts, end.parts, strict=True)):
        if part.fires:
            n = len(part.members)
            old_v, new_v = take(after.v, part.where), take(jumped.v, part.where)
            m = margin[start : start + n]
            mine = fired[start : start + n]
            start += n
            m, mine = (y[0] if isinstance(part.where, int) else y for y in (m, mine))
            v = put(v, part.where, rule.reset(take(v, part.where), mine, m, new_v - old_v))
            state = jax.tree.map(
                lambda y, a, b, m=m, f=mine: rule.reset(y, f, m, b - a),
                state,
                after.parts[k],
                jumped.parts[k],
            )
        parts.append(state)
    return CellState(v, tuple(parts))


def _resolve(stepper, cells, x, external, t, dt, log, chunk_time, index):
    """The step again with its events, each lane of a batch on its own."""
    method, rule, max_events = stepper

    def until_event(x, elapsed, log, last):
        """To the end of the step, or past the first event or to the first release before it."""

        def flow(start: Start, h: Array):
            cells, external, x, t = start
            return method.flow(cells, x, external(t, h), h, careful=True)

        start = Start(cells, external, x, t + elapsed)
        left = dt - elapsed
        h = jnp.where(last, left, _until_release(cells, x, left))
        after, error = flow(start, h)
        error = jax.tree.map(jnp.zeros_like, after.v) if error is None else error
        at_end = h >= left
        if not cells.firing:
            return after, elapsed + h, log, error, at_end
        m0, m1 = lax.stop_gradient((margins(cells, x), margins(cells, after)))
        fires = jnp.any((m0 >= 0) | (m1 > 0)) & ~last

        def past_event(x, elapsed, log):
            which, h_event, at = locate(start, flow, m0, h, rule.exact_times)
            elapsed = elapsed + h_event
            return jump(cells, at, which), elapsed, _record(log, which, chunk_time + elapsed)

        fired = _branch(fires, past_event, (x, elapsed, log))
        x, elapsed, log = _where(fires, fired, (after, elapsed + h, log))
        return x, elapsed, log, error, at_end & ~fires

    def until_done(carry, k):
        x, elapsed, log, error, done = carry
        new = _branch(
            ~done,
            lambda x, elapsed, log, *_: until_event(x, elapsed, log, k == max_events),
            (x, elapsed, log, error, done),
        )
        return _where(done, carry, new), None

    error = jax.tree.map(jnp.zeros_like, x.v)
    start = (x, jnp.zeros_like(dt), log, error, jnp.array(False))
    (after, _, log, error, _), _ = lax.scan(until_done, start, jnp.arange(max_events + 1))
    lost = jnp.any(margins(cells, after) > 0)
    log = log._replace(lost=log.lost + lost)
    return after, _report(log, lax.stop_gradient(error), method.tolerance, index)


def _until_release(cells: Cells, x: CellState, left: Array) -> Array:
    """The time (ms) to the end of the first refractory period that ends within `left`, or `left`."""
    for _, held in held_for(cells, x):
        left = jnp.minimum(left, jnp.min(jnp.where(held > 0, held, left)))
    return left


class Start(NamedTuple):
    """All that a flow starts from: a pytree, so that it can be held constant."""

    cells: Cells
    external: External
    x: CellState
    t: Array


def locate(
    start: Start, flow: Callable, m0: Float[Array, " E"], left: Array, exact: bool
) -> tuple[Bool[Array, " E"], Array, CellState]:
    """The first event of a flow: which one, its time h in 0 to left (ms), and the state there.

    Newton runs from the end of the step (where an upstroke, continued linearly in time beyond its
    peak, points straight at its crossing), kept inside a shrinking bracket. The derivative
    is that of one more Newton step with a constant slope: by the implicit function theorem h then
    has the derivative of the true crossing, and the state that of the state there. If not `exact`,
    h is a constant.
    """

    def slopes(start, h):
        """The margins after h, and the rates of change with h of the state and of them."""
        (end, _), (rate, _) = jax.jvp(lambda h: flow(start, h), (h,), (jnp.ones_like(h),))
        m, slope = jax.jvp(lambda x: margins(start.cells, x), (end,), (rate,))
        return rate, m, jnp.maximum(slope, 1e-12)

    fixed, last = lax.stop_gradient((start, left))

    def first(m1: Array, slope: Array) -> Bool[Array, " E"]:
        """Which margin crosses first, by its tangent at the end of the step."""
        times = jnp.where(m1 > 0, last - m1 / slope, jnp.inf)
        times = jnp.where(m0 >= 0, -jnp.inf, times)
        return jnp.arange(times.shape[0]) == jnp.argmin(times)

    def newton(carry: _Search) -> _Search:
        h = carry.h
        rate, m, slope = slopes(fixed, h)
        which = jnp.where(carry.count == 0, first(m, slope), carry.which)
        m, slope = _pick(which, m), _pick(which, slope)
        low, high = jnp.where(m > 0, carry.low, h), jnp.where(m > 0, h, carry.high)
        new = h - m / slope
        inside = (new > low) & (new < high)
        new = jnp.where(inside, new, 0.5 * (low + high))
        done = jnp.where(inside, jnp.abs(new - h) < ACCURACY * last, high - low < _TINY * last)
        at_once = _pick(which, m0) >= 0
        new = jnp.where(at_once, 0.0, new)
        return _Search(new, done | at_once, which, low, high, rate, slope, carry.count + 1)

    def moving(carry: _Search) -> Array:
        return ~carry.done & (carry.count < LOCATE_ITERATIONS)

    begin = _Search(
        last,
        jnp.array(False),
        m0 > jnp.inf,
        jnp.zeros_like(last),
        last,
        fixed.x,
        jnp.ones_like(last),
        0,
    )
    found = lax.while_loop(moving, newton, begin)  # of constants: never differentiated
    at, _ = flow(start, found.h)
    if not exact:
        return found.which, found.h, at
    late = -_pick(found.which, margins(start.cells, at)) / found.slope
    at_once = _pick(found.which, m0) >= 0
    late = jnp.where(at_once, 0.0, late - lax.stop_gradient(late))  # zero, with a derivative
    at = jax.tree.map(lambda y, dy: y + late * dy, at, found.rate)
    return found.which, found.h + late, at


class _Search(NamedTuple):
    """Newton's search for an event: its time h (ms), whether it is done, which event, the bracket,
    the rates of change of the state and of the margin with h, and the iterations done."""

    h: Array
    done: Bool[Array, ""]
    which: Bool[Array, " E"]
    low: Array
    high: Array
    rate: CellState
    slope: Array
    count: Int[Array, ""] | int


def _pick(which: Bool[Array, " E"], values: Array) -> Array:
    return jnp.sum(jnp.where(which, values, 0.0))


def _record(log: Log, which: Bool[Array, " E"], time: Array) -> Log:
    slot = jnp.arange(log.times.shape[0])[:, None] == log.in_chunk
    return log._replace(
        times=jnp.where(slot & which, time, log.times),
        in_chunk=log.in_chunk + which,
        count=log.count + which,
    )


def _report(log: Log, error: Values, tolerance: float, index: Array) -> Log:
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


def _branch(predicate: Array, go: Callable, carry: tuple) -> tuple:
    """go(*carry) if the predicate holds, or under vmap if it holds anywhere, else the carry."""
    return lax.cond(_any_in_batch(predicate), go, lambda *c: c, *carry)


def _where(condition, a, b):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), a, b)


@jax.custom_batching.custom_vmap
def _any_in_batch(predicate: Array) -> Array:
    """The predicate, or under vmap whether it holds anywhere in the batch.

    A `cond` on it stays a branch under vmap: the batch takes the long way only when one of its
    members must (and each member then selects its own result).
    """
    return predicate


@_any_in_batch.def_vmap
def _any_in_batch_vmap(size, batched, predicate):
    return _any_in_batch(jnp.any(predicate, axis=0)), False
