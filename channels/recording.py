"""Spike times from recordings."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array


def spike_times(since: ArrayLike, delta_t: float, n: int | None = None) -> Array:
    """The times (ms) of the spikes, between grid points and differentiable.

    **Arguments:** `since` (T,), the recorded state `AdEx_since` or `Fire_since` of one compartment,
    from the start of the run; `delta_t` (ms) of the run; `n`, how many spikes to return, needed
    under `jax.jit` and `jax.grad`: the first n, padded with inf.

    **Returns:** times (n,), or (number of spikes,). Raises ValueError if `since` is not of one
    compartment.
    """
    since = jnp.asarray(since)
    if since.ndim != 1:
        raise ValueError(
            f"spike_times takes the recording of one compartment, (T,), got {since.shape}: "
            "use a row of what jx.integrate returns, or jax.vmap."
        )
    spiked = since[1:] < since[:-1]
    if n is None:
        n = int(np.asarray(spiked).sum())
    (at,) = jnp.nonzero(spiked, size=n, fill_value=-2)
    times = (at + 1) * delta_t - since[at + 1]
    return jnp.where(at >= 0, times, jnp.inf)
