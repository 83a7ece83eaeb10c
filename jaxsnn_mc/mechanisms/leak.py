"""The passive membrane."""

from typing import ClassVar

from jaxtyping import Array

from ..mechanism import Mechanism, State, parameter


class Leak(Mechanism):
    """A constant conductance: I = g_leak (v_leak - v)."""

    g_leak: Array = parameter("nS", low=0.0)
    v_leak: Array = parameter("mV")

    linear: ClassVar[bool] = True

    def current(self, state: State, v: Array) -> Array:
        return self.g_leak * (self.v_leak - v)
