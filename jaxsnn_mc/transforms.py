"""Bounds of trained parameters, kept by construction: what is trained is unbounded.

An unbounded y becomes a parameter by a smooth clip that is the identity away from the bounds. With
the hyperbola h(a) = (a + sqrt(a^2 + 4 width^2)) / 2, a smooth max(a, 0), it is

    no bound   y
    one        low + h(y - low), or high - h(high - y)
    both       low + h(y - low) - h(y - high)

so that a step in y is a step in the parameter, in its own unit. Its tails fall off like 1/y, not
exp(-y): a parameter pushed to its bound comes back.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .mechanism import parameters
from .neuron import Neuron

NARROW = 0.1
"""The width of a bend, as a part of the distance from the start to the nearest bound."""


class Bounds(NamedTuple):
    """The range of a parameter, in its unit; the ends themselves are allowed unless `exclusive`."""

    low: float = -math.inf
    high: float = math.inf
    exclusive: bool = False

    def within(self, low: float = -math.inf, high: float = math.inf) -> "Bounds":
        """The part of the range between `low` and `high`."""
        return Bounds(max(self.low, low), min(self.high, high), self.exclusive)


_OF_NEURON = {"c_m": Bounds(low=0.0, exclusive=True), "g": Bounds(low=0.0)}


def declared_bounds(tree: Any) -> Any:
    """`tree` with the declared `Bounds` of each leaf in its place (none declared: unbounded)."""

    def one(path: Sequence[Any], _: Any) -> Bounds:
        owner = tree
        for key in path[:-1]:
            owner = _child(owner, key)
        name = getattr(path[-1], "name", "") if path else ""
        if isinstance(owner, Neuron):
            return _OF_NEURON.get(name, Bounds())
        declared = parameters(owner) if isinstance(owner, eqx.Module) else {}
        if name not in declared:
            return Bounds()
        return Bounds(*(declared[name][key] for key in Bounds._fields))

    return jax.tree_util.tree_map_with_path(one, tree)


def _child(owner: Any, key: Any) -> Any:
    if isinstance(key, jax.tree_util.GetAttrKey):
        return getattr(owner, key.name)
    return owner[getattr(key, "idx", getattr(key, "key", None))]


class Transform(eqx.Module):
    """Between a parameter and the unbounded number that is trained, of the same shape.

    The trained number is y / `scale`. `width` and `scale` have the parameter's shape and unit.
    """

    bounds: Bounds = eqx.field(static=True)
    width: Array
    scale: Array

    def __init__(self, name: str, start: Array, bounds: Bounds, scale: Any = 1.0):
        """**Arguments:** `start`, the values to start from; `scale`, a positive number, or "initial"
        for |start|.

        Raises ValueError for a start that is not strictly within its bounds, for bounds in the
        wrong order, or for a scale that is not positive.
        """
        low, high, _ = self.bounds = Bounds(*bounds)
        if not low < high:
            raise ValueError(f"The bounds of {name} must be (low, high), got ({low}, {high}).")
        x = np.asarray(start)
        if not np.all(np.isfinite(x) & (x > low) & (x < high)):
            bad = x[~(np.isfinite(x) & (x > low) & (x < high))].ravel()[0]
            raise ValueError(
                f"{name} starts at {bad:g}, but training must start above {low:g} and below "
                f"{high:g}; move the start, or give other bounds."
            )
        nearest = np.minimum(x - low, high - x)
        self.width = jnp.asarray(np.where(np.isfinite(nearest), NARROW * nearest, 1.0), x.dtype)
        if isinstance(scale, str):
            if scale != "initial":
                raise ValueError(f"The scale is a number or 'initial', got {scale!r}.")
            scale = np.where(x == 0.0, 1.0, np.abs(x))
        if not np.all(np.isfinite(scale) & (np.asarray(scale) > 0)):
            raise ValueError(f"The scale of {name} must be positive, got {scale}.")
        self.scale = jnp.broadcast_to(jnp.asarray(scale, x.dtype), x.shape)

    def constrain(self, x: Array) -> Array:
        """The parameter for an unbounded `x`, always within the bounds."""
        low, high, exclusive = self.bounds
        y, over = x * self.scale, math.isfinite(low) or math.isfinite(high)
        if not over:
            return y
        if math.isfinite(low) and math.isfinite(high):
            value = low + _above_zero(y - low, self.width) - _above_zero(y - high, self.width)
        elif math.isfinite(low):
            value = low + _above_zero(y - low, self.width)
        else:
            value = high - _above_zero(high - y, self.width)
        # Rounding may reach a bound, or cross it.
        margin = jnp.finfo(y.dtype).eps if exclusive else 0.0
        inside = [end + margin * side * jnp.maximum(abs(end), self.width) if math.isfinite(end)
                  else end for end, side in ((low, 1.0), (high, -1.0))]  # fmt: skip
        return jnp.clip(value, *inside)

    def free(self, value: Array) -> Array:
        """The unbounded number for a parameter strictly within the bounds."""
        low, high, _ = self.bounds
        y = value
        if math.isfinite(low) and math.isfinite(high):
            span, k = high - low, 2.0 * value - (high + low)
            m = k * jnp.sqrt(1.0 + 16.0 * self.width**2 / ((span - k) * (span + k)))
            y = 0.5 * (m + high + low)
        elif math.isfinite(low):
            y = value - self.width**2 / (value - low)
        elif math.isfinite(high):
            y = value + self.width**2 / (high - value)
        return y / self.scale


def _above_zero(a: Array, width: Array) -> Array:
    """(a + sqrt(a^2 + 4 width^2)) / 2 without cancellation."""
    large = 0.5 * (jnp.where(a >= 0, a, -a) + jnp.sqrt(a * a + 4.0 * width**2))
    return jnp.where(a >= 0, large, width**2 / large)
