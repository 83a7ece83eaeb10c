"""Where in a step an event happens: the time at which a margin of the flow crosses zero.

The time is searched for with constants, in a loop that is never differentiated (`locate`), and then
given its derivative by the implicit function theorem (`cross`).
"""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from .cells import Cells, CellState, Margins, take
from .drive import External

LOCATE_ITERATIONS = 50
"""Safeguarded Newton iterations for the time of an event at most; about four are usual."""

ACCURACY = 1e-4
"""The last Newton correction of that time, in steps; what it leaves is of the order of its square."""

_TINY = 1e-6


def margins(cells: Cells, x: CellState) -> Margins:
    """The event margin of each part that has one, positive where it fires."""
    values = [
        part.mechanism.event(state, take(x.v, part.where))
        for part, state in zip(cells.parts, x.parts, strict=True)
    ]
    return tuple(m for m in values if m is not None)


def either(flags: Iterable[Array]) -> Array:
    """Whether any is true of some flags, one at least."""
    return reduce(jnp.logical_or, [jnp.any(flag) for flag in flags])


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

    which: Margins
    h: Array
    at: CellState
    rate: CellState
    slope: Array


def locate(start: Start, flow: Flow, m0: Margins, left: Array) -> Crossing:
    """The first event of a flow of `left` ms that has one; all of it constants.

    Newton runs from the end of the step (where an upstroke, continued linearly in time beyond its
    peak, points straight at its crossing), kept inside a shrinking bracket. The rates are those at the
    time found: on a sharp upstroke they change by orders of magnitude within the last correction.
    """

    def first(m1: Margins, slope: Margins) -> Margins:
        """Which margin crosses first, by its tangent at the end of the step."""

        def time(m0: Array, m1: Array, slope: Array) -> Array:
            t = jnp.where(m1 > 0, left - m1 / slope, jnp.inf)
            return jnp.where(m0 >= 0, -jnp.inf, t)

        return _smallest(jax.tree.map(time, m0, m1, slope))

    def after(h: Array):
        """The state after h, its rate of change, the margins and their slopes."""
        (end, _), (rate, _) = jax.jvp(lambda h: flow(start, h), (h,), (jnp.ones_like(h),))
        m, slope = jax.jvp(lambda x: margins(start.cells, x), (end,), (rate,))
        return end, rate, m, jax.tree.map(lambda s: jnp.maximum(s, 1e-12), slope)

    def newton(search: _Search) -> _Search:
        h, last = search.found.h, search.close
        at, rate, m, slopes = after(h)
        which = choose(jnp.equal(search.count, 0), first(m, slopes), search.found.which)
        m, slope = _pick(which, m), _pick(which, slopes)
        low, high = jnp.where(m > 0, search.low, h), jnp.where(m > 0, h, search.high)
        new = h - m / slope
        inside = (new >= low) & (new <= high)
        new = jnp.where(inside, new, 0.5 * (low + high))
        close = jnp.where(inside, jnp.abs(new - h) < ACCURACY * left, high - low < _TINY * left)
        close = close | (search.count >= LOCATE_ITERATIONS - 1)
        found = Crossing(which, jnp.where(last, h, new), at, rate, slope)
        return _Search(found, close, last, low, high, search.count + 1)

    at_once = either(m >= 0 for m in m0)
    still = jax.tree.map(jnp.zeros_like, start.x)
    none = Crossing(tuple(m >= jnp.inf for m in m0), left, still, still, jnp.zeros_like(left))
    begin = _Search(none, at_once, jnp.zeros_like(at_once), jnp.zeros_like(left), left, 0)
    found = lax.while_loop(lambda search: ~search.done, newton, begin).found
    firing = tuple(m >= 0 for m in m0)
    now = Crossing(firing, jnp.zeros_like(left), start.x, still, jnp.full_like(left, jnp.inf))
    return choose(at_once, now, found)


class _Search(NamedTuple):
    """Newton's search for an event: what it found, `h` its next time; whether that is close enough,
    and done with once evaluated; the bracket, and the iterations done."""

    found: Crossing
    close: Bool[Array, ""]
    done: Bool[Array, ""]
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


def _smallest(values: Margins) -> Margins:
    """Which one of all values is the smallest, of equal ones the first."""
    least = reduce(jnp.minimum, [jnp.min(x) for x in values])
    which, found = [], jnp.zeros_like(least, bool)
    for x in values:
        here = x == least
        if x.ndim:
            here = here & (jnp.arange(x.size) == jnp.argmin(x))
        which.append(here & ~found)
        found = found | jnp.any(here)
    return tuple(which)


def _pick(which: Margins, values: Margins) -> Array:
    chosen = jax.tree.map(lambda w, x: jnp.sum(jnp.where(w, x, 0.0)), which, values)
    return reduce(jnp.add, chosen)


def choose(condition: Array, a: Any, b: Any) -> Any:
    """The pytree `a` where the condition holds, else `b`."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), a, b)
