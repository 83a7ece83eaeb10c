"""Synapses with a current of their own, whatever the voltage."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from ..mechanism import Mechanism, State, parameter
from .kinetics import decay, mean_decay


class CurrentSynapse(Mechanism):
    """An exponentially decaying current: dI/dt = -I / tau_syn, I -> I + weight (pA) at a spike."""

    tau_syn: Array = parameter("ms", 5.0, low=0.0, exclusive=True)

    linear: ClassVar[bool] = True

    def init(self, v: Array) -> State:
        return {"i": jnp.zeros_like(v)}

    def receive(self, state: State, drive: Array) -> State:
        return {"i": state["i"] + drive}

    def current(self, state: State, v: Array) -> Array:
        return state["i"] + jnp.zeros_like(v)

    def advance(self, state: State, v: Array, dt: Array) -> State:
        return {"i": decay(state["i"], self.tau_syn, dt)}

    def mean(self, state: State, v: Array, dt: Array) -> State:
        return {"i": state["i"] * mean_decay(self.tau_syn, dt)}
