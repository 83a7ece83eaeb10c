"""An adaptation current w, and the leaky integrate-and-fire neuron with it.

I = g_leak (v_leak - v) - w
tau_w dw/dt = a (v - v_leak) - w
at a spike w -> w + b.
"""

# It takes the options of Spiking, which are by name only, for positional ones:
# pyright: reportGeneralTypeIssues=false

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..mechanism import State, parameter
from .spiking import Spiking


def adapt(w: Array, v: Array, a: Array, v_leak: Array, tau_w: Array, dt: Array) -> Array:
    """The adaptation current w (pA) after dt (ms) at voltage v (mV)."""
    w_inf = a * (v - v_leak)
    return w + (w - w_inf) * jnp.expm1(-dt / tau_w)  # in this form exact enough for float32


class Adaptive(Spiking):
    """Leak, threshold, resets and an adaptation current, which goes on in the refractory period."""

    g_leak: eqx.AbstractVar[Array]
    v_leak: eqx.AbstractVar[Array]
    a: eqx.AbstractVar[Array]
    tau_w: eqx.AbstractVar[Array]
    b: eqx.AbstractVar[Array]

    linear: ClassVar[bool] = True

    def init(self, v: Array) -> State:
        return {"w": jnp.zeros_like(v), **super().init(v)}

    def current(self, state: State, v: Array) -> Array:
        return self.g_leak * (self.v_leak - v) - state["w"]

    def advance(self, state: State, v: Array, dt: Array) -> State:
        w = adapt(state["w"], v, self.a, self.v_leak, self.tau_w, dt)
        return {"w": w, **super().advance(state, v, dt)}

    def jump(self, state: State, v: Array) -> tuple[State, Array]:
        state, v = super().jump(state, v)
        return {**state, "w": state["w"] + self.b}, v


class AdaptiveLIF(Adaptive):
    """A leaky integrate-and-fire neuron with an adaptation current: an AdEx without its exponential.

    The equations are at the top of this file; where v reaches v_th, the resets of `Spiking`.
    """

    g_leak: Array = parameter("nS", low=0.0)
    v_leak: Array = parameter("mV")
    a: Array = parameter("nS", 4.0)
    tau_w: Array = parameter("ms", 100.0, low=0.0, exclusive=True)
    b: Array = parameter("pA", 100.0)
    v_th: Array = parameter("mV", -50.0)
    v_reset: Array = parameter("mV", -70.0)
    t_ref: Array = parameter("ms", 0.0, low=0.0)
