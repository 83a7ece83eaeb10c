"""Back-propagating action potentials: how far a somatic spike spreads into the dendrites."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..checks import as_positive, known
from ..inputs import StepCurrent
from ..neuron import Neuron
from ..simulate import simulate
from ..solution import Solution
from .common import event_counts, only_one, placed, window

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class BackPropagation(eqx.Module):
    """A somatic spike in the dendrites. Of each of the `compartments` (N,): `peaks`, the highest
    voltage above that before the current, mV; `delays` from the spike to it, ms, to second order in
    the records; `distances` to `at`, in um or electrotonic. `spike` is its time, ms."""

    compartments: tuple[str, ...] = eqx.field(static=True)
    at: str = eqx.field(static=True)
    distances: Array
    electrotonic: bool = eqx.field(static=True)
    spike: Array
    peaks: Array
    delays: Array
    counts: dict[str, Array]
    solution: Solution

    def plot(self) -> "Figure":
        """The voltages around the spike, and the peaks against distance."""
        from ..plot_protocols import plot_back_propagation

        return plot_back_propagation(self)


def back_propagation(
    neuron: Neuron,
    at: str,
    amplitude: Any,
    *,
    delay: float = 20.0,
    duration: float = 300.0,
    spike: int = 0,
    window_ms: float = 10.0,
    distances: Mapping[str, float] | None = None,
    source: str | None = None,
    **options: Any,
) -> BackPropagation:
    """A step of current into the soma `at`, and how far a spike of it spreads into the dendrites.

    **Arguments:** `amplitude` (pA); `delay` and `duration` of the current, which lasts to the run's
    end (ms); `spike`, which one of its spikes, from 0; `window_ms`, where its peaks are looked for:
    from the spike to `window_ms` later, or to the next spike; `distances` (um) by compartment, which
    are then the ones reported, by default all with their electrotonic distance; `source` as for
    `Solution.spikes`, by default `at`; `options` go to `simulate`.

    **Returns:** also `counts`, the events of each source, dendritic spikes among them.

    Raises ValueError for a population, if there is no such spike, and as `simulate` does.
    """
    only_one(neuron, "back_propagation")
    t_max = as_positive(delay, "delay") + as_positive(duration, "duration")
    as_positive(window_ms, "window_ms")
    source = at if source is None else source
    names, along = placed(neuron, at, distances)
    current = StepCurrent(at, amplitude, delay)
    record = list(dict.fromkeys([at, *names]))
    solution = simulate(neuron, [current], t_max=t_max, record=record, **options)
    times = solution.spikes(source)
    found = int(np.isfinite(np.asarray(times)).sum()) if known(times) else times.shape[-1]
    if not 0 <= spike < found:
        raise ValueError(
            f"There is no spike {spike} of {source!r}, there are {found} (counted from 0): change "
            "spike, or give a larger amplitude or a longer duration."
        )
    time = times[spike]
    next_one = times[spike + 1] if spike + 1 < times.shape[-1] else jnp.inf
    ts = jnp.asarray(solution.ts, time.dtype)
    inside = (ts >= time) & (ts <= time + window_ms) & (ts < next_one)
    v = jnp.stack([solution[name] for name in names])
    k = jnp.argmax(jnp.where(inside, v, -jnp.inf), axis=-1)
    rest = v[:, window(solution, delay, t_max).start]
    return BackPropagation(
        compartments=names,
        at=at,
        distances=along,
        electrotonic=distances is None,
        spike=time,
        peaks=jnp.take_along_axis(v, k[:, None], axis=-1)[:, 0] - rest,
        delays=_vertex(ts, v, k) - time,
        counts=event_counts(solution),
        solution=solution,
    )


def _vertex(ts: Array, v: Array, k: Array) -> Array:
    """The time of the maximum of each v (N, R) near its record k: of the parabola through three."""
    a, b, c = (
        jnp.take_along_axis(v, jnp.clip(k + i, 0, ts.size - 1)[:, None], axis=-1)[:, 0]
        for i in (-1, 0, 1)
    )
    bend = a - 2.0 * b + c
    bent = (bend < 0) & (a <= b) & (c <= b)
    return ts[k] + jnp.where(bent, 0.5 * (a - c) / jnp.where(bent, bend, 1.0), 0.0) * (
        ts[1] - ts[0]
    )
