"""Where in a step an event happens: the time at which a margin of the flow crosses zero."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .cells import Cells, CellState, take
from .drive import External

LOCATE_ITERATIONS = 50
"""Safeguarded Newton iterations for the time of an event at most; about four are usual."""

ACCURACY = 1e-4
"""The last Newton correction of that time, in steps; what it leaves is of the order of its square."""

_TINY = 1e-6


def margins(cells: Cells, x: CellState) -> Float[Array, " E"]:
    """The event margins of all parts, positive where one fires."""
    values = [jnp.atleast_1d(m) for m in separate_margins(cells, x)]
    return jnp.concatenate(values) if values else jnp.zeros(0)


def separate_margins(cells: Cells, x: CellState) -> list[Array]:
    """The event margin of each part that has one."""
    values = [
        part.mechanism.event(state, take(x.v, part.where))
        for part, state in zip(cells.parts, x.parts, strict=True)
    ]
    return [m for m in values if m is not None]


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
        _, m, slope = slopes(fixed, h)
        which = jnp.where(carry.count == 0, first(m, slope), carry.which)
        m, slope = _pick(which, m), _pick(which, slope)
        low, high = jnp.where(m > 0, carry.low, h), jnp.where(m > 0, h, carry.high)
        new = h - m / slope
        inside = (new > low) & (new < high)
        new = jnp.where(inside, new, 0.5 * (low + high))
        done = jnp.where(inside, jnp.abs(new - h) < ACCURACY * last, high - low < _TINY * last)
        at_once = _pick(which, m0) >= 0
        return _Search(
            jnp.where(at_once, 0.0, new), done | at_once, which, low, high, carry.count + 1
        )

    def moving(carry: _Search) -> Array:
        return ~carry.done & (carry.count < LOCATE_ITERATIONS)

    begin = _Search(last, jnp.array(False), m0 > jnp.inf, jnp.zeros_like(last), last, 0)
    found = lax.while_loop(moving, newton, begin)  # of constants: never differentiated
    at, _ = flow(start, found.h)
    if not exact:
        return found.which, found.h, at
    rate, _, slope = slopes(fixed, found.h)
    late = -_pick(found.which, margins(start.cells, at)) / _pick(found.which, slope)
    at_once = _pick(found.which, m0) >= 0
    late = jnp.where(at_once, 0.0, late - lax.stop_gradient(late))  # zero, with a derivative
    at = jax.tree.map(lambda y, dy: y + late * dy, at, rate)
    return found.which, found.h + late, at


class _Search(NamedTuple):
    """Newton's search for an event: its time h (ms), whether it is done, which event, the bracket,
    and the iterations done."""

    h: Array
    done: Bool[Array, ""]
    which: Bool[Array, " E"]
    low: Array
    high: Array
    count: Int[Array, ""] | int


def _pick(which: Bool[Array, " E"], values: Array) -> Array:
    return jnp.sum(jnp.where(which, values, 0.0))
