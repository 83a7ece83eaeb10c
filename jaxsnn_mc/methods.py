"""Step methods: how the flow between events is integrated.

A method advances voltages and states over a time h in which nothing fires and each compartment is
either free or held all the time. It knows neither events nor any mechanism by name. Each step is an
increment: the tree is solved for the change of the voltages, which keeps float32 accurate.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from . import hines
from .cells import Cells, CellState, Part, add, put, take
from .clip import at_least
from .hines import Values
from .mechanism import SHORTEST, Mechanism, State

_HELD = 1e15
"""A held compartment has its capacitance times this: its voltage stays, the system symmetric."""


class StepMethod(Protocol):
    """The interface of a step method; `tolerance` (mV) bounds the error that `flow` returns, and
    `default_dt` (ms) is the step that suits the method."""

    @property
    def tolerance(self) -> float: ...

    @property
    def default_dt(self) -> float: ...

    def flow(
        self, cells: Cells, x: CellState, external: Values, h: Array, careful: bool
    ) -> tuple[CellState, Values | None]:
        """The state after `h` (ms) under mean external currents (pA), and an estimate of the error
        (mV) that an iteration left in each compartment, None where nothing is iterated. `careful`
        may take longer over it."""
        ...


class ImplicitEuler(eqx.Module):
    """Backward Euler, first order, L-stable: Newton over the tree, states semi-implicit.

    A mechanism's current is that of its state after half a step at the old voltage, or of its mean
    state where it knows that (so an exponential synapse delivers its charge exactly); the state
    then moves a whole step at the new voltage (so adaptation follows the new voltage). Newton runs
    `iterations` times, and `careful_iterations` times in the steps where that leaves more than
    `tolerance` (mV) or where something fires. A stiff current continues linearly beyond a slope of
    C / 2h, which keeps the step solvable: without it, a step on the upstroke has no solution at all
    for h > C / g exp(-(v_th - v_exp) / delta_T - 1).

    Derivatives are those of the solution, not of the iterations.
    """

    iterations: int = eqx.field(static=True, default=2)
    careful_iterations: int = eqx.field(static=True, default=12)
    tolerance: float = eqx.field(static=True, default=1e-5)

    @property
    def default_dt(self) -> float:
        return 0.01

    def flow(
        self, cells: Cells, x: CellState, external: Values, h: Array, careful: bool
    ) -> tuple[CellState, Values | None]:
        half = tuple(
            _during(part.mechanism, state, take(x.v, part.where), h)
            for part, state in zip(cells.parts, x.parts, strict=True)
        )
        total = (jax.tree.map(jnp.zeros_like, x.v), external)
        for part, state in zip(cells.parts, half, strict=True):
            if part.mechanism.linear:
                total = _linearise(part, _current(part, state), x.v, total)
        c_m = hold(cells, x, h, cells.c_m, _HELD)
        step = _Newton(cells, x.v, half, c_m, *total, h)
        if not step.nonlinear:
            delta, error = step(x.v), None
        else:
            delta, error = self._newton(step, careful)
        v = jax.tree.map(jnp.add, x.v, delta)
        return CellState(v, advance(cells, x.parts, v, h)), error

    def _newton(self, step: "_Newton", careful: bool) -> tuple[Values, Values]:
        """The change of v. Only the last iteration is differentiated, from a constant point with
        constant slopes: that is the derivative of the solution."""
        fixed = lax.stop_gradient(step)
        none = jax.tree.map(jnp.zeros_like, fixed.v)

        def again(carry):
            _, before, delta, count = carry
            return before, delta, fixed(delta), count + 1

        def unconverged(carry):
            *deltas, count = carry
            errors = jax.tree.leaves(self._error(step, *deltas))
            bad = reduce(jnp.logical_or, [jnp.any(e > self.tolerance) for e in errors])
            return (bad & (count < self.careful_iterations - 1)) | (count < self.iterations)

        start = (none, none, none, jnp.zeros((), jnp.int32))
        if careful:
            _, older, before, _ = lax.while_loop(unconverged, again, start)  # of constants
        else:
            carry = start
            for _ in range(self.iterations - 1):
                carry = again(carry)
            _, older, before, _ = carry
        delta = step(before)
        return delta, self._error(step, older, before, lax.stop_gradient(delta))

    def _error(self, step: "_Newton", older: Values, before: Values, delta: Values) -> Values:
        """An estimate (mV) of what is left after the changes `older`, `before` and `delta`: the last
        correction times how much it was smaller than the one before, beyond rounding."""
        error = jax.tree.map(jnp.zeros_like, delta)
        for part, _ in step.nonlinear:  # the other compartments follow these
            d2, d1, d0 = (take(d, part.where) for d in (delta, before, older))
            rounding = 8.0 * jnp.finfo(d2.dtype).eps * jnp.abs(d2)
            last, first = jnp.maximum(jnp.abs(d2 - d1) - rounding, 0.0), jnp.abs(d1 - d0)
            worst = jnp.maximum(jnp.maximum(last, first), 1e-30)
            error = put(error, part.where, last * (last / worst))
        return lax.stop_gradient(error)


class _Newton(eqx.Module):
    """One Newton iteration of an implicit Euler step; a pytree, so that it can be held constant."""

    cells: Cells
    v: Values
    states: tuple[State, ...]
    c_m: Values
    conductance: Values
    current: Values
    h: Array

    @property
    def nonlinear(self) -> list[tuple[Part, Callable[[Array], Array]]]:
        """What has to be iterated on: (part, its current as a function of its voltage)."""
        result = []
        for part, state in zip(self.cells.parts, self.states, strict=True):
            if not part.mechanism.linear:
                result.append((part, _current(part, state)))
            if type(part.mechanism).stiff_current is not Mechanism.stiff_current:
                c_m = take(self.cells.c_m, part.where)
                cap = 0.5 * c_m / at_least(self.h, SHORTEST)
                stiff = part.mechanism.stiff_current
                result.append((part, lambda v, f=stiff, cap=cap: f(v, cap)))
        return result

    def __call__(self, delta: Values) -> Values:
        """The next change of v from `delta`; neither it nor the slopes there are differentiated."""
        conductance, current = self.conductance, self.current
        for part, f in self.nonlinear:
            start = take(self.v, part.where)
            v = lax.stop_gradient(start + take(delta, part.where))
            i, slope = jax.jvp(f, (v,), (jnp.ones_like(v),))
            slope = lax.stop_gradient(slope)
            conductance = add(conductance, part.where, -slope)
            current = add(current, part.where, i + slope * (start - v))
        h = self.h
        diagonal = jax.tree.map(lambda c, s: c + h * s, self.c_m, conductance)
        g, b = jax.tree.map(lambda y: h * y, (self.cells.g, current))
        return hines.solve(self.cells.parent, diagonal, g, b, self.v)


class Splitting(eqx.Module):
    """Strang splitting, second order: half of the exact stiff flow (the AdEx exponential), an
    implicit midpoint step of all the rest, half of the exact flow again.

    In the midpoint step a mechanism's current is that of its mean state over the step, as a function
    of the midpoint voltage, linearised where it is not linear. So adaptation and voltage are solved
    together, and gates need no staggering. No iteration, no stability limit; but the midpoint rule
    does not damp: finely cut morphologies ring at large steps. The voltage of a
    compartment without capacitance is its mean over the step.
    """

    @property
    def tolerance(self) -> float:
        return math.inf  # nothing is iterated

    @property
    def default_dt(self) -> float:
        return 0.1

    def flow(
        self, cells: Cells, x: CellState, external: Values, h: Array, careful: bool
    ) -> tuple[CellState, Values | None]:
        half = 0.5 * h
        active = hold(cells, x, h, jax.tree.map(lambda v: jnp.full_like(v, half), x.v), 0.0)
        v0 = _stiff_flow(cells, x.v, active)
        total = (jax.tree.map(jnp.zeros_like, x.v), external)
        for part, state in zip(cells.parts, x.parts, strict=True):

            def mean(v, m=part.mechanism, state=state):
                return m.current(m.mean(state, v, h), v)

            total = _linearise(part, mean, v0, total)
        conductance, current = total
        c_m = hold(cells, x, h, cells.c_m, _HELD)
        # At least half of the capacitance: an upstroke within the step would make it negative.
        diagonal = jax.tree.map(lambda c, s: at_least(c + half * s, 0.5 * c), c_m, conductance)
        g, b = jax.tree.map(lambda y: half * y, (cells.g, current))
        delta = hines.solve(cells.parent, diagonal, g, b, v0)
        middle = jax.tree.map(jnp.add, v0, delta)
        # Without capacitance (a branch point) it is the midpoint's: an end would ring after a jump.
        end = jax.tree.map(lambda v, d, c: v + jnp.where(c > 0, d, 0.0), middle, delta, cells.c_m)
        states = advance(cells, x.parts, middle, h)
        return CellState(_stiff_flow(cells, end, active), states), None


def hold(cells: Cells, x: CellState, h: Array, values: Values, when_held: float) -> Values:
    """The values, multiplied by `when_held` in compartments that are held for `h` (ms) and more."""
    for part, left in held_for(cells, x):
        mine = take(values, part.where)
        held = (left >= h) & (left > 0)
        values = put(values, part.where, jnp.where(held, when_held * mine, mine))
    return values


def held_for(cells: Cells, x: CellState) -> list[tuple[Part, Array]]:
    """The parts that can hold their voltage, and for how long (ms) they still do."""
    held = [
        (part, part.mechanism.held(state)) for part, state in zip(cells.parts, x.parts, strict=True)
    ]
    return [(part, left) for part, left in held if left is not None]


def advance(cells: Cells, states: tuple[State, ...], v: Values, h: Array) -> tuple[State, ...]:
    """All states after `h` (ms) at the voltages `v`."""
    return tuple(
        part.mechanism.advance(state, take(v, part.where), h)
        for part, state in zip(cells.parts, states, strict=True)
    )


def _during(mechanism: Mechanism, state: State, v: Array, h: Array) -> State:
    """The mean state over `h` (ms) at voltage `v` where it is known, or the state after half of it."""
    known = type(mechanism).mean is not Mechanism.mean
    return mechanism.mean(state, v, h) if known else mechanism.advance(state, v, 0.5 * h)


def _linearise(part: Part, current, v: Values, total: tuple[Values, Values]):
    """Adds a part's current at `v` and its slope to (conductance, current)."""
    at = take(v, part.where)
    i, slope = jax.jvp(current, (at,), (jnp.ones_like(at),))
    conductance, total_current = total
    return add(conductance, part.where, -slope), add(total_current, part.where, i)


def _current(part: Part, state: State) -> Callable[[Array], Array]:
    return lambda v: part.mechanism.current(state, v)


def _stiff_flow(cells: Cells, v: Values, h: Values) -> Values:
    for part in cells.parts:
        at, c_m, mine = (take(y, part.where) for y in (v, cells.c_m, h))
        end = part.mechanism.stiff_flow(at, c_m, mine)
        v = v if end is None else put(v, part.where, end)
    return v
