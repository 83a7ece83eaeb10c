"""Where in a step an event happens: the time at which a margin of the flow crosses zero.

The time is searched for with constants, in a loop that is never differentiated (`locate`), and then
given its derivative by the implicit function theorem (`cross`).
"""

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


Flow = Callable[[Start, Array], tuple[CellState, Array]]
"""From a start over a time (ms) to the state there and the iteration's error (mV)."""


class Crossing(NamedTuple):
    """An event: which margin crosses, at what time (ms) of a flow, the state there, its rate of change
    (per ms) and that of the margin (mV/ms; inf if it fires at once)."""

    which: Bool[Array, " E"]
    h: Array
    at: CellState
    rate: CellState
    slope: Array


def locate(start: Start, flow: Flow, m0: Float[Array, " E"], left: Array) -> Crossing:
    """The first event of a flow of `left` ms that has one; all of it constants.

    Newton runs from the end of the step (where an upstroke, continued linearly in time beyond its
    peak, points straight at its crossing), kept inside a shrinking bracket. The rates are those at the
    time found: on a sharp upstroke they change by orders of magnitude within the last correction.
    """

    def first(m1: Array, slope: Array) -> Bool[Array, " E"]:
        """Which margin crosses first, by its tangent at the end of the step."""
        times = jnp.where(m1 > 0, left - m1 / slope, jnp.inf)
        times = jnp.where(m0 >= 0, -jnp.inf, times)
        return jnp.arange(times.shape[0]) == jnp.argmin(times)

    def after(h: Array):
        """The state after h, its rate of change, the margins and their slopes."""
        (end, _), (rate, _) = jax.jvp(lambda h: flow(start, h), (h,), (jnp.ones_like(h),))
        m, slope = jax.jvp(lambda x: margins(start.cells, x), (end,), (rate,))
        return end, rate, m, jnp.maximum(slope, 1e-12)

    def newton(search: _Search) -> _Search:
        h = search.h
        _, _, m, slope = after(h)
        which = jnp.where(search.count == 0, first(m, slope), search.which)
        m, slope = _pick(which, m), _pick(which, slope)
        low, high = jnp.where(m > 0, search.low, h), jnp.where(m > 0, h, search.high)
        new = h - m / slope
        inside = (new >= low) & (new <= high)
        new = jnp.where(inside, new, 0.5 * (low + high))
        done = jnp.where(inside, jnp.abs(new - h) < ACCURACY * left, high - low < _TINY * left)
        return _Search(new, done, which, low, high, search.count + 1)

    def moving(search: _Search) -> Array:
        return ~search.done & (search.count < LOCATE_ITERATIONS)

    at_once = jnp.any(m0 >= 0)
    begin = _Search(left, at_once, m0 >= jnp.inf, jnp.zeros_like(left), left, 0)
    found = lax.while_loop(moving, newton, begin)
    end, rate, _, slope = after(found.h)
    crossing = Crossing(found.which, found.h, end, rate, _pick(found.which, slope))
    still = jax.tree.map(jnp.zeros_like, start.x)
    now = Crossing(m0 >= 0, jnp.zeros_like(left), start.x, still, jnp.full_like(left, jnp.inf))
    return jax.tree.map(lambda a, b: jnp.where(at_once, a, b), now, crossing)


class _Search(NamedTuple):
    """Newton's search for an event: its time h (ms), whether it is done, which event, the bracket,
    and the iterations done."""

    h: Array
    done: Bool[Array, ""]
    which: Bool[Array, " E"]
    low: Array
    high: Array
    count: Int[Array, ""] | int


def cross(cells: Cells, at: CellState, found: Crossing) -> tuple[CellState, Array]:
    """The state `at` a located event, with the derivative of the true crossing: that of one more
    Newton step with a constant slope, by which also the state moves on. Also returns that step of the
    time (ms; zero, but for its derivative)."""
    late = -_pick(found.which, margins(cells, at)) / found.slope
    late = late - lax.stop_gradient(late)
    return jax.tree.map(lambda y, dy: y + late * dy, at, found.rate), late


def _pick(which: Bool[Array, " E"], values: Array) -> Array:
    return jnp.sum(jnp.where(which, values, 0.0))
