"""Losses: pure functions of what a run gives and what it should give. None broadcasts silently."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def _check(name: str, a: Array, b: Array) -> None:
    if jnp.shape(a) != jnp.shape(b):
        raise ValueError(
            f"{name} compares arrays of one shape, got {jnp.shape(a)} and {jnp.shape(b)}; select or "
            "broadcast them first."
        )


def squared_spike_time(times: Float[Array, "*n"], target: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """(t - target)^2, unreduced. Units: ms, so ms^2."""
    _check("squared_spike_time", times, target)
    return (times - target) ** 2


def squared_voltage(v: Float[Array, "*n"], target: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """(v - target)^2, unreduced. Units: mV, so mV^2; its mean is the mean squared error."""
    _check("squared_voltage", v, target)
    return (v - target) ** 2


def squared_rate(rates: Float[Array, "*n"], target: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """(r - target)^2, unreduced. Units: Hz, so Hz^2."""
    _check("squared_rate", rates, target)
    return (rates - target) ** 2


def van_rossum(
    times: Float[Array, "... m"], target: Float[Array, "... n"], tau: float = 10.0
) -> Float[Array, "..."]:
    """The squared van Rossum distance of two spike trains (van Rossum, 2001), in closed form.

    Both trains are convolved with exp(-t / tau) and compared over all later times: with
    K(d) = exp(-|d| / tau), it is (sum K(t_i - t_j) + sum K(u_i - u_j) - 2 sum K(t_i - u_j)) / 2.
    Trains may differ in length, and times of inf are no spikes (padding). Differentiable in the
    times. Raises ValueError for batch axes that differ or a `tau` that is not positive.
    """
    if not tau > 0:
        raise ValueError(f"tau must be positive (ms), got {tau!r}.")
    if jnp.shape(times)[:-1] != jnp.shape(target)[:-1]:
        raise ValueError(
            f"The trains' batch axes must agree, got {jnp.shape(times)} and {jnp.shape(target)}."
        )

    def overlap(a: Array, b: Array) -> Array:
        real_a, real_b = jnp.isfinite(a), jnp.isfinite(b)
        both = real_a[..., :, None] & real_b[..., None, :]
        a, b = jnp.where(real_a, a, 0.0), jnp.where(real_b, b, 0.0)
        apart = a[..., :, None] - b[..., None, :]
        kernel = jnp.exp(-apart * jnp.sign(apart) / tau)  # unlike abs, flat where they coincide
        return jnp.where(both, kernel, 0.0).sum(axis=(-1, -2))

    own = overlap(times, times) + overlap(target, target)
    return 0.5 * own - overlap(times, target)
