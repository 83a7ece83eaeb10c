"""Receptors: input spikes open a conductance, which draws the voltage to a reversal potential.

    I = g open (e - v)            and for NMDA times 1 / (1 + mg exp(-alpha (v + gamma)) / beta)

A spike of weight w opens it at once, `open` -> `open` + w, and it closes with tau_decay. With a
tau_rise it opens by degrees, as the difference of two exponentials:

    d rising / dt = -rising / tau_rise             rising -> rising + k w at a spike
    d open / dt = -open / tau_decay + rising

Normalised, k (1/ms) is such that `open` peaks at w, and g is the peak conductance of a spike of
weight 1; otherwise k = 1/ms, which is Dendrify's unscaled form. Both kinetics are advanced exactly.
Equations and reversal potentials are Dendrify's (Pagkalos, Chavlis and Poirazi, 2023), the magnesium
block that of Jahr and Stevens (1990).
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..clip import at_most
from ..mechanism import Mechanism, State, check_bounds, parameter
from .kinetics import decay, mean_decay, shrink

MOST_BLOCKED = 40.0
"""The largest exponent of the magnesium block: beyond it NMDA is closed, and all stays finite."""


class Receptor(Mechanism):
    """A synaptic conductance; the equations are at the top of this file.

    Weights of its `SpikeTrain` are numbers of spikes at once (no unit). Several in a compartment need
    names: `AMPA(..., name="distal")`, and then `SpikeTrain(..., synapse="distal")`.

    **Arguments:** `g`, the conductance that a spike of weight 1 opens (nS); `tau_decay` and `tau_rise`
    (ms), by default without rise; `e`, the reversal potential (mV); `normalised`, whether the peak of a
    response with a tau_rise is `g`.

    Raises ValueError if tau_rise exceeds tau_decay.
    """

    g: Array = parameter("nS", low=0.0)
    tau_decay: Array = parameter("ms", low=0.0, exclusive=True)
    tau_rise: Array | None = parameter("ms", low=0.0, exclusive=True, optional=True)
    e: Array = parameter("mV", 0.0)
    normalised: bool = eqx.field(static=True, default=True, kw_only=True)

    linear: ClassVar[bool] = True

    def __check_init__(self):
        check_rise(self)

    def init(self, v: Array) -> State:
        closed = jnp.zeros_like(v)
        return {"open": closed} if self.tau_rise is None else {"rising": closed, "open": closed}

    def receive(self, state: State, drive: Array) -> State:
        if self.tau_rise is None:
            return {"open": state["open"] + drive}
        k = 1.0 / peak(self.tau_rise, self.tau_decay) if self.normalised else 1.0
        return {**state, "rising": state["rising"] + k * drive}

    def current(self, state: State, v: Array) -> Array:
        return self.g * state["open"] * (self.e - v)

    def advance(self, state: State, v: Array, dt: Array) -> State:
        closing = decay(state["open"], self.tau_decay, dt)
        if self.tau_rise is None:
            return {"open": closing}
        difference = dt * (1.0 / self.tau_rise - 1.0 / self.tau_decay)
        opened = dt * jnp.exp(-dt / self.tau_decay) * shrink(difference)
        rising = state["rising"]
        return {"rising": decay(rising, self.tau_rise, dt), "open": closing + opened * rising}

    def mean(self, state: State, v: Array, dt: Array) -> State:
        if self.tau_rise is None:
            return {"open": state["open"] * mean_decay(self.tau_decay, dt)}
        return super().mean(state, v, dt)


def peak(tau_rise: Array, tau_decay: Array) -> Array:
    """The peak (ms) of `open` after a kick of 1 to `rising`; finite also for equal time constants.

    tau_rise r^(r / (1 - r)) with r = tau_rise / tau_decay, and log(r) / (1 - r) -> -1 as r -> 1.
    """
    r = tau_rise / tau_decay
    q = 1.0 - r
    near = jnp.abs(q) < 1e-2
    series = -(1.0 + q * (1.0 / 2 + q * (1.0 / 3 + q * (1.0 / 4 + q * (1.0 / 5)))))
    slope = jnp.where(near, series, jnp.log(r) / jnp.where(near, 1.0, q))
    return tau_rise * jnp.exp(r * slope)


class AMPA(Receptor):
    """Fast excitation: a `Receptor` with e = 0 mV."""


class GABA(Receptor):
    """Inhibition: a `Receptor` with e = -80 mV."""

    e: Array = parameter("mV", -80.0)


class NMDA(Receptor):
    """Slow excitation that magnesium blocks near rest: a `Receptor` with e = 0 mV.

    **Arguments:** besides those of `Receptor`, of the block: `mg`, the concentration of magnesium
    (mM), `alpha` (1/mV), `beta` (mM) and `gamma` (mV).
    """

    mg: Array = parameter("mM", 1.0, low=0.0)
    alpha: Array = parameter("1/mV", 0.062, low=0.0)
    beta: Array = parameter("mM", 3.57, low=0.0, exclusive=True)
    gamma: Array = parameter("mV", 0.0)

    linear: ClassVar[bool] = False

    def current(self, state: State, v: Array) -> Array:
        exponent = at_most(-self.alpha * (v + self.gamma), MOST_BLOCKED)
        return super().current(state, v) / (1.0 + self.mg * jnp.exp(exponent) / self.beta)


def check_rise(mechanism: Receptor) -> None:
    """Raises ValueError where a tau_rise exceeds its tau_decay."""
    if mechanism.tau_rise is None:
        return
    name = type(mechanism).__name__
    check_bounds(
        f"{name}.tau_decay - tau_rise (the rise must be no slower than the decay)",
        mechanism.tau_decay - mechanism.tau_rise,
        unit="ms",
        low=0.0,
    )
