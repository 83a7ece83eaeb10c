"""The values that a digital setting can take, and rounding to them.

A value is origin + code * step * factor, with a whole `code` and, where the circuit has several ranges
(a division, a multiplication, a clock divider), the smallest of the `factors` that reaches it. On a
logarithmic grid it is origin * exp(code * step).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array


class Grid(eqx.Module):
    """A setting's values: `codes`, the least and largest code; `low` and `high`, to which values are
    limited besides (arrays, where they depend on other parameters)."""

    step: float = eqx.field(static=True)
    codes: tuple[int, int] = eqx.field(static=True)
    origin: float = eqx.field(static=True, default=0.0)
    factors: tuple[float, ...] = eqx.field(static=True, default=(1.0,))
    logarithmic: bool = eqx.field(static=True, default=False)
    low: Any = -jnp.inf
    high: Any = jnp.inf

    def limit(self, x: Array) -> Array:
        """The value, saturated at the ends of what can be held."""
        return jnp.clip(x, *self.ends(x))

    def ends(self, x: Array) -> tuple[Array, Array]:
        """The smallest and largest value, for values of the type of `x`."""
        return self._end(x, 0), self._end(x, 1)

    def _end(self, x: Array, side: int) -> Array:
        """An end of the range, rounded inwards to a value of the grid."""
        code = self.codes[side]
        widest = self.value(
            jnp.asarray(code, x.dtype), self._factor(-1 if side or code < 0 else 0, x)
        )
        other = jnp.asarray(self.high if side else self.low, x.dtype)
        end = jnp.minimum(widest, other) if side else jnp.maximum(widest, other)
        factor = self.factor(end)
        # A code this close to a whole number is that number.
        slack = 16 * jnp.finfo(x.dtype).eps * max(abs(c) for c in self.codes)
        code = self.position(end, factor)
        code = jnp.floor(code + slack) if side else jnp.ceil(code - slack)
        return self.value(jnp.clip(code, *self.codes), factor)

    def factor(self, x: Array) -> Array:
        """The smallest of the factors whose codes reach `x`."""
        factor = self._factor(-1, x)
        for i in reversed(range(len(self.factors) - 1)):
            reached = jnp.abs(self.position(x, self._factor(i, x))) <= self.codes[1] + 0.5
            factor = jnp.where(reached, self._factor(i, x), factor)
        return factor

    def _factor(self, i: int, x: Array) -> Array:
        return jnp.full_like(x, self.factors[i])

    def position(self, x: Array, factor: Array) -> Array:
        """The code of `x`, not rounded."""
        if self.logarithmic:
            return jnp.log(x / self.origin) / self.step
        return (x - self.origin) / (self.step * factor)

    def value(self, code: Array, factor: Array) -> Array:
        """The value of a code."""
        if self.logarithmic:
            return self.origin * jnp.exp(code * self.step)
        return self.origin + code * (self.step * factor)

    def encode(self, x: Array) -> tuple[Array, Array]:
        """The nearest code to `x`, and its factor."""
        x = self.limit(x)
        factor = self.factor(x)
        return jnp.clip(jnp.round(self.position(x, factor)), *self.codes), factor

    def spacing(self, x: Array) -> Array:
        """The distance of neighbouring values around `x`."""
        code, factor = self.encode(x)
        return self.value(code + 1, factor) - self.value(code, factor)

    def snap(self, x: Array, sharpness: Any = None) -> Array:
        """The nearest value. The derivative is straight through: 1, saturated or not.

        With a `sharpness`, a smooth staircase with its own derivative: near 0 the (saturated) value
        itself, from some 20 on the steps.
        """
        if sharpness is None:
            return _straight_through(lambda y: self.value(*self.encode(y)), x)
        low, high = self.ends(x)
        # A smooth end would move the values near it; saturated, the derivative is straight through.
        x = _straight_through(lambda y: jnp.clip(y, low, high), x)
        factor = jax.lax.stop_gradient(self.factor(x))
        position = self.position(x, factor)
        whole = jax.lax.stop_gradient(jnp.floor(position))
        part = jnp.tanh(sharpness * (position - whole - 0.5)) / jnp.tanh(0.5 * sharpness)
        return self.value(whole + 0.5 + 0.5 * part, factor)


def _straight_through(function: Callable[[Array], Array], x: Array) -> Array:
    """The function's value, to the bit, with the derivative of the identity."""

    @jax.custom_jvp
    def through(x: Array) -> Array:
        return function(x)

    through.defjvp(lambda primals, tangents: (through(*primals), tangents[0]))
    return through(x)
