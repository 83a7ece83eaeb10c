"""A step of current: input resistance, sag, time constants, and attenuation between compartments."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..checks import as_float, as_positive, check_bounds, known
from ..inputs import StepCurrent
from ..neuron import Neuron
from ..solution import Solution
from .common import peak, recorded, window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIT_ITERATIONS = 8
"""Gauss-Newton steps of the fit of a time constant; they square the error each."""


class StepResponse(eqx.Module):
    """The answer to a step of current into a compartment; of a population, with its batch axis.

    `v_rest` is the voltage just before the step, `v_steady` at its end and `v_peak` where it is
    furthest from rest during the step, mV, all of the compartment `at`.
    """

    at: str = eqx.field(static=True)
    amplitude: Array
    delay: float = eqx.field(static=True)
    duration: float = eqx.field(static=True)
    solution: Solution

    @property
    def ts(self) -> np.ndarray:
        """The times (R,) of the step's records from its start on, ms."""
        return self.solution.ts[self._during] - self.delay

    @property
    def _during(self) -> slice:
        return window(self.solution, self.delay, self.delay + self.duration)

    @property
    def v_rest(self) -> Array:
        return self.solution[self.at][..., self._during.start]

    @property
    def v_steady(self) -> Array:
        return self.solution[self.at][..., self._during.stop - 1]

    @property
    def v_peak(self) -> Array:
        return self.v_rest + peak(self._change)

    @property
    def _change(self) -> Array:
        return self.solution[self.at][..., self._during] - self.v_rest[..., None]

    @property
    def input_resistance(self) -> Array:
        """The steady change of voltage over the current, MOhm."""
        return 1e3 * (self.v_steady - self.v_rest) / self.amplitude

    @property
    def peak_resistance(self) -> Array:
        """The largest change of voltage over the current, MOhm."""
        return 1e3 * (self.v_peak - self.v_rest) / self.amplitude

    @property
    def sag_ratio(self) -> Array:
        """The steady change over the largest one: 1 without sag."""
        return (self.v_steady - self.v_rest) / (self.v_peak - self.v_rest)

    @property
    def time_constant(self) -> Array:
        """The membrane's time constant, ms: of the a exp(-t / tau) that fits best, by least squares,
        what is left to the peak, from the start of the step to its peak."""
        part, before = self._charging
        ts = jnp.asarray(self.ts, part.dtype)
        return _fit_exponential(ts, 1.0 - part, jnp.where(before, 1.0, 0.0))

    @property
    def time_to_63(self) -> Array:
        """The time to 1 - 1/e of the peak, ms, linear between the records."""
        part, before = self._charging
        late = before & (part >= 1.0 - math.exp(-1.0))
        k = jnp.maximum(jnp.argmax(late, axis=-1), 1)[..., None]
        now, last = (jnp.take_along_axis(part, i, axis=-1)[..., 0] for i in (k, k - 1))
        ts = jnp.asarray(self.ts, part.dtype)
        after = (1.0 - math.exp(-1.0) - last) / (now - last)
        return ts[k[..., 0] - 1] + after * (ts[1] - ts[0])

    @property
    def _charging(self) -> tuple[Array, Array]:
        """The change of voltage as a part of its peak, and which records come up to the peak."""
        change = self._change
        part = change / peak(change)[..., None]
        return part, jnp.arange(part.shape[-1]) <= jnp.argmax(part, axis=-1)[..., None]

    def attenuation(self, compartment: str) -> Array:
        """The part of the steady change of voltage that arrives in a compartment."""
        v = self.solution[compartment]
        there = v[..., self._during.stop - 1] - v[..., self._during.start]
        return there / (self.v_steady - self.v_rest)

    def plot(self, neuron: int = 0) -> "Figure":
        """The voltages, with the rest, the peak, the steady state and the fit; of a population that
        of number `neuron`."""
        from ..plot_protocols import plot_step_response

        return plot_step_response(self, neuron)


def _fit_exponential(ts: Array, y: Array, weight: Array) -> Array:
    """The tau of the a exp(-t / tau) that fits y (..., R) best where `weight` (..., R) is 1.

    Gauss-Newton in a and k = 1 / tau, from the straight line through log y where y is large.
    """

    def total_of(x: Array) -> Array:
        return x.sum(-1, keepdims=True)

    large = weight * jnp.where(y > 0.1, y**2, 0.0)
    total = total_of(large)
    t, log_y = ts - total_of(large * ts) / total, jnp.log(jnp.maximum(y, 0.1))
    k = -total_of(large * t * log_y) / total_of(large * t * t)
    a = jnp.exp(total_of(large * (log_y + k * ts)) / total)
    for _ in range(FIT_ITERATIONS):
        by_a = jnp.exp(-k * ts)
        by_k, residual = -a * ts * by_a, y - a * by_a
        aa, ak, kk = (total_of(weight * x) for x in (by_a * by_a, by_a * by_k, by_k * by_k))
        ra, rk = total_of(weight * residual * by_a), total_of(weight * residual * by_k)
        determinant = aa * kk - ak * ak
        a = a + (kk * ra - ak * rk) / determinant
        k = k + (aa * rk - ak * ra) / determinant
    return 1.0 / k[..., 0]


def step_response(
    neuron: Neuron,
    at: str,
    amplitude: Any = -10.0,
    *,
    delay: float = 50.0,
    duration: float = 500.0,
    after: float = 100.0,
    record: Sequence[str] | None = None,
    **options: Any,
) -> StepResponse:
    """A step of current, and from it: input resistance, sag, time constants, attenuation.

    In float32 a voltage near -65 mV stops up to 8e-6 mV tau / dt short of its steady state: for
    resistances use float64, or a large amplitude.

    **Arguments:** `at`, the compartment; `amplitude` (pA), of either sign, or (B,); `delay`,
    `duration` and `after`, the lengths of the run before, during and after the step (ms); `record`,
    the compartments of interest besides `at`, by default all; `options` go to `simulate`, such as
    `method` and `dt`.

    Raises ValueError for a step of no current, and as `simulate` does.
    """
    amplitude = as_float(amplitude, "amplitude")
    if known(amplitude) and not np.all(np.asarray(amplitude)):
        raise ValueError("amplitude must be a current (pA) that is not 0, got 0.")
    stop = as_positive(delay, "delay") + as_positive(duration, "duration")
    check_bounds("after", np.asarray(after), "ms", low=0.0)
    names = list(neuron.names if record is None else dict.fromkeys([at, *record]))
    current = StepCurrent(at, amplitude, delay, stop)
    solution = recorded(neuron, [current], t_max=stop + after, record=names, **options)
    return StepResponse(at, amplitude, float(delay), float(duration), solution)
