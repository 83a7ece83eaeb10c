"""Synaptic attenuation: what of a synapse's potential arrives at the soma, against its distance."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..checks import as_positive
from ..inputs import SpikeTrain
from ..neuron import Neuron
from ..simulate import simulate
from .common import checked_synapses, only_one, peak, placed, window

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SynapticAttenuation(eqx.Module):
    """Peaks of one synapse's potential, for each place of it. Of each of the `compartments` (M,):
    `local`, its peak there, and `remote`, its peak at `at`, mV above the voltage before;
    `distances` to `at`, in um or electrotonic."""

    compartments: tuple[str, ...] = eqx.field(static=True)
    at: str = eqx.field(static=True)
    distances: Array
    electrotonic: bool = eqx.field(static=True)
    local: Array
    remote: Array

    @property
    def attenuation(self) -> Array:
        """The peak at `at` over the local one (M,): 1 without attenuation."""
        return self.remote / self.local

    def plot(self) -> "Figure":
        """Peaks, and the part that arrives, against distance."""
        from ..plot_protocols import plot_synaptic_attenuation

        return plot_synaptic_attenuation(self)


def synaptic_attenuation(
    neuron: Neuron,
    synapses: Mapping[str, float],
    *,
    at: str = "soma",
    delay: float = 10.0,
    duration: float = 100.0,
    distances: Mapping[str, float] | None = None,
    **options: Any,
) -> SynapticAttenuation:
    """One input spike into each compartment in turn, all in one call.

    **Arguments:** `synapses`, what the spike reaches, a weight by the mechanism's name, such as
    {"AMPA": 1.0, "NMDA": 1.0}; `at`, where it is measured; the spike comes after `delay` and is
    watched for `duration` (ms); `distances` (um) by compartment, which are then the ones to place it
    in, by default all that hold the synapses, with their electrotonic distance; `options` go to
    `simulate`.

    Raises ValueError for a population, where a synapse is missing, and as `simulate` does.
    """
    only_one(neuron, "synaptic_attenuation")
    t_max = as_positive(delay, "delay") + as_positive(duration, "duration")
    names, along = placed(neuron, at, distances)
    if distances is None:
        holding = [k for k, name in enumerate(names) if _holds(neuron, name, synapses)]
        names, along = tuple(names[k] for k in holding), along[jnp.array(holding, int)]
    weights = checked_synapses(neuron, names, synapses)
    turns = jnp.eye(len(names), dtype=neuron.c_m.dtype)
    trains = [
        SpikeTrain(name, jnp.array([delay]), weight * turns[:, k, None], synapse)
        for k, name in enumerate(names)
        for synapse, weight in weights.items()
    ]
    record = list(dict.fromkeys([at, *names]))
    solution = simulate(neuron, trains, t_max=t_max, record=record, **options)
    during = window(solution, delay, t_max)

    def peak_of(v: Array) -> Array:
        v = v[..., during]
        return peak(v - v[..., :1])

    local = [peak_of(solution[name][k]) for k, name in enumerate(names)]
    return SynapticAttenuation(
        compartments=names,
        at=at,
        distances=along,
        electrotonic=distances is None,
        local=jnp.stack(local),
        remote=peak_of(solution[at]),
    )


def _holds(neuron: Neuron, compartment: str, synapses: Mapping[str, float]) -> bool:
    i = neuron.tree.index(compartment)
    pairs = zip(neuron.mechanisms, neuron.placements, strict=True)
    return set(synapses) <= {mechanism.key for mechanism, where in pairs if i in where}
