"""The F-I curve: spikes against current."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..checks import as_float, as_positive
from ..inputs import StepCurrent
from ..neuron import Neuron
from ..solution import Solution
from .common import only_one, recorded

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FICurve(eqx.Module):
    """Spikes against current. `currents` (M,) pA; `counts` (M,), the spikes during the step;
    `spikes` (M, K), their times from the step's start, ms, padded with inf."""

    source: str | None = eqx.field(static=True)
    duration: float = eqx.field(static=True)
    currents: Array
    counts: Array
    spikes: Array
    solution: Solution

    @property
    def rates(self) -> Array:
        """Spikes over the step's duration, Hz; differentiable by a `Surrogate`."""
        return self.counts * (1e3 / self.duration)

    @property
    def interval_rates(self) -> Array:
        """The rate between the first and the last spike, (count - 1) / (t_last - t_first), Hz, and 0
        with fewer than two: it moves with every spike time, and is differentiable by `Exact`."""
        there = jnp.isfinite(self.spikes)
        count = there.sum(-1)
        times = jnp.where(there, self.spikes, 0.0)
        at = jnp.maximum(count - 1, 0)[..., None]
        last = jnp.take_along_axis(times, at, axis=-1)[..., 0]
        several = count > 1
        span = jnp.where(several, last - times[..., 0], 1.0)
        return jnp.where(several, 1e3 * (count - 1) / span, 0.0)

    def plot(self, overlay: Mapping[str, "FICurve"] | None = None, label: str = "") -> "Figure":
        """Rate against current; `overlay`, other curves by their labels."""
        from ..plot_protocols import plot_f_i_curve

        return plot_f_i_curve({label: self, **(overlay or {})})


def f_i_curve(
    neuron: Neuron,
    at: str,
    currents: Any,
    *,
    duration: float = 1000.0,
    delay: float = 50.0,
    source: str | None = None,
    **options: Any,
) -> FICurve:
    """The F-I curve: spikes during steps of several currents, all in one call.

    **Arguments:** `at`, the compartment of the current; `currents` (M,) pA; `duration` of a step and
    the `delay` before it, ms; `source`, whose spikes to count (as for `Solution.spikes`), by default
    `at`; `options` go to `simulate`, such as `method`, `dt` and `spike_rule`.

    Raises ValueError for a population, for currents that are no array, and as `simulate` does.
    """
    only_one(neuron, "f_i_curve")
    currents = as_float(currents, "currents")
    if currents.ndim != 1:
        raise ValueError(f"currents must be an array (M,) of pA, got the shape {currents.shape}.")
    t_max = as_positive(delay, "delay") + as_positive(duration, "duration")
    source = at if source is None else source
    current = StepCurrent(at, currents, delay)
    solution = recorded(neuron, [current], t_max=t_max, record=[at], **options)
    times = solution.spikes(source)
    times = jnp.sort(jnp.where(times >= delay, times - delay, jnp.inf), axis=-1)
    counts = jnp.isfinite(times).sum(-1)
    if solution.train is not None:
        train, dt = solution.spike_train(source), solution.t_max / solution.n_steps
        counts = train[..., round(delay / dt) :].sum(-1)
    return FICurve(source, float(duration), currents, counts, times, solution)
