"""Exponential decay in forms that are exact enough for float32 and finite for all times."""

import jax.numpy as jnp
from jaxtyping import Array


def decay(x: Array, tau: Array, dt: Array) -> Array:
    """x after dt (ms) of dx/dt = -x / tau."""
    return x + x * jnp.expm1(-dt / tau)


def mean_decay(tau: Array, dt: Array) -> Array:
    """The mean of exp(-t / tau) over t from 0 to dt (ms)."""
    return shrink(dt / tau)


def shrink(z: Array) -> Array:
    """(1 - exp(-z)) / z, which is 1 at z = 0."""
    small = jnp.abs(z) < 1e-3
    series = 1.0 - z * (1.0 / 2.0) * (1.0 - z * (1.0 / 3.0))
    safe = jnp.where(small, 1.0, z)
    return jnp.where(small, series, -jnp.expm1(-safe) / safe)
