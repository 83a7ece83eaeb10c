"""The adaptive exponential integrate-and-fire neuron as a Jaxley channel."""

import jax
import jax.numpy as jnp
from jaxley.channels import Channel
from jaxtyping import Array

from jaxsnn_mc.mechanisms.adaptive import adapt
from jaxsnn_mc.mechanisms.adex import exponential_current, peak

from .base import either_jaxley, own, prefixed
from .reset import AT_REST, after, begin, current_at, linear_current
from .surrogates import emitted, surrogate_parameters

STEEPEST_SLOPE = 0.5
"""The steepest slope of the exponential that a step sees, in units of C / dt: at 1 the one linear
solve that Jaxley makes has a pole."""


@either_jaxley
class AdEx(Channel):
    """Leak, exponential upstroke, adaptation, threshold, reset and refractory period.

    The equations are those of `jaxsnn_mc.AdEx`, per area. All currents flow inside Jaxley's own
    voltage step. Put no `Leak` beside it, and no other channel that writes the voltage.

    Parameters, each with the channel's name before it (`AdEx_g_leak`); the defaults are meant for
    Jaxley's default capacitance, 1 uF/cm2:

    | name | unit | default | |
    |---|---|---|---|
    | g_leak | S/cm2 | 1e-4 | leak conductance, of the exponential too |
    | v_leak | mV | -65 | reversal of the leak |
    | v_exp, delta_T | mV | -50, 2 | where the upstroke starts, and how sharply |
    | a | S/cm2 | 4e-5 | adaptation to the voltage |
    | tau_w | ms | 100 | time constant of the adaptation |
    | b | mA/cm2 | 1e-3 | adaptation by each spike |
    | v_th, v_reset | mV | -40, -70 | where a spike is taken, and what it resets to |
    | t_ref | ms | 0 | refractory period: v is held, w goes on |
    | theta | | 0.5 | share of the current's slope that Jaxley's solve sees, see below |
    | surrogate, surrogate_beta | , 1/mV | 0, 1 | set by the arguments |

    States to record: `AdEx_w` (mA/cm2, half a step ahead), `AdEx_since` (ms since the last spike: see
    `spike_times`) and `AdEx_spikes` (1 in the step after a crossing, else 0), of which `Fire_spikes`
    is a copy, the name under which Jaxley's spike synapses look.

    Backward Euler takes the slope of a current a half too much into account. With theta = 0.5 the
    channel's own currents are of second order under "bwd_euler"; with "crank_nicolson" and
    "exp_euler" theta = 1 is better, with "fwd_euler" it makes no difference.

    Gradients are those of the event times, in forward and in reverse mode. `AdEx_spikes` is a
    constant, or with a surrogate has its derivative; the reset never does.

    **Arguments:** `name`; `surrogate`, "none", "sigmoid", "superspike", "arctan" or "triangle"
    (raises ValueError for another); `beta` (1/mV).
    """

    _name: str

    def __init__(self, name: str | None = None, surrogate: str = "none", beta: float = 1.0):
        self.current_is_in_mA_per_cm2 = True
        super().__init__(name)
        parameters = {
            "g_leak": 1e-4,
            "v_leak": -65.0,
            "v_exp": -50.0,
            "delta_T": 2.0,
            "a": 4e-5,
            "tau_w": 100.0,
            "b": 1e-3,
            "v_th": -40.0,
            "v_reset": -70.0,
            "t_ref": 0.0,
            "theta": 0.5,
            **surrogate_parameters(surrogate, beta),
        }
        states = {"w": 0.0, **AT_REST, "i": 0.0, "slope": 0.0}
        self.channel_params = prefixed(parameters, self._name)
        self.channel_states = {**prefixed(states, self._name), "Fire_spikes": 0.0}
        self.current_name = f"i_{self._name}"

    def update_states(self, states, params, voltage, delta_t):
        """The states after the step, and the linear current for Jaxley's solve in it."""
        s, p, dt = own(states, self._name), own(params, self._name), delta_t
        v_peak = peak(p["v_exp"], p["delta_T"], p["v_th"])
        step = begin(voltage, s, v_peak, p["v_reset"], p["t_ref"], dt)

        # Up to the middle of the step; linear, so what a crossing changed since is simply added.
        w = adapt(s["w"], jnp.minimum(step.v, v_peak), p["a"], p["v_leak"], p["tau_w"], dt)
        ago = step.since + 0.5 * dt
        kick = adapt(p["b"], p["v_reset"], p["a"], v_peak, p["tau_w"], ago)
        w = w + jnp.where(step.fired, kick, 0.0)

        def outward(v: Array) -> Array:
            steepest = STEEPEST_SLOPE * 1e-3 * params["capacitance"] / dt
            upstroke = exponential_current(v, p["g_leak"], p["v_exp"], p["delta_T"], steepest)
            return p["g_leak"] * (v - p["v_leak"]) - upstroke + w

        i, slope = jax.jvp(outward, (step.start,), (jnp.ones_like(step.start),))
        i, slope = linear_current(step, i, p["theta"] * slope, params["capacitance"], dt)
        spikes = emitted(step.fired, step.v - v_peak, p)
        new = prefixed({"w": w, **after(step, spikes, i, slope, dt)}, self._name)
        return {"v": step.v, "Fire_spikes": spikes, **new}

    def compute_current(self, states, voltage):
        """The outward current (mA/cm2)."""
        return current_at(voltage, own(states, self._name))

    def init_state(self, params, voltage):
        """The adaptation in its steady state, and no spike yet."""
        p = own(params, self._name)
        fresh = {key: x + jnp.zeros_like(voltage) for key, x in AT_REST.items()}
        fresh["w"] = p["a"] * (voltage - p["v_leak"])
        return {"Fire_spikes": fresh["spikes"], **prefixed(fresh, self._name)}
