"""Spike rules: how a gradient crosses an event. The only place that knows.

With `Exact`, the located time of an event carries its derivative. A `Surrogate` is asked in each step
what passes from the margins at its end into what comes after. The forward pass is the same for all
rules, to the bit.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


class Exact(eqx.Module):
    """The derivative of the event-located solution, through every spike and what follows from it.

    A spike that is about to appear or vanish has no derivative: `solution.diagnostics.grazing` says
    where one only just reached its threshold; use a `Surrogate` there.
    """


class Surrogate(eqx.Module):
    """Straight-through: an event counts as the step function of the margin at the end of the step,
    and the derivative of that function is replaced by `shape(margin)` (1/mV).

    The derivative acts on the spike train (`Solution.spike_train`) and, unless `detach_reset`, on
    what firing does (reset, b, refractory clock). Times of events are constants.
    """

    shape: Callable[[Array], Array] = eqx.field(static=True)
    detach_reset: bool = eqx.field(static=True, default=False)

    def spike(self, fired: Array, margin: Array) -> Array:
        """`fired`, the number of events in the step, with the derivative `shape(margin)`."""
        return _straight_through(self.shape, fired, margin, jnp.ones_like(fired))

    def reset(self, y: Array, margin: Array, change: Array) -> Array:
        """The state `y` after the step, with its derivative through the events in it, each of which
        changes it by `change`."""
        if self.detach_reset:
            return y
        return _straight_through(self.shape, y, margin, lax.stop_gradient(change))


SpikeRule: TypeAlias = Exact | Surrogate


@jax.custom_jvp
def also(y: Array, extra: Array) -> Array:
    """y, with the derivative of y + extra."""
    return y


@also.defjvp
def _also_jvp(primals, tangents):
    return primals[0], tangents[0] + tangents[1]


def _straight_through(shape, y: Array, margin: Array, weight: Array) -> Array:
    """y, with the derivative weight * shape(margin) by the margin added to its own."""
    return also(y, lax.stop_gradient(weight * shape(margin)) * margin)


def sigmoid(beta: float | Array = 50.0) -> Callable[[Array], Array]:
    """The derivative of the logistic function of beta * margin (beta in 1/mV)."""

    def shape(margin: Array) -> Array:
        s = jax.nn.sigmoid(-jnp.abs(beta * margin))
        return beta * s * (1.0 - s)

    return shape


def superspike(beta: float | Array = 10.0) -> Callable[[Array], Array]:
    """beta / (1 + beta |margin|)^2 (Zenke and Ganguli, 2018)."""
    return lambda margin: beta / (1.0 + jnp.abs(beta * margin)) ** 2


def arctan(beta: float | Array = 2.0) -> Callable[[Array], Array]:
    """beta / (1 + (pi beta margin)^2), the derivative of an arctan (Fang et al., 2021)."""
    return lambda margin: beta / (1.0 + (jnp.pi * beta * margin) ** 2)


def triangle(width: float | Array = 1.0) -> Callable[[Array], Array]:
    """(1 - |margin| / width) / width within `width` (mV), else zero: a compact support, so that a
    neuron that stays away from threshold keeps its own gradient."""
    return lambda margin: jnp.maximum(1.0 - jnp.abs(margin) / width, 0.0) / width
