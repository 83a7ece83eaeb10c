"""Noise as an input: an Ornstein-Uhlenbeck current."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .checks import as_float, check_bounds
from .neuron import Neuron


class NoiseCurrent(eqx.Module):
    """An Ornstein-Uhlenbeck current (pA) into a compartment: tau dI/dt = mean - I + noise, with the
    stationary standard deviation `sigma` and the correlation exp(-t / tau).

    It starts from its stationary distribution and is exact at the step boundaries for any dt; the
    current of a step is the mean of its two ends. One key gives one noise, which depends on dt and is
    the same in all neurons of a population; for independent noise in each of B neurons give B keys,
    `key=jax.random.split(key, B)`, and another key for each compartment and each continued run.

    **Arguments:** `key`, of `jax.random.key` (or `PRNGKey`), may have a batch axis, as may all that
    follows; `tau` (ms); `sigma` and `mean` (pA).

    Raises ValueError for what is no key, a tau that is not positive or a negative sigma.
    """

    compartment: str = eqx.field(static=True)
    key: Array
    tau: Array
    sigma: Array
    mean: Array

    def __init__(
        self, compartment: str, key: Any, tau: Any = 20.0, sigma: Any = 1.0, mean: Any = 0.0
    ):
        of = f"of the noise into {compartment!r}"
        self.compartment, self.key = compartment, _as_key(key, of)
        self.tau = as_float(tau, f"The tau {of}")
        self.sigma = as_float(sigma, f"The sigma {of}")
        self.mean = as_float(mean, f"The mean {of}")
        check_bounds(f"The tau {of}", self.tau, "ms", low=0.0, exclusive=True)
        check_bounds(f"The sigma {of}", self.sigma, "pA", low=0.0)
        check_bounds(f"The mean {of}", self.mean, "pA")

    @property
    def ndims(self) -> "NoiseCurrent":
        """The number of axes of each leaf without a batch axis."""
        return jax.tree.map(lambda _: 0, self)

    def check(self, neuron: Neuron, t_max: float, dt: float) -> None:
        """Raises ValueError for an unknown compartment."""
        neuron.tree.index(self.compartment)

    def per_step(self, n_steps: int, dt: Array) -> Array:
        """The mean current (pA) over each step (n_steps,)."""
        normal = jax.random.normal(self.key, (n_steps + 1,), self.sigma.dtype)
        kept = jnp.exp(-dt / self.tau)
        fresh = jnp.sqrt(-jnp.expm1(-2.0 * dt / self.tau))

        def step(x: Array, z: Array):
            new = kept * x + fresh * z
            return new, 0.5 * (x + new)

        _, means = jax.lax.scan(step, normal[0], normal[1:])
        return self.mean + self.sigma * means


def _as_key(key: Any, of: str) -> Array:
    """A key of either kind as a typed one."""
    try:
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            return key
        return jax.random.wrap_key_data(key)
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            f"The key {of} must be one of jax.random.key(seed), got {key!r:.80}."
        ) from None
