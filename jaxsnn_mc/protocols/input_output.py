"""Dendritic input-output curves: the measured sum of inputs against the expected one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..checks import as_count, as_positive, as_tuple, check_bounds
from ..inputs import SpikeTrain
from ..neuron import Neuron
from ..simulate import simulate
from .common import checked_synapses, event_counts, only_one, peak, window

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class InputOutput(eqx.Module):
    """Potentials of `numbers` (K,) of inputs into a dendrite, mV above the voltage before: `measured`
    and `expected` (the sum of single ones, each at its time) at `at`, and `local`, in the dendrite.
    `steepest` is the largest slope at `at`, mV/ms; `counts` the events of each source."""

    dendrite: str = eqx.field(static=True)
    at: str = eqx.field(static=True)
    numbers: tuple[int, ...] = eqx.field(static=True)
    measured: Array
    expected: Array
    local: Array
    steepest: Array
    counts: dict[str, Array]

    @property
    def gain(self) -> Array:
        """Measured over expected (K,): above 1 is supralinear."""
        return self.measured / self.expected

    def threshold(self, source: str) -> int | None:
        """The smallest of the numbers at which a source, such as "dist.DendriticSpike", fires."""
        if source not in self.counts:
            raise ValueError(f"{source!r} does not fire; there are {list(self.counts)}.")
        fired = np.flatnonzero(np.asarray(self.counts[source]))
        return self.numbers[fired[0]] if fired.size else None

    def plot(self, overlay: Mapping[str, "InputOutput"] | None = None, label: str = "") -> "Figure":
        """Measured against expected, and over the number of inputs; `overlay`, other curves (such as
        without dendritic spikes) by their labels."""
        from ..plot_protocols import plot_input_output

        return plot_input_output({label: self, **(overlay or {})})


def input_output(
    neuron: Neuron,
    dendrite: str,
    synapses: Mapping[str, float],
    numbers: Sequence[int],
    *,
    interval: float = 0.0,
    at: str = "soma",
    delay: float = 10.0,
    duration: float = 150.0,
    **options: Any,
) -> InputOutput:
    """Several inputs into a dendrite, at once or one after the other; all numbers in one call.

    **Arguments:** `synapses`, what one input reaches, a weight by the mechanism's name, such as
    {"AMPA": 1.0, "NMDA": 1.0}; `numbers` of inputs; `interval` from one to the next (ms); `at`, where
    it is measured; the first comes after `delay` and is watched for `duration` (ms); `options` go to
    `simulate`. For the curve without dendritic spikes, give the neuron without them.

    Raises ValueError for a population, where a synapse is missing, and as `simulate` does.
    """
    only_one(neuron, "input_output")
    t_max = as_positive(delay, "delay") + as_positive(duration, "duration")
    check_bounds("interval", np.asarray(interval), "ms", low=0.0)
    numbers = tuple(as_count(n, "Each of numbers") for n in as_tuple(numbers, "numbers"))
    if not numbers:
        raise ValueError("numbers must be a list of numbers of inputs, got an empty one.")
    weights = checked_synapses(neuron, (dendrite,), synapses)
    one_first = np.array([1, *numbers])
    shifts = jnp.arange(max(numbers)) * interval
    there = jnp.arange(shifts.size) < one_first[:, None]
    times = jnp.where(there, delay + shifts, jnp.inf)
    trains = [SpikeTrain(dendrite, times, w, synapse) for synapse, w in weights.items()]
    record = list(dict.fromkeys([at, dendrite]))
    solution = simulate(neuron, trains, t_max=t_max, record=record, **options)
    during = window(solution, delay, t_max)
    there, here = (solution[name][..., during] for name in (at, dendrite))
    change = there - there[..., :1]
    ts = jnp.asarray(solution.ts[during], change.dtype)
    return InputOutput(
        dendrite=dendrite,
        at=at,
        numbers=numbers,
        measured=peak(change)[1:],
        expected=_expected(ts, change[0], shifts, one_first[1:]),
        local=peak(here - here[..., :1])[1:],
        steepest=jnp.max(jnp.diff(there, axis=-1), axis=-1)[1:] / (ts[1] - ts[0]),
        counts={name: count[1:] for name, count in event_counts(solution).items()},
    )


def _expected(ts: Array, single: Array, shifts: Array, numbers: np.ndarray) -> Array:
    """The peaks (K,) of the sums of a single potential (R,), each shifted."""

    def later(shift: Array) -> Array:
        return jnp.interp(ts - shift, ts, single, left=0.0)

    sums = jnp.cumsum(jax.vmap(later)(shifts), axis=0)
    return peak(sums)[numbers - 1]
