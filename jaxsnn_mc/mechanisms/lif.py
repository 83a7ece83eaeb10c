"""The leaky integrate-and-fire neuron."""

from typing import ClassVar

from jaxtyping import Array

from ..mechanism import State, parameter
from .spiking import Spiking


class LIF(Spiking):
    """Leak, threshold, reset and a refractory period (see `Spiking`).

    I = g_leak (v_leak - v); where v reaches v_th: v -> v_reset, frozen for t_ref.
    """

    g_leak: Array = parameter("nS", low=0.0)
    v_leak: Array = parameter("mV")
    v_th: Array = parameter("mV", -50.0)
    v_reset: Array = parameter("mV", -70.0)
    t_ref: Array = parameter("ms", 0.0, low=0.0)

    linear: ClassVar[bool] = True

    def current(self, state: State, v: Array) -> Array:
        return self.g_leak * (self.v_leak - v)
