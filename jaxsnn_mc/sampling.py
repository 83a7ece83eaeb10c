"""Parameters drawn from distributions: a population of neurons that differ.

drawn = mc.sample(neuron, {"soma.c_m": mc.LogNormal(0.2), "soma.LIF.v_th": mc.Normal(1.0)}, 1000, key)
population = neuron.set(drawn)
"""

import zlib
from collections.abc import Mapping
from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .checks import as_count, as_float, check_bounds, known
from .neuron import Neuron
from .trainable import find
from .transforms import Bounds


class Distribution(Protocol):
    """The interface of a distribution: `number` values around a neuron's `value`, within bounds."""

    def draw(self, key: Array, number: int, path: str, value: Array, bounds: Bounds) -> Array: ...


class Normal(eqx.Module):
    """A normal distribution around the neuron's value, with standard deviation `sd` in its unit,
    truncated (not clipped) to the parameter's bounds."""

    sd: Array

    def __init__(self, sd: float):
        self.sd = as_float(sd, "Normal.sd")
        check_bounds("Normal.sd", self.sd, "the parameter's unit", low=0.0, exclusive=True)

    def draw(self, key: Array, number: int, path: str, value: Array, bounds: Bounds) -> Array:
        low, high = ((end - value) / self.sd for end in (bounds.low, bounds.high))
        z = jax.random.truncated_normal(key, low, high, (number,), value.dtype)
        return value + self.sd * z


class LogNormal(eqx.Module):
    """A log-normal distribution whose median is the neuron's value, with standard deviation `sigma` of
    the logarithm (for small ones, that relative to the value), truncated to the parameter's bounds."""

    sigma: Array

    def __init__(self, sigma: float):
        self.sigma = as_float(sigma, "LogNormal.sigma")
        check_bounds("LogNormal.sigma", self.sigma, "1", low=0.0, exclusive=True)

    def draw(self, key: Array, number: int, path: str, value: Array, bounds: Bounds) -> Array:
        if known(value) and not np.all(np.asarray(value) > 0):
            raise ValueError(
                f"LogNormal needs a positive {path}, got {value}; use Normal or Uniform."
            )
        ends = (jnp.maximum(end / value, 0.0) for end in (bounds.low, bounds.high))
        low, high = (jnp.log(end) / self.sigma for end in ends)
        z = jax.random.truncated_normal(key, low, high, (number,), value.dtype)
        return value * jnp.exp(self.sigma * z)


class Uniform(eqx.Module):
    """A uniform distribution from `low` to `high`, in the parameter's unit."""

    low: Array
    high: Array

    def __init__(self, low: float, high: float):
        self.low, self.high = as_float(low, "Uniform.low"), as_float(high, "Uniform.high")
        if known(self.low) and known(self.high) and not np.all(self.low < self.high):
            raise ValueError(
                f"Uniform must be (low, high) with low below high, got ({low}, {high})."
            )

    def draw(self, key: Array, number: int, path: str, value: Array, bounds: Bounds) -> Array:
        for end in (self.low, self.high):
            check_bounds(f"An end of Uniform for {path}", end, "its unit", *bounds)
        return jax.random.uniform(key, (number,), value.dtype, self.low, self.high)


def sample(
    neuron: Neuron, distributions: Mapping[str, Distribution], number: int, key: Array
) -> dict[str, Array]:
    """Values (number,) of parameters, independent of each other, for `Neuron.set` or `fit`'s `starts`.

    **Arguments:** `distributions`, a `Normal`, `LogNormal` or `Uniform` by path (as for `Neuron.get`);
    `key`, a JAX random key. A path's values depend on the key and the path, not on the other paths.

    Raises ValueError for an unknown path, and for a distribution outside the parameter's bounds.
    """
    number, values = as_count(number, "number"), {}
    trained = find(neuron, list(distributions))
    for path, value, bounds in zip(
        trained.names, trained.get(neuron), trained.bounds(neuron), strict=True
    ):
        if value.ndim:
            raise ValueError(
                f"{path} must be one number to sample around, got {value.shape[0]} (a population)."
            )
        distribution = distributions[path]
        if not hasattr(distribution, "draw") or isinstance(distribution, type):
            raise ValueError(
                f"{path} needs e.g. Normal(sd) or Uniform(low, high), got {distribution!r}."
            )
        mine = jax.random.fold_in(key, zlib.crc32(path.encode()))
        drawn = distribution.draw(mine, number, path, value, bounds)
        margin = jnp.finfo(drawn.dtype).eps * jnp.abs(value) if bounds.exclusive else 0.0
        values[path] = jnp.clip(drawn, bounds.low + margin, bounds.high - margin)  # rounding
    return values
