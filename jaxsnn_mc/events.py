"""A step with its events.

A step without events is one flow. Only when something fires in it, or a refractory period ends, or
a planned switch is due, or an iteration has not converged, is it resolved into parts (`parts.py`):
the flow up to the located crossing (or the planned time), the jump, and the rest of the step from
there, for up to `max_events` events in their order in time.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .cells import (
    Cells,
    CellState,
    put,
    stack,
    stack_state,
    take,
    together,
    unstack_parts,
    unstack_state,
)
from .drive import External
from .locate import Start, either, margins
from .log import Log, record, report
from .methods import held_for
from .parts import Stepper, due_in, jump, resolve
from .rarely import rarely
from .spike_rules import Surrogate


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

    def long_way(short, start, dt, chunk_time, index):
        (_, log), cells = short, start.cells
        way = _resolve_stacked if _alike(cells) else resolve
        end, parts, error = way(stepper, start, dt)
        if cells.firing:
            lost = either(m > 0 for m in margins(cells, end))
            log = record(log, parts, chunk_time)._replace(lost=log.lost + lost)
        return end, report(log, lax.stop_gradient(error), method.tolerance, index)

    start = Start(cells, external, x, t)
    end, new_log = rarely(hard, long_way, (after, log), start, dt, chunk_time, index)
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


def _alike(cells: Cells) -> bool:
    """Whether most parts are of a mechanism with several: stacked, they then compile much faster."""
    return cells.unrolled and len(cells.parts) >= 3 * len({part.group for part in cells.parts})


def _resolve_stacked(stepper: Stepper, start: Start, dt: Array):
    """`resolve` of the cells in the other layout."""
    cells, external, x, t = start
    there = stack(cells)
    external = External(there, external.currents, external.drive)
    x, parts, error = resolve(stepper, Start(there, external, stack_state(cells, x), t), dt)
    which = tuple(unstack_parts(cells.firing, parts.which, axis=1))
    return unstack_state(cells, x), parts._replace(which=which), error
