"""What a run returns: voltages, states, spikes, and whether the numerics held."""

import warnings
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from .neuron import NeuronState

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.figure import Figure


GRAZING = 1e-3
"""mV/ms. The derivative of a spike time goes as one over the slope at threshold. At this one, a
leaky neuron with a time constant of 10 ms is on its way to 0.01 mV above its threshold."""


class Diagnostics(eqx.Module):
    """Where a run's numbers are not to be trusted; leaves have the batch axis of a population.

    `unconverged`: steps whose Newton iteration ended with an estimated error above tolerance;
    `worst_error` (mV) among them; `first_step` and `compartment` (an index into `names`) of the
    first, -1 if none; `lost_events`: steps with more events than `max_events`, or events beyond
    what a chunk can list (`counts` still has those); `slowest_crossing` (mV/ms), the smallest slope
    at which a margin reached zero (inf without spikes).
    """

    unconverged: Array
    worst_error: Array
    first_step: Array
    compartment: Array
    lost_events: Array
    slowest_crossing: Array
    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def ok(self) -> bool:
        """Whether every step converged and no event was lost (of concrete results)."""
        return not (np.any(self.unconverged) or np.any(self.lost_events))

    @property
    def grazing(self) -> Array:
        """Whether some spike is about to appear or vanish: its margin only just reached zero, at less
        than `GRAZING`, and its time has no usable derivative. Use a `Surrogate` there."""
        return self.slowest_crossing < GRAZING

    def __str__(self) -> str:
        lines = ["All steps converged, no event was lost."] if self.ok else []
        if np.any(self.unconverged):
            one = np.flatnonzero(np.ravel(self.unconverged))[0]
            step, where = np.ravel(self.first_step)[one], np.ravel(self.compartment)[one]
            lines.append(
                f"Newton did not converge in {np.sum(self.unconverged)} steps (first in step {step}, "
                f"compartment {self.names[where]!r}; worst estimated error "
                f"{np.max(self.worst_error):.2g} mV): lower dt or use Splitting()."
            )
        if np.any(self.lost_events):
            lines.append(
                f"{np.sum(self.lost_events)} events could not be resolved or listed: lower dt, "
                "raise max_events, or give a refractory period."
            )
        if np.any(self.grazing):
            lines.append(
                f"A spike only just reached its threshold ({np.min(self.slowest_crossing):.2g} mV/ms): "
                "its time has no usable derivative; for gradients use spike_rule=Surrogate(shape)."
            )
        return " ".join(lines)

    def warn(self) -> None:
        """Issues a RuntimeWarning if something of concrete results is not to be trusted."""
        if not any(isinstance(x, Tracer) for x in jax.tree.leaves(self)) and not self.ok:
            warnings.warn(str(self), RuntimeWarning, stacklevel=4)


