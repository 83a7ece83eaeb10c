"""The leaky integrate-and-fire neuron."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from ..mechanism import Mechanism, State, check_bounds, parameter


def check_reset(mechanism) -> None:
    """Raises ValueError where a reset would not bring the voltage below the threshold."""
    message = "the reset must lie below the threshold, or the neuron fires without end"
    check_bounds(
        f"{type(mechanism).__name__}.v_th - v_reset ({message})",
        mechanism.v_th - mechanism.v_reset,
        unit="mV",
        low=0.0,
        exclusive=True,
    )


class LIF(Mechanism):
    """Leak, threshold, reset and an absolute refractory period in which the voltage is frozen.

    I = g_leak (v_leak - v); where v reaches v_th: v -> v_reset, frozen for t_ref.
    """

    g_leak: Array = parameter("nS", low=0.0)
    v_leak: Array = parameter("mV")
    v_th: Array = parameter("mV", -50.0)
    v_reset: Array = parameter("mV", -70.0)
    t_ref: Array = parameter("ms", 0.0, low=0.0)

    linear: ClassVar[bool] = True

    def __check_init__(self):
        check_reset(self)

    def init(self, v: Array) -> State:
        return {"refractory": jnp.zeros_like(v)}

    def current(self, state: State, v: Array) -> Array:
        return self.g_leak * (self.v_leak - v)

    def advance(self, state: State, v: Array, dt: Array) -> State:
        return {"refractory": jnp.maximum(state["refractory"] - dt, 0.0)}

    def event(self, state: State, v: Array) -> Array:
        return v - self.v_th

    def jump(self, state: State, v: Array) -> tuple[State, Array]:
        return {"refractory": self.t_ref + jnp.zeros_like(v)}, self.v_reset + jnp.zeros_like(v)

    def held(self, state: State) -> Array:
        return state["refractory"]
