"""Dendritic spikes: an event opens an inward conductance, and later an outward one.

    I = g_rise (e_rise - v) + g_fall (e_fall - v)

Both forms of Dendrify (Pagkalos, Chavlis and Poirazi, 2023). The event: v is above v_th, t_ref after
the last one or later (at once, if v is above it then). Nothing resets the voltage.

- `DendriticSpike`, the form of the paper (Dendrify 1.0.8): g_rise is kicked at the event, g_fall
  `offset` later, and both decay exponentially.
- `DendriticPulse`, the form since Dendrify 2.0: g_rise is on for duration_rise, g_fall, `offset`
  later, for duration_fall; another event starts both anew.

All times are in ms and need not lie on the grid: the mean of each conductance over a step, or over a
part of one, is known in closed form.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ..clip import at_least, between
from ..mechanism import SHORTEST, Mechanism, State, parameter
from ..spike_rules import also
from .kinetics import decay, mean_decay
from .spiking import both

LONG_AGO = 1e6
"""ms. The time since an event where there was none yet."""


class Dendritic(Mechanism):
    """What both forms share: the time `since` the event (ms) among the states, and a current of the
    mean state, which tells how far, `rise` and `fall`, the conductances are open (1 at the kick, or
    while the pulse is on)."""

    g_rise: eqx.AbstractVar[Array]
    g_fall: eqx.AbstractVar[Array]
    e_rise: eqx.AbstractVar[Array]
    e_fall: eqx.AbstractVar[Array]
    v_th: eqx.AbstractVar[Array]
    t_ref: eqx.AbstractVar[Array]

    linear: ClassVar[bool] = True
    clocks: ClassVar[tuple[str, ...]] = ("since",)

    @property
    def shortest(self) -> Array:
        """The time (ms) from an event to the next one at least."""
        return self.t_ref

    def current(self, state: State, v: Array) -> Array:
        rise, fall = self.g_rise * state["rise"], self.g_fall * state["fall"]
        return rise * (self.e_rise - v) + fall * (self.e_fall - v)

    def event(self, state: State, v: Array) -> Array:
        return both(v - self.v_th, state["since"] - self.shortest)


class DendriticSpike(Dendritic):
    """A dendritic spike of decaying conductances; see the top of this file.

    **Arguments:** `g_rise` and `g_fall` (nS), the kicks; `e_rise` and `e_fall`, reversal potentials
    (mV); `v_th` (mV); `tau_rise` and `tau_fall`, the decays of g_rise and g_fall (ms); `offset` of the
    second kick (ms); `t_ref` (ms), of which the offset is at least a part.
    """

    g_rise: Array = parameter("nS", low=0.0)
    g_fall: Array = parameter("nS", low=0.0)
    e_rise: Array = parameter("mV", 70.0)
    e_fall: Array = parameter("mV", -89.0)
    v_th: Array = parameter("mV", -35.0)
    tau_rise: Array = parameter("ms", 0.6, low=0.0, exclusive=True)
    tau_fall: Array = parameter("ms", 1.2, low=0.0, exclusive=True)
    offset: Array = parameter("ms", 0.2, low=0.0)
    t_ref: Array = parameter("ms", 5.0, low=0.0, exclusive=True)

    @property
    def shortest(self) -> Array:
        return jnp.maximum(self.t_ref, self.offset)

    def init(self, v: Array) -> State:
        closed = jnp.zeros_like(v)
        return {"rise": closed, "fall": closed, "since": jnp.full_like(v, LONG_AGO)}

    def advance(self, state: State, v: Array, dt: Array) -> State:
        rise, fall = (decay(state[k], tau, dt) for k, tau in self.closing)
        return {"rise": rise, "fall": fall, "since": state["since"] + dt}

    def mean(self, state: State, v: Array, dt: Array) -> State:
        rise, fall = (state[k] * mean_decay(tau, dt) for k, tau in self.closing)
        return {"rise": rise, "fall": fall, "since": state["since"]}

    @property
    def closing(self) -> tuple[tuple[str, Array], ...]:
        """Each conductance and its decay (ms)."""
        return ("rise", self.tau_rise), ("fall", self.tau_fall)

    def jump(self, state: State, v: Array) -> tuple[State, Array]:
        rise, fall = state["rise"] + 1.0, state["fall"] + jnp.where(self.offset > 0.0, 0.0, 1.0)
        return {"rise": rise, "fall": fall, "since": jnp.zeros_like(v)}, v

    def due(self, state: State) -> Array:
        return at_least(self.offset - state["since"], 0.0)

    def switch(self, state: State, v: Array) -> tuple[State, Array]:
        since = self.offset + jnp.zeros_like(v)
        return {**state, "fall": state["fall"] + 1.0, "since": since}, v


class DendriticPulse(Dendritic):
    """A dendritic spike of rectangular conductance pulses; see the top of this file.

    **Arguments:** `g_rise` and `g_fall` (nS); `e_rise` and `e_fall`, reversal potentials (mV); `v_th`
    (mV); `duration_rise` and `duration_fall` (ms); `offset` of the second pulse (ms); `t_ref` (ms).

    Its states are how often it has `fired`, and the time `since`, from which the pulses follow. A
    derivative by a duration or the offset is of first order in the step.
    """

    g_rise: Array = parameter("nS", low=0.0)
    g_fall: Array = parameter("nS", low=0.0)
    e_rise: Array = parameter("mV", 70.0)
    e_fall: Array = parameter("mV", -89.0)
    v_th: Array = parameter("mV", -35.0)
    duration_rise: Array = parameter("ms", 1.2, low=0.0, exclusive=True)
    duration_fall: Array = parameter("ms", 2.4, low=0.0, exclusive=True)
    offset: Array = parameter("ms", 0.2, low=0.0)
    t_ref: Array = parameter("ms", 5.0, low=0.0, exclusive=True)

    def pulses(self, since: Array, dt: Array) -> tuple[Array, Array]:
        """The parts of the next dt (ms) for which the two pulses are on."""

        rate = 1.0 / at_least(dt, SHORTEST)

        def before(end: Array) -> Array:
            return between((end - since) * rate, 0.0, 1.0)

        fall = before(self.offset + self.duration_fall) - before(self.offset)
        return before(self.duration_rise), fall

    def init(self, v: Array) -> State:
        return {"fired": jnp.zeros_like(v), "since": jnp.full_like(v, LONG_AGO)}

    def advance(self, state: State, v: Array, dt: Array) -> State:
        # A surrogate's derivative by a spike that was not: fades over the length of the pulse.
        derivative = also(jnp.zeros_like(v), state["fired"])
        fading = decay(derivative, self.duration_rise, dt)
        fired = also(lax.stop_gradient(state["fired"]), fading)
        return {"fired": fired, "since": state["since"] + dt}

    def mean(self, state: State, v: Array, dt: Array) -> State:
        rise, fall = self.pulses(state["since"], dt)
        return {"rise": also(rise, state["fired"]), "fall": fall}

    def current(self, state: State, v: Array) -> Array:
        mean = state if "rise" in state else self.mean(state, v, jnp.zeros_like(v))
        return super().current(mean, v)

    def jump(self, state: State, v: Array) -> tuple[State, Array]:
        return {"fired": lax.stop_gradient(state["fired"]) + 1.0, "since": jnp.zeros_like(v)}, v


class SodiumSpike(DendriticSpike):
    """A `DendriticSpike` that sodium carries: e_rise = 70 mV, e_fall = -89 mV."""


class CalciumSpike(DendriticSpike):
    """A `DendriticSpike` that calcium carries: e_rise = 136 mV."""

    e_rise: Array = parameter("mV", 136.0)


class SodiumPulse(DendriticPulse):
    """A `DendriticPulse` that sodium carries: e_rise = 70 mV, e_fall = -89 mV."""


class CalciumPulse(DendriticPulse):
    """A `DendriticPulse` that calcium carries: e_rise = 136 mV."""

    e_rise: Array = parameter("mV", 136.0)
