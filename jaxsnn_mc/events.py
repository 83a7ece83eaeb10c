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
from jaxtyping import Array, Bool

from .cells import Cells, CellState, put, take
from .drive import External
from .locate import Start, locate, margins, separate_margins
from .log import Log, record, report
from .methods import StepMethod, held_for
from .spike_rules import SpikeRule


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
    checks = [m > 0 for m in separate_margins(cells, after)]
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
            return jump(cells, at, which), elapsed, record(log, which, chunk_time + elapsed)

        fired = _branch(fires, past_event, (x, elapsed, log))
        x, elapsed, log = _where(fires, fired, (after, elapsed + h, log))
        return x, elapsed, log, error, at_end & ~fires

    until_event = jax.checkpoint(until_event, prevent_cse=False)

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
    return after, report(log, lax.stop_gradient(error), method.tolerance, index)


def _until_release(cells: Cells, x: CellState, left: Array) -> Array:
    """The time (ms) to the end of the first refractory period that ends within `left`, or `left`."""
    for _, held in held_for(cells, x):
        left = jnp.minimum(left, jnp.min(jnp.where(held > 0, held, left)))
    return left


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
