"""Training in the loop: the spikes are the chip's, the gradient is our model's.

Whatever runs a neuron and gives its spike times is a backend: an emulated chip, or a real one. The
values in a loss are the backend's, their derivatives those of a model at the same parameters: the k-th
spike of the one stands for the k-th of the other, as hxtorch substitutes what the hardware measured
(its functional/unterjubel.py).
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..inputs import Input
from ..neuron import Neuron
from .emulate import Figures, emulate, emulate_inputs
from .mapping import Mapping


class Backend(Protocol):
    """Runs a neuron with inputs, and gives its spike times (M,) in ms, padded with inf."""

    def __call__(self, neuron: Neuron, inputs: Sequence[Input]) -> Array: ...


class EmulatedChip(eqx.Module):
    """A backend: the emulated chip of a key, its mismatch hidden behind this interface.

    **Fields:** `model`, what simulates: (neuron, inputs) to spike times (M,); `key`, the chip;
    `mapping`; `figures`; `trial`, a key for the noise of a trial, if any.
    """

    model: Backend = eqx.field(static=True)
    key: Array
    mapping: Mapping = eqx.field(static=True)
    figures: Figures = Figures()
    trial: Array | None = None

    def __call__(self, neuron: Neuron, inputs: Sequence[Input]) -> Array:
        chip = emulate(neuron, self.key, self.mapping, figures=self.figures, trial=self.trial)
        return self.model(
            chip, emulate_inputs(inputs, self.key, self.mapping, figures=self.figures)
        )


class External(eqx.Module):
    """A backend outside of JAX: `function(neuron, inputs)` of NumPy arrays gives spike times (M,) in
    ms, M = `spikes` of them, padded with inf. Such as a function that runs the chip."""

    function: Callable[..., Any] = eqx.field(static=True)
    spikes: int = eqx.field(static=True)

    def __call__(self, neuron: Neuron, inputs: Sequence[Input]) -> Array:
        shape = jax.ShapeDtypeStruct((self.spikes,), neuron.c_m.dtype)

        def call(neuron: Any, inputs: Any) -> np.ndarray:
            times = np.asarray(self.function(neuron, inputs), shape.dtype)
            if times.shape != shape.shape:
                raise ValueError(
                    f"The backend must give {self.spikes} spike times, padded with inf; it gave "
                    f"an array of shape {times.shape}."
                )
            return times

        return jax.pure_callback(call, shape, neuron, list(inputs), vmap_method="sequential")


def in_the_loop(backend: Backend, model: Backend, missing: float | None = None) -> Backend:
    """Spike times as the backend has them, with the model's derivatives.

    Use it in a loss; the model mostly is a simulation of the quantised neuron. See `substitute` for
    spikes that only one of the two has.
    """

    def run(neuron: Neuron, inputs: Sequence[Input]) -> Array:
        measured = backend(*jax.lax.stop_gradient((neuron, list(inputs))))
        return substitute(measured, model(neuron, inputs), missing)

    return run


def substitute(measured: Array, modelled: Array, missing: float | None = None) -> Array:
    """The values of `measured` with the derivatives of `modelled`, where both have a spike.

    With `missing` (ms), such as the end of the run, a spike that was not measured is there, and has the
    model's derivative too: so a loss that wants it earlier makes it come.

    Raises ValueError for arrays of different shapes.
    """
    if measured.shape != modelled.shape:
        raise ValueError(
            "Backend and model must give as many spike times, got arrays of shapes "
            f"{measured.shape} and {modelled.shape}."
        )
    there = jnp.isfinite(measured)
    measured = measured if missing is None else jnp.where(there, measured, missing)
    return _substitute(measured, modelled)


@jax.custom_jvp
def _substitute(measured: Array, modelled: Array) -> Array:
    return measured


@_substitute.defjvp
def _substitute_jvp(primals, tangents):
    both = jnp.isfinite(primals[0]) & jnp.isfinite(primals[1])
    return primals[0], jnp.where(both, tangents[1], 0.0)
