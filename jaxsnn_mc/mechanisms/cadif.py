"""Integrate-and-fire with an adaptation conductance, as in Dendrify's CA1 cell.

I = g_leak (v_leak - v) + g_a (e_a - v)
tau_a dg_a/dt = a |v - v_a| - g_a
where v reaches v_th:  g_a -> g_a + b, and the reset of `Spiking`.
"""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from ..mechanism import State, parameter
from .lif import LIF


class CAdIF(LIF):
    """A `LIF` with an adaptation conductance g_a; the equations are at the top of this file.

    In Dendrify's terms `a` is gAmax, `b` is delta_gA, `v_a` is VA and `e_a` is EA.
    """

    a: Array = parameter("nS/mV", 0.15, low=0.0)
    tau_a: Array = parameter("ms", 45.0, low=0.0, exclusive=True)
    b: Array = parameter("nS", 21.0, low=0.0)
    v_a: Array = parameter("mV", -65.0)
    e_a: Array = parameter("mV", -65.0)

    linear: ClassVar[bool] = True

    def opened(self, v: Array) -> Array:
        """The conductance (nS) that the voltage v (mV) opens in the long run."""
        return self.a * jnp.abs(v - self.v_a)

    def init(self, v: Array) -> State:
        return {"g_a": self.opened(v), **super().init(v)}

    def current(self, state: State, v: Array) -> Array:
        return super().current(state, v) + state["g_a"] * (self.e_a - v)

    def advance(self, state: State, v: Array, dt: Array) -> State:
        g_a = state["g_a"] + (state["g_a"] - self.opened(v)) * jnp.expm1(-dt / self.tau_a)
        return {"g_a": g_a, **super().advance(state, v, dt)}

    def jump(self, state: State, v: Array) -> tuple[State, Array]:
        state, v = super().jump(state, v)
        return {**state, "g_a": state["g_a"] + self.b}, v
