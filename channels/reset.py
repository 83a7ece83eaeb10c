"""Threshold, reset and refractory period inside Jaxley's steps of fixed length.

Jaxley calls a channel once a step, before it solves for the voltage. So a crossing is found at the
start of the step after it, and from then on all is counted from the time of the crossing:

1. In the step that finds it, a pulse of current carries the voltage to `v_reset`. That is right
   under every solver, where a large conductance rings (Crank-Nicolson) or explodes (forward Euler);
   and `v` is not written, so synapses see it above the threshold once.
2. In whole steps of the refractory period `v` is written to `v_reset` and held by a conductance.
3. The step in which the period ends runs freely from `v_reset`. The step after it keeps that part
   of its change of voltage that belongs to the time after the end.

So the spike times, `t_ref` and all other parameters act continuously, and the derivative of the
steps is that of the events, the reset included. One term enters as a derivative only: the neighbours
saw the voltage above threshold for the rest of the step. A value would show as a dip below v_reset.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

NEVER = 1e9
"""ms since the last spike where there was none (to Jaxley, NaN means that the channel is absent)."""

HOLD = 1e6
"""The conductance that holds the voltage, in units of C / dt."""

AT_REST = {"spikes": 0.0, "since": NEVER, "start": -NEVER, "rise": 0.0}
"""The states before the first step: whether the last step found a spike, ms since the last spike,
where the last step started from (mV) and how much the voltage rose in the one before (mV)."""


class Step(NamedTuple):
    """What a step starts with: `v` (mV) as Jaxley shall see it; `start` (mV), where the dynamics
    start from; `rise` (mV) of the last step; whether the threshold was crossed in it (`fired`);
    `since` (ms), how long ago that was last; whether the voltage is `held` through the step."""

    v: Array
    start: Array
    rise: Array
    fired: Array
    since: Array
    held: Array


def begin(
    v: Array, before: dict[str, Array], v_th: Array, v_reset: Array, t_ref: Array, dt: Array
) -> Step:
    """The start of a step, from the voltage `v` (mV) and the states `before` it (see AT_REST)."""
    free = before["since"] - t_ref  # ms since the end of the refractory period
    refractory = (free < dt) | (before["spikes"] > 0)  # in the last step or a part of it
    part = jnp.clip(free / dt, 0.0, 2.0)
    v = jnp.where(refractory, v_reset + part * (v - before["start"]), v)

    fired = (v >= v_th) & (free >= 0)
    rise = v - before["start"]
    late = jnp.where(fired, dt * _part_after(v - v_th, rise, before["rise"]), 0.0)
    since = jnp.where(fired, late, before["since"])
    seen = (late - lax.stop_gradient(late)) / dt * (v - v_reset)  # zero, with a derivative
    start = jnp.where(fired, v_reset - seen, v)
    return Step(v, start, rise, fired, since, held=~fired & (t_ref - since >= dt))


def _part_after(over: Array, rise: Array, rise_before: Array) -> Array:
    """Which part of the last step came after the crossing, now that the voltage is `over` the
    threshold: on the parabola through the last three voltages, kept monotonic. (A straight line
    has the slope at the crossing, and so every derivative, to first order only: 5 % at 0.01 ms.)"""
    rise = jnp.maximum(rise, jnp.maximum(over, 1e-9))
    bend = jnp.clip(rise - rise_before, -rise, rise)
    below = jnp.clip(rise - over, 0.0, rise)
    first = rise - 0.5 * bend
    return 1.0 - 2.0 * below / (first + jnp.sqrt(first**2 + 2.0 * bend * below))


def linear_current(
    step: Step, current: Array, slope: Array, capacitance: Array, dt: Array
) -> tuple[Array, Array]:
    """The outward current (mA/cm2) at `step.start` and its slope (S/cm2): those given and the pulse
    of a reset, or those that hold. `capacitance` in uF/cm2, dt in ms."""
    charge = 1e-3 * capacitance / dt
    pulse = jnp.where(step.fired, charge * (step.v - step.start), 0.0)
    current = jnp.where(step.held, 0.0, current) + pulse
    return current, jnp.where(step.held, HOLD * charge, slope)


def after(step: Step, spikes: Array, current: Array, slope: Array, dt: Array) -> dict[str, Array]:
    """The states after a step, those for the current in it included."""
    event = {"spikes": spikes, "since": step.since + dt, "start": step.start, "rise": step.rise}
    return {**event, "i": current, "slope": slope}


def current_at(v: Array, states: dict[str, Array]) -> Array:
    """The outward current (mA/cm2) at voltage `v` (mV), linear in it for given states."""
    return states["i"] + states["slope"] * (v - states["start"])