class Solution(eqx.Module):
    """The result of `simulate`. Arrays of a population have a leading batch axis (B,).

    `solution["soma"]` is a recorded voltage (R,) in mV and `solution["soma.AdEx.w"]` a recorded
    state; `ts` (R,) the times in ms; `voltages` (R, n) all recorded voltages; `counts` (E,) the
    spikes of each of the `sources`, pairs (compartment, mechanism); `state`, where it ended.
    """

    dt: float = eqx.field(static=True)
    n_steps: int = eqx.field(static=True)
    every: int = eqx.field(static=True)
    compartments: tuple[str, ...] = eqx.field(static=True)
    sources: tuple[tuple[str, str], ...] = eqx.field(static=True)
    voltages: Array | None
    states: dict[str, Array]
    slots: Array
    slot_starts: Array
    counts: Array
    train: Array | None
    state: NeuronState
    diagnostics: Diagnostics

    @property
    def ts(self) -> np.ndarray:
        """The times (R,) of the records, ms."""
        return np.arange(self.n_steps // self.every + 1) * (self.every * self.dt)

    @property
    def t_max(self) -> float:
        """The length of the run, ms."""
        return self.n_steps * self.dt

    def __getitem__(self, name: str) -> Array:
        if name in self.states:
            return self.states[name]
        if self.voltages is not None and name in self.compartments:
            return self.voltages[..., self.compartments.index(name)]
        raise ValueError(f"{name!r} was not recorded; there are {self._recorded}.")

    @property
    def _recorded(self) -> list[str]:
        return [*self.compartments, *self.states]

    def spikes(self, source: str | None = None) -> Array:
        """All spike times (..., M) of a source in ms, in order, padded with inf: for use under jit.

        **Arguments:** `source`, a compartment, or "compartment.mechanism" where one has several;
        may be left out if the neuron has only one.
        """
        mine = self.slots[..., self._source(source)]
        start = self.slot_starts[..., None].astype(mine.dtype)
        times = start * jnp.asarray(self.dt, mine.dtype) + mine
        return jnp.sort(times.reshape(*times.shape[:-2], -1), axis=-1)

    def spike_train(self, source: str | None = None) -> Array:
        """The number of spikes in each step (..., n_steps), differentiable by a `Surrogate`.

        Raises ValueError if the run had no `Surrogate` as its spike rule.
        """
        if self.train is None:
            raise ValueError(
                "There is no spike train: it is kept only with spike_rule=Surrogate(...) (with Exact, "
                "use the spike times, which are differentiable)."
            )
        return self.train[..., self._source(source)]

    def spike_times(self, source: str | None = None) -> Any:
        """The spike times of a source in ms: an array, or for a population a list of arrays."""
        slots = np.asarray(self.slots[..., self._source(source)], dtype=np.float64)
        times = np.asarray(self.slot_starts)[..., None] * self.dt + slots
        times = times.reshape(*times.shape[:-2], -1)
        if times.ndim == 1:
            return np.sort(times[np.isfinite(times)])
        return [np.sort(t[np.isfinite(t)]) for t in times.reshape(-1, times.shape[-1])]

    def rates(self, source: str | None = None) -> Array:
        """The mean rate of a source in Hz."""
        return self.counts[..., self._source(source)] * (1e3 / self.t_max)

    def _source(self, source: str | None) -> int:
        known = [f"{compartment}.{mechanism}" for compartment, mechanism in self.sources]
        fits = [
            i
            for i, (compartment, _) in enumerate(self.sources)
            if source is None or source in (compartment, known[i])
        ]
        if len(fits) == 1:
            return fits[0]
        problem = "is not unique" if fits else "does not spike"
        raise ValueError(f"The spike source {source!r} {problem}; there are {known}.")

    def to_pandas(self) -> "pandas.DataFrame":
        """The records of one neuron as a table: a column each, indexed by the time in ms."""
        import pandas

        if self.slots.ndim > 3:
            raise ValueError(
                f"to_pandas is for one neuron, got {self.slots.shape[0]}; use to_xarray for them."
            )
        columns = {name: np.asarray(self[name]) for name in self._recorded}
        return pandas.DataFrame(columns, index=pandas.Index(self.ts, name="time (ms)"))

    def to_xarray(self) -> "xarray.Dataset":
        """The records as a dataset over (neuron,) time, with units: `v` over compartments (mV),
        the states under their paths, and `spike_times` (ms, padded with inf) over sources."""
        import xarray

        batch = tuple(f"batch_{i}" for i in range(self.slots.ndim - 3))
        batch = ("neuron",) if len(batch) == 1 else batch
        data: dict[str, Any] = {
            path: ((*batch, "time"), np.asarray(x)) for path, x in self.states.items()
        }
        if self.voltages is not None:
            v = np.asarray(self.voltages)
            data["v"] = ((*batch, "time", "compartment"), v, {"units": "mV"})
        names = [f"{compartment}.{mechanism}" for compartment, mechanism in self.sources]
        if names:
            spikes = np.stack([np.asarray(self.spikes(name)) for name in names], axis=-2)
            data["spike_times"] = ((*batch, "source", "spike"), spikes, {"units": "ms"})
        coordinates: dict[str, Any] = {"time": ("time", self.ts, {"units": "ms"})}
        if self.voltages is not None:
            coordinates["compartment"] = list(self.compartments)
        if names:
            coordinates["source"] = names
        return xarray.Dataset(data, coordinates)

    def plot(self, **kwargs: Any) -> "Figure":
        """A figure with one axis for each record; see `jaxsnn_mc.plot.plot_solution`."""
        from .plot import plot_solution

        return plot_solution(self, **kwargs)
