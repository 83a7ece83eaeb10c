"""What drives a neuron from outside: currents and spike trains.

A current says its mean over any part of a step (`mean`) or, if it is sampled, over each step
(`per_step`). A spike train says the weight that arrives at the start of each step.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .checks import as_float, as_positive, check_bounds, known
from .clip import at_least, between
from .mechanism import Mechanism
from .neuron import Neuron
from .noise import NoiseCurrent


class StepCurrent(eqx.Module):
    """A constant current of `amplitude` (pA) into a compartment from `start` to `stop` (ms).

    By default it lasts for the whole run. Its edges need not lie on the grid.
    """

    compartment: str = eqx.field(static=True)
    amplitude: Array
    start: Array | None
    stop: Array | None

    def __init__(self, compartment: str, amplitude: Any, start: Any = None, stop: Any = None):
        of = f"of the current into {compartment!r}"
        self.compartment = compartment
        self.amplitude = as_float(amplitude, f"The amplitude {of}")
        self.start = as_float(start, f"The start {of}", optional=True)
        self.stop = as_float(stop, f"The stop {of}", optional=True)
        check_bounds(f"The amplitude {of}", self.amplitude, "pA")

    @property
    def ndims(self) -> "StepCurrent":
        """The number of axes of each leaf without a batch axis."""
        return jax.tree.map(lambda _: 0, self)

    def check(self, neuron: Neuron, t_max: float, dt: float) -> None:
        """Raises ValueError for an unknown compartment or times outside the run."""
        neuron.tree.index(self.compartment)
        where = f"the current into {self.compartment!r}"
        _check_within(f"The start of {where}", self.start, t_max)
        _check_within(f"The stop of {where}", self.stop, t_max, last=True)
        start = np.zeros(()) if self.start is None else self.start
        if known(start) and known(self.stop):
            start, stop = np.broadcast_arrays(start, self.stop)
            for i in np.argwhere(start >= stop)[:1]:
                raise ValueError(
                    f"The stop of {where} must be after its start at {start[*i]:g} ms, got "
                    f"{stop[*i]:g}."
                )

    def mean(self, t: Array, h: Array) -> Array:
        """The mean current (pA) over t to t + h (ms)."""
        h = at_least(h, 1e-9)
        before = 1.0 if self.stop is None else between((self.stop - t) / h, 0.0, 1.0)
        after = 0.0 if self.start is None else between((self.start - t) / h, 0.0, 1.0)
        return self.amplitude * (before - after)


class SampledCurrent(eqx.Module):
    """A current (pA) with `values` (M,) at the times 0, dt, 2 dt, ... (ms), linear in between.

    The last sample holds for another `dt`. Samples finer than the step are refused: average them.
    """

    compartment: str = eqx.field(static=True)
    values: Array
    dt: float = eqx.field(static=True)

    def __init__(self, compartment: str, values: Any, dt: float):
        of = f"of the current into {compartment!r}"
        self.compartment = compartment
        self.values = as_float(values, f"The samples {of}")
        self.dt = as_positive(dt, f"The dt {of}")
        shape = self.values.shape
        if not shape or shape[-1] < 2:
            raise ValueError(f"The values {of} must be 2 samples at least, got the shape {shape}.")
        check_bounds(f"A sample {of}", self.values, "pA")

    @property
    def ndims(self) -> "SampledCurrent":
        """The number of axes of each leaf without a batch axis."""
        return jax.tree.map(lambda _: 1, self)

    def check(self, neuron: Neuron, t_max: float, dt: float) -> None:
        """Raises ValueError for an unknown compartment, too few samples or too fine ones."""
        neuron.tree.index(self.compartment)
        lasts = self.values.shape[-1] * self.dt
        if lasts < t_max * (1 - 1e-9):
            raise ValueError(
                f"The sampled current into {self.compartment!r} lasts {lasts:g} ms, the run "
                f"{t_max:g} ms; give more samples or shorten the run."
            )
        if self.dt < dt * (1 - 1e-9):
            raise ValueError(
                f"The samples of the current into {self.compartment!r} are {self.dt:g} ms apart, "
                f"finer than the step of {dt:g} ms; average them over the steps or lower dt."
            )

    def per_step(self, n_steps: int, dt: Array) -> Array:
        """The mean current (pA) over each step (n_steps,): its value at the midpoint."""
        at = (jnp.arange(n_steps) + 0.5) * (dt / self.dt)
        return jnp.interp(at, jnp.arange(self.values.shape[0]), self.values)


class SpikeTrain(eqx.Module):
    """Input spikes into a synapse of a compartment at `times` (M,) ms with `weights` (M,) or scalar.

    The unit of a weight is the synapse's (pA for CurrentSynapse). Times need not lie on the grid: a
    spike is shared between the two step boundaries around it so that its charge and its mean time
    are kept (second order); its derivative by the time is that of central differences around these
    two (the shares' own would be of first order). A time of inf is no spike: it pads trains of
    different lengths.
    """

    compartment: str = eqx.field(static=True)
    times: Array
    weights: Array
    synapse: str = eqx.field(static=True)

    def __init__(self, compartment: str, times: Any, weights: Any, synapse: str = "CurrentSynapse"):
        of = f"of the spike train into {compartment!r}"
        self.compartment, self.synapse = compartment, synapse
        self.times = as_float(times, f"The times {of}")
        weights = as_float(weights, f"The weights {of}")
        if self.times.ndim < 1:
            raise ValueError(f"The times {of} must be an array, got {times!r}.")
        n = self.times.shape[-1]
        self.weights = weights if weights.ndim else jnp.full((n,), weights)
        if self.weights.shape[-1] != n:
            raise ValueError(
                f"The spike train into {compartment!r} has {n} times and {self.weights.shape[-1]} "
                "weights; give one weight for each time, or one for all."
            )
        check_bounds(f"A weight {of}", self.weights, "pA or nS")

    @property
    def ndims(self) -> "SpikeTrain":
        """The number of axes of each leaf without a batch axis."""
        return jax.tree.map(lambda _: 1, self)

    def check(self, neuron: Neuron, t_max: float, dt: float) -> None:
        """Raises ValueError for an unknown compartment or synapse and for times outside the run."""
        k, _ = neuron.find(self.compartment, self.synapse)
        if type(neuron.mechanisms[k]).receive is Mechanism.receive:
            raise ValueError(
                f"{self.compartment}.{self.synapse} is no synapse, it takes no spikes; use e.g. a "
                "CurrentSynapse there."
            )
        what = f"A time of the spike train into {self.compartment!r}"
        _check_within(what, self.times, t_max, padding=np.inf)

    def per_step(self, n_steps: int, dt: Array) -> Array:
        """The weight that arrives at the start of each step (n_steps,), or those of a population
        (n_steps, B)."""
        real = jnp.isfinite(self.times)
        at = jnp.where(real, self.times, 0.0) / dt
        weights = jnp.where(real, self.weights, 0.0)
        return _arriving(n_steps, weights, jnp.broadcast_to(at, weights.shape))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _arriving(n_steps: int, weights: Array, at: Array) -> Array:
    """What arrives at the start of each step (n_steps, ...): weights (..., k) at times `at` (..., k),
    in steps, each in proportion at the step before and the one after."""
    step = jnp.floor(at)
    place, step = at - step, step.astype(jnp.int32)
    none = jnp.zeros((n_steps, *weights.shape[:-1]), weights.dtype)
    return _deposit(_deposit(none, step, weights * (1.0 - place)), step + 1, weights * place)


def _deposit(total: Array, steps: Array, weights: Array) -> Array:
    """`total` (n_steps, ...) and the weights (..., k) at the steps (..., k); none at those outside.

    Time comes first, as the loop over steps reads it."""
    who = np.indices((*steps.shape[:-1], 1), sparse=True)[:-1]
    return total.at[steps, *who].add(weights)


@_arriving.defjvp
def _arriving_jvp(n_steps, primals, tangents):
    """By the times: a weight that moves is taken from the step before its own and given to the one
    after it, the central difference of the response; second order in the step."""
    (weights, at), (weights_dot, at_dot) = primals, tangents
    step = jnp.floor(at)
    place, step = at - step, step.astype(jnp.int32)
    arriving = _arriving(n_steps, weights, at)
    moved = _arriving(n_steps, weights_dot, at)
    for k, share in ((step, 1.0 - place), (step + 1, place)):
        before = jnp.maximum(k - 1, 0)
        push = weights * share * at_dot / (k + 1 - before)
        moved = _deposit(_deposit(moved, before, -push), k + 1, push)
    return arriving, moved


Input = StepCurrent | SampledCurrent | NoiseCurrent | SpikeTrain


def _check_within(
    what: str, value: Any, t_max: float, last: bool = False, padding: float | None = None
) -> None:
    """Raises ValueError unless all of a concrete `value` is in 0 to t_max (itself only if `last`) or
    is `padding`."""
    if not known(value):
        return
    times = np.asarray(value)
    late = times > t_max * (1 + 1e-6) if last else times >= t_max
    bad = times[((times < 0) | late | np.isnan(times)) & (times != padding)]
    if bad.size:
        raise ValueError(
            f"{what} must lie inside the run, 0 to {t_max:g} ms, got {bad.ravel()[0]:g}; change it "
            "or lengthen the run."
        )
