"""The adaptive exponential integrate-and-fire neuron (Brette and Gerstner, 2005).

    I = g_leak (v_leak - v) + g_leak delta_T exp((v - v_exp) / delta_T) - w
    tau_w dw/dt = a (v - v_leak) - w
    where v reaches v_th:  v -> v_reset, frozen for t_ref;  w -> w + b.

The exponential alone has an exact flow. With x = (v - v_exp) / delta_T and u = exp(-x) it is
du/dt = -g_leak / C: a translation in u, which reaches any threshold in finite time. The functions
below take x no further than the peak (the threshold); beyond it, where no resolved trajectory goes,
the exponential stays at its value there, so that everything is finite for all voltages.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..clip import at_least, at_most, between
from ..mechanism import parameter
from .adaptive import Adaptive

SHARPEST = 1e-3
"""mV. A smaller delta_T acts like this one: the upstroke is then instantaneous."""

STEEPEST = 20.0
"""The largest x = (v - v_exp) / delta_T. From there v is infinite within C / g_leak exp(-20), some
1e-8 ms, so the spike is taken there; as delta_T -> 0, the threshold becomes v_exp (a LIF)."""


def peak(v_exp: Array, delta_T: Array, v_th: Array) -> Array:
    """The voltage (mV) at which the spike is taken: v_th, or where the upstroke is over."""
    return at_most(v_th, v_exp + STEEPEST * delta_T)


def exponential_current(
    v: Array, g_leak: Array, v_exp: Array, delta_T: Array, max_slope: Array
) -> Array:
    """The exponential's current (pA), continued linearly once its slope reaches max_slope (nS)."""
    delta_T = at_least(delta_T, SHARPEST)
    x = (v - v_exp) * (1.0 / delta_T)
    steepest = jnp.log(max_slope / at_least(g_leak, 1e-12))
    steepest = between(steepest, -STEEPEST, 2 * STEEPEST)
    below = x < steepest
    over = jnp.where(below, 0.0, x - steepest)
    return g_leak * delta_T * jnp.exp(jnp.where(below, x, steepest)) * (1.0 + over)


def exponential_flow(
    v: Array, rate: Array, v_exp: Array, delta_T: Array, v_peak: Array, dt: Array
) -> Array:
    """v (mV) after dt (ms) of dv/dt = rate delta_T exp((v - v_exp) / delta_T), rate = g_leak / C."""
    delta_T = at_least(delta_T, SHARPEST)
    end = at_most((v_peak - v_exp) / delta_T, STEEPEST)  # may lie far below v_exp
    top = at_least(end, -STEEPEST)
    peaked = v_exp + delta_T * end
    x = (v - v_exp) * (1.0 / delta_T)
    growth = jnp.exp(between(x, -STEEPEST, top))
    spent = rate * dt * growth  # of the time to infinity
    to_peak = 1.0 - jnp.exp(at_most(x - end, 0.0))
    # At the peak both branches have one value and one slope: rounding may choose either.
    late = spent - to_peak
    almost = 1.0 - 8.0 * jnp.finfo(v.dtype).eps
    rising = v - delta_T * _log1p(-at_most(spent, almost))
    beyond = at_least(v, peaked) + late / growth * delta_T * jnp.exp(top)
    return jnp.where(late < 0.0, rising, beyond)


@jax.custom_jvp
def _log1p(x: Array) -> Array:
    """log(1 + x), by its series up to |x| = 0.01: XLA's own is three times slower on the CPU."""
    series = jnp.zeros_like(x)
    for k in range(8, 0, -1):
        series = x * (1.0 / k - series)
    return jnp.where(jnp.abs(x) < 0.01, series, jnp.log(1.0 + x))


@_log1p.defjvp
def _log1p_jvp(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return _log1p(x), x_dot / (1.0 + x)


class AdEx(Adaptive):
    """Leak, exponential upstroke, adaptation, threshold, reset and refractory period (see `Spiking`).

    The equations are at the top of this file. In the refractory period w goes on.
    """

    g_leak: Array = parameter("nS", low=0.0)
    v_leak: Array = parameter("mV", -65.0)
    v_exp: Array = parameter("mV", -50.0)
    delta_T: Array = parameter("mV", 2.0, low=0.0)
    a: Array = parameter("nS", 4.0)
    tau_w: Array = parameter("ms", 100.0, low=0.0, exclusive=True)
    b: Array = parameter("pA", 100.0)
    v_th: Array = parameter("mV", -40.0)
    v_reset: Array = parameter("mV", -70.0)
    t_ref: Array = parameter("ms", 0.0, low=0.0)

    @property
    def v_peak(self) -> Array:
        return peak(self.v_exp, self.delta_T, self.v_th)

    def stiff_current(self, v: Array, max_slope: Array) -> Array:
        return exponential_current(v, self.g_leak, self.v_exp, self.delta_T, max_slope)

    def stiff_flow(self, v: Array, c_m: Array, dt: Array) -> Array:
        rate = self.g_leak / c_m
        return exponential_flow(v, rate, self.v_exp, self.delta_T, self.v_peak, dt)
