"""Bounds on numbers in the inner loop, with a derivative of two operations: at the bound it is that of
the number. (That of `jnp.maximum` is shared at a tie, which takes seven.)"""

import jax
import jax.numpy as jnp
from jaxtyping import Array


@jax.custom_jvp
def at_least(x: Array, low: Array | float) -> Array:
    """x, or `low` if x is below it."""
    return jnp.maximum(x, low)


@at_least.defjvp
def _at_least_jvp(primals, tangents):
    (x, low), (x_dot, low_dot) = primals, tangents
    return at_least(x, low), jnp.where(x < low, low_dot, x_dot)


@jax.custom_jvp
def at_most(x: Array, high: Array | float) -> Array:
    """x, or `high` if x is above it."""
    return jnp.minimum(x, high)


@at_most.defjvp
def _at_most_jvp(primals, tangents):
    (x, high), (x_dot, high_dot) = primals, tangents
    return at_most(x, high), jnp.where(x > high, high_dot, x_dot)


def between(x: Array, low: Array | float, high: Array | float) -> Array:
    """x, or the bound beyond which it lies."""
    return at_most(at_least(x, low), high)
