"""What a spiking compartment does at its threshold: one or two resets, and a refractory period.

By default v -> v_reset, and the voltage is frozen for t_ref. Two options, for all models alike:

- `v_spike` and `spike_width`: at threshold v -> v_spike, and only `spike_width` later v -> v_reset.
- `frozen=False`: the voltage goes on freely; t_ref only keeps the neuron from firing again. Above the
  threshold at its end it fires at once. (Brian2's and so Dendrify's refractory period.)
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..clip import at_least, at_most
from ..mechanism import Mechanism, State, check_bounds, parameter

STEEP = 1e3
"""mV/ms. A margin in ms times this is a margin in mV: soon after the end of a refractory period it is
the voltage alone that decides."""


def both(v_margin: Array, since_ready: Array) -> Array:
    """A margin (mV) that is positive once the voltage is above threshold by `v_margin` (mV) and the
    mechanism ready to fire for `since_ready` (ms)."""
    return at_most(v_margin, STEEP * since_ready)


class Spiking(Mechanism):
    """Threshold, resets and refractory period, for a model with v_th, v_reset (mV) and t_ref (ms).

    **Arguments:** `v_spike` (mV) and `spike_width` (ms), a first reset and the time to the second one;
    `frozen`, whether the voltage is frozen for t_ref.

    Raises ValueError for a v_reset that is not below v_th, for a v_spike without a spike_width or the
    other way round, and for a spike_width that exceeds t_ref.
    """

    v_th: eqx.AbstractVar[Array]
    v_reset: eqx.AbstractVar[Array]
    t_ref: eqx.AbstractVar[Array]
    v_spike: Array | None = parameter("mV", optional=True, kw_only=True)
    spike_width: Array | None = parameter(
        "ms", low=0.0, exclusive=True, optional=True, kw_only=True
    )
    frozen: bool = eqx.field(static=True, default=True, kw_only=True)

    def __check_init__(self):
        name = type(self).__name__
        message = "the reset must lie below the threshold, or the neuron fires without end"
        distance = self.v_th - self.v_reset
        check_bounds(f"{name}.v_th - v_reset ({message})", distance, "mV", 0.0, exclusive=True)
        if (self.v_spike is None) != (self.spike_width is None):
            raise ValueError(
                f"{name}.v_spike and spike_width belong together: give both for a second reset, or "
                f"neither; got {self.v_spike} and {self.spike_width}."
            )
        if self.spike_width is not None:
            message = "the refractory period must last until the second reset"
            rest = self.t_ref - self.spike_width
            check_bounds(f"{name}.t_ref - spike_width ({message})", rest, "ms", 0.0)

    @property
    def v_peak(self) -> Array:
        """The voltage (mV) at which the spike is taken."""
        return self.v_th

    @property
    def options(self) -> str:
        """What it has besides one reset and a frozen refractory period, "" if nothing."""
        used = ["v_spike"] if self.v_spike is not None else []
        return " and ".join(used if self.frozen else [*used, "frozen=False"])

    @property
    def waits(self) -> bool:
        """Whether the refractory period has to keep the neuron from firing (frozen at v_reset it
        cannot)."""
        return self.v_spike is not None or not self.frozen

    def init(self, v: Array) -> State:
        ready = jnp.full_like(v, -1.0) if self.waits else jnp.zeros_like(v)
        return {"refractory": ready} | (
            {"width": jnp.zeros_like(v)} if self.v_spike is not None else {}
        )

    def advance(self, state: State, v: Array, dt: Array) -> State:
        ready = -1.0 if self.waits else 0.0
        after = {"refractory": at_least(state["refractory"] - dt, ready)}
        if self.v_spike is not None:
            after["width"] = at_least(state["width"] - dt, 0.0)
        return after

    def event(self, state: State, v: Array) -> Array:
        margin = v - self.v_peak
        return both(margin, -state["refractory"]) if self.waits else margin

    def jump(self, state: State, v: Array) -> tuple[State, Array]:
        state = {**state, "refractory": self.t_ref + jnp.zeros_like(v)}
        if self.v_spike is None or self.spike_width is None:
            return state, self.v_reset + jnp.zeros_like(v)
        state["width"] = self.spike_width + jnp.zeros_like(v)
        return state, self.v_spike + jnp.zeros_like(v)

    def held(self, state: State) -> Array | None:
        return state["refractory"] if self.frozen else None

    def due(self, state: State) -> Array | None:
        return state.get("width")

    def switch(self, state: State, v: Array) -> tuple[State, Array]:
        return state, self.v_reset + jnp.zeros_like(v)
