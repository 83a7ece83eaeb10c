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
"""Safeguarded Newton iterations for the time of an event at most; two or three are usual."""

ACCURACY = {"float32": 1e-3, "float64": 1e-4}
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
    """An event: which margin crosses, at what time `h` (ms) of a flow, the state there, and the slope
    (mV/ms) of that margin, inf if it fires at once."""

    which: Margins
    h: Array
    at: CellState
    slope: Array


def locate(start: Start, flow: Flow, m0: Margins, m1: Margins, left: Array) -> Crossing:
    """The first event of a flow of `left` ms that has one, from the margins before and after it; all
    of it constants.

    Newton, for the margin that crosses first by its tangent, kept inside a shrinking bracket. It runs
    from where the first secant crosses, and from the end of the step if that leads out of it (there an
    upstroke, continued linearly in time beyond its peak, points straight at its crossing).
    """

    def secant(m0: Array, m1: Array) -> Array:
        return jnp.where(m1 > 0, left * m0 / (m0 - m1), left)

    def newton(search: _Search) -> _Search:
        h = search.found.h
        end, rate, m, slopes = rates(start, flow, h)
        crossings = jax.tree.map(lambda m, slope: h - m / slope, m, slopes)
        fired, new = either(m > 0 for m in m), _least(crossings)
        low, high = jnp.where(fired, search.low, h), jnp.where(fired, h, search.high)
        inside = (new >= low) & (new <= high)
        outside = jnp.where((new > high) & (search.count == 0), left, 0.5 * (low + high))
        done = jnp.where(inside, jnp.abs(new - h) < accuracy * left, high - low < _TINY * left)
        which, new = _smallest(crossings), jnp.where(inside, new, outside)
        at = jax.tree.map(lambda y, dy: y + (new - h) * dy, end, rate)
        found = Crossing(which, new, at, _pick(which, slopes))
        return _Search(found, done, low, high, search.count + 1)

    def going_on(search: _Search) -> Array:
        return ~search.done & (search.count < LOCATE_ITERATIONS)

    accuracy = ACCURACY[left.dtype.name]
    firing, none = tuple(m >= 0 for m in m0), jnp.zeros_like(left)
    at_once, guess = either(firing), _least(jax.tree.map(secant, m0, m1))
    begin = _Search(Crossing(firing, guess, start.x, none), at_once, none, left, 0)
    found = lax.while_loop(going_on, newton, begin).found
    return choose(at_once, Crossing(firing, none, start.x, none + jnp.inf), found)


class _Search(NamedTuple):
    """Newton's search for an event: what it found, `h` its next time; whether that is close enough;
    the bracket, and the iterations done."""

    found: Crossing
    done: Bool[Array, ""]
    low: Array
    high: Array
    count: Int[Array, ""] | int


def rates(start: Start, flow: Flow, h: Array) -> tuple[CellState, CellState, Margins, Margins]:
    """The state after h (ms) of a flow, its rate of change (per ms), the margins (mV) and their slopes
    (mV/ms)."""
    (end, _), (rate, _) = jax.jvp(lambda h: flow(start, h), (h,), (jnp.ones_like(h),))
    m, slope = jax.jvp(lambda x: margins(start.cells, x), (end,), (rate,))
    return end, rate, m, jax.tree.map(lambda s: jnp.maximum(s, 1e-12), slope)


def cross(
    start: Start, flow: Flow, h: Array, at: CellState, which: Margins, slope: Array
) -> tuple[CellState, Array, Array]:
    """The state `at` an event that a search located at `h` (ms), with the derivative of the true
    crossing: that of one more Newton step with a constant slope, by which also the state moves on.
    Also returns that step of the time (ms; zero, but for its derivative), and the `slope` (mV/ms),
    which the search gave, anew; inf is that of an event at once.

    The rates are those at the time found: on a sharp upstroke they change by orders of magnitude
    within the last correction of the search."""
    _, rate, _, slopes = rates(lax.stop_gradient(start), flow, lax.stop_gradient(h))
    at_once = jnp.isinf(slope)
    slope = jnp.where(at_once, slope, _pick(which, slopes))
    rate = choose(at_once, jax.tree.map(jnp.zeros_like, rate), rate)
    late = -_pick(which, margins(start.cells, at)) / slope
    late = late - lax.stop_gradient(late)
    return jax.tree.map(lambda y, dy: y + late * dy, at, rate), late, slope


def _least(values: Margins) -> Array:
    return reduce(jnp.minimum, [jnp.min(x) for x in values])


def _smallest(values: Margins) -> Margins:
    """Which one of all values is the smallest, of equal ones the first."""
    least = _least(values)
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
