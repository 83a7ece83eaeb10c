"""The derivative of the emitted spike: one of the solver's surrogates, chosen by a number.

Jaxley keeps one instance of a channel for all compartments, so a choice must be a parameter.
"""

import jax.numpy as jnp
from jaxtyping import Array

from jaxsnn_mc.spike_rules import Surrogate, arctan, sigmoid, superspike, triangle

KINDS = ("none", "sigmoid", "superspike", "arctan", "triangle")


def surrogate_parameters(kind: str, beta: float) -> dict[str, float]:
    """A channel's parameters: the number of the kind, and beta (1/mV), its sharpness (the triangle's
    width is 1 / beta). Raises ValueError for an unknown kind, or if beta is not above 0."""
    if kind not in KINDS:
        raise ValueError(f"surrogate must be one of {', '.join(KINDS)}, got {kind!r}.")
    if not beta > 0:
        raise ValueError(f"beta must be above 0 (1/mV), got {beta}.")
    return {"surrogate": float(KINDS.index(kind)), "surrogate_beta": float(beta)}


def emitted(fired: Array, margin: Array, parameters: dict[str, Array]) -> Array:
    """1 where fired, else 0, with the surrogate's derivative by the margin (mV)."""
    kind, beta = parameters["surrogate"], parameters["surrogate_beta"]

    def shape(margin: Array) -> Array:
        slope = jnp.zeros_like(margin)
        for name, make in ("sigmoid", sigmoid), ("superspike", superspike), ("arctan", arctan):
            slope = jnp.where(kind == KINDS.index(name), make(beta)(margin), slope)
        return jnp.where(kind == KINDS.index("triangle"), triangle(1.0 / beta)(margin), slope)

    return Surrogate(shape).spike(fired.astype(margin.dtype), margin)
