"""Differentiable numbers from solutions: spike times, soft spike times, counts and rates."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .solution import Solution


def spike_time(
    solution: Solution, source: str | None = None, k: int = 0, missing: float | None = None
) -> Float[Array, "..."]:
    """The time (ms) of the k-th spike of a source; with `Exact`, differentiable.

    Where there are not as many spikes it is `missing`, by default the end of the run, and its
    derivative is zero: nothing says which way a spike would come. A `Surrogate` does.
    """
    times = solution.spikes(source)
    if k < 0:
        raise ValueError(f"k counts spikes from 0, got {k}.")
    if k >= times.shape[-1]:
        raise ValueError(f"The run has room for {times.shape[-1]} spikes, got k={k}.")
    time = times[..., k]
    there = jnp.isfinite(time)
    return jnp.where(
        there, jnp.where(there, time, 0.0), solution.t_max if missing is None else missing
    )


def soft_spike_time(
    solution: Solution, source: str | None = None, missing: float | None = None
) -> Float[Array, "..."]:
    """The mean time (ms) of the spikes of a source, weighted by the spikes: sum(t s) / sum(s).

    With one spike it is that spike's step. It needs a `Surrogate`, whose derivative moves the
    spikes' weights. Without any spike it is `missing`, by default the end of the run, as its value,
    and draws earlier as the spikes' weights would grow.
    """
    train = solution.spike_train(source)
    t = (jnp.arange(solution.n_steps) + 0.5) * solution.dt
    count = train.sum(axis=-1)
    last = solution.t_max if missing is None else missing
    none = count == 0
    weight = jnp.where(none, 1.0, count)
    # Without spikes: the weight 1 of a spike that is missing, at `last`, beside those that may come.
    total = (train * t.astype(train.dtype)).sum(axis=-1) + jnp.where(none, last, 0.0)
    return total / jnp.where(none, 1.0 + count, weight)


def spike_count(solution: Solution, source: str | None = None) -> Float[Array, "..."]:
    """The number of spikes of a source, differentiable by a `Surrogate`."""
    return solution.spike_train(source).sum(axis=-1)


def rate(solution: Solution, source: str | None = None) -> Float[Array, "..."]:
    """The mean rate (Hz) of a source, differentiable by a `Surrogate`."""
    return spike_count(solution, source) * (1e3 / solution.t_max)
