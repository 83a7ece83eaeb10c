"""What is trained in a neuron: found by names or by a function, with bounds and starting values."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .transforms import Bounds, Transform, declared_bounds

Where: TypeAlias = Sequence[str] | Callable[[Any], Any]
"""Paths as for `Neuron.get`, or a function of the neuron that gives leaves, as for `eqx.tree_at`."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """What is trained: the names of its leaves in their order, and how they are reached."""

    names: tuple[str, ...]
    where: Callable[[Any], Any] | None

    def get(self, neuron: Any) -> list[Array]:
        if self.where is None:
            return [neuron.get(name) for name in self.names]
        return jax.tree.leaves(self.where(neuron))

    def put(self, neuron: Any, values: Sequence[Array]) -> Any:
        if self.where is None:
            return neuron.set(dict(zip(self.names, values, strict=True)))
        where = self.where
        return eqx.tree_at(lambda n: jax.tree.leaves(where(n)), neuron, list(values))

    def bounds(self, neuron: Any) -> list[Bounds]:
        declared = declared_bounds(neuron)
        if self.where is None:
            return [neuron.locate(name)[0](declared) for name in self.names]
        return jax.tree.leaves(self.where(declared), is_leaf=lambda x: isinstance(x, Bounds))


def find(neuron: Any, trainable: Where) -> Trained:
    """What is trained. Raises ValueError where it names nothing, or no numbers."""
    if callable(trainable):
        labels = jax.tree_util.tree_map_with_path(
            lambda path, _: jax.tree_util.keystr(path), neuron
        )
        trained = Trained(tuple(jax.tree.leaves(trainable(labels))), trainable)
    elif isinstance(trainable, str):
        raise ValueError(f"trainable is a list of paths: write [{trainable!r}].")
    else:
        trained = Trained(tuple(trainable), None)
    if not trained.names or len(set(trained.names)) < len(trained.names):
        raise ValueError(f"trainable must name different parameters, got {list(trained.names)}.")
    for name, value in zip(trained.names, trained.get(neuron), strict=True):
        if not eqx.is_inexact_array(value):
            raise ValueError(f"{name} is not an array of floating-point numbers: {value!r}.")
    return trained


def _known(what: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(f"{what} has {unknown[0]!r}, which is not trained; {list(names)} are.")


def start_values(trained: Trained, neuron: Any, starts: Mapping[str, Any] | None) -> list[Array]:
    values = [jnp.asarray(v, v.dtype) for v in trained.get(neuron)]
    if starts is None:
        return values
    _known("starts", starts, trained.names)
    given = {name: np.asarray(v) for name, v in starts.items()}
    numbers = {v.shape[:1] for v in given.values()}
    if len(numbers) != 1 or numbers & {(), (0,)}:
        shapes = {name: v.shape for name, v in given.items()}
        raise ValueError(f"starts must be arrays with one leading axis (S,), got shapes {shapes}.")
    (many,) = numbers
    for name, value in zip(trained.names, values, strict=True):
        if name in given and given[name].shape != many + value.shape:
            raise ValueError(
                f"starts of {name} must be {many + value.shape}, got {given[name].shape}."
            )
    return [
        jnp.broadcast_to(jnp.asarray(given.get(name, value), value.dtype), many + value.shape)
        for name, value in zip(trained.names, values, strict=True)
    ]


def transforms(
    trained: Trained,
    neuron: Any,
    values: Sequence[Array],
    bounds: Mapping[str, tuple[float, float]],
    scale: float | str | Mapping[str, Any],
) -> list[Transform]:
    """A transform for each value; `bounds`, by name, narrow what is declared.

    Raises ValueError for names that are not trained or starts outside their bounds.
    """
    _known("bounds", bounds, trained.names)
    scales = scale if isinstance(scale, Mapping) else dict.fromkeys(trained.names, scale)
    _known("scale", scales, trained.names)
    return [
        Transform(name, value, declared.within(*bounds.get(name, ())), scales.get(name, 1.0))
        for name, value, declared in zip(trained.names, values, trained.bounds(neuron), strict=True)
    ]
