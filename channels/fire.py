"""Threshold, reset and refractory period for any Jaxley cell."""

import jax.numpy as jnp
from jaxley.channels import Channel

from .base import either_jaxley, own, prefixed
from .reset import AT_REST, after, begin, current_at, linear_current
from .surrogates import emitted, surrogate_parameters


@either_jaxley
class Fire(Channel):
    """Fires where the voltage reaches a threshold, resets it and holds it for a refractory period.

    With Jaxley's `Leak` it makes a LIF neuron; beside `HH` it replaces the repolarisation. Put no
    other channel beside it that writes the voltage.

    Parameters, each with the channel's name before it (`Fire_v_th`):

    | name | unit | default | |
    |---|---|---|---|
    | v_th, v_reset | mV | -50, -70 | where a spike is taken, and what it resets to |
    | t_ref | ms | 0 | refractory period: v is held |
    | surrogate, surrogate_beta | , 1/mV | 0, 1 | set by the arguments |

    States to record: `Fire_since` (ms since the last spike: see `spike_times`) and `Fire_spikes` (1
    in the step after a crossing, else 0), which Jaxley's spike synapses read.

    Gradients are those of the event times, in forward and in reverse mode. `Fire_spikes` is a
    constant, or with a surrogate has its derivative; the reset never does.

    **Arguments:** `name`; `surrogate`, "none", "sigmoid", "superspike", "arctan" or "triangle", and
    `beta` (1/mV), its sharpness. Raises ValueError for another surrogate, or beta not above 0.
    """

    _name: str

    def __init__(self, name: str | None = None, surrogate: str = "none", beta: float = 1.0):
        self.current_is_in_mA_per_cm2 = True
        super().__init__(name)
        parameters = {"v_th": -50.0, "v_reset": -70.0, "t_ref": 0.0}
        parameters |= surrogate_parameters(surrogate, beta)
        self.channel_params = prefixed(parameters, self._name)
        self.channel_states = prefixed({**AT_REST, "i": 0.0, "slope": 0.0}, self._name)
        self.current_name = f"i_{self._name}"

    def update_states(self, states, params, voltage, delta_t):
        """The states after the step, and the linear current for Jaxley's solve in it."""
        s, p, dt = own(states, self._name), own(params, self._name), delta_t
        step = begin(voltage, s, p["v_th"], p["v_reset"], p["t_ref"], dt)
        nothing = jnp.zeros_like(step.v)
        i, slope = linear_current(step, nothing, nothing, params["capacitance"], dt)
        spikes = emitted(step.fired, step.v - p["v_th"], p)
        return {"v": step.v, **prefixed(after(step, spikes, i, slope, dt), self._name)}

    def compute_current(self, states, voltage):
        """The outward current (mA/cm2): that of the reset."""
        return current_at(voltage, own(states, self._name))

    def init_state(self, voltage):
        """No spike yet."""
        fresh = {key: x + jnp.zeros_like(voltage) for key, x in AT_REST.items()}
        return prefixed(fresh, self._name)
