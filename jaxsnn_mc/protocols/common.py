"""What protocols share: how they record, and how they read records."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import passive
from ..checks import as_float, check_bounds
from ..inputs import Input
from ..methods import ImplicitEuler
from ..neuron import Neuron
from ..plan import ndims
from ..simulate import simulate
from ..solution import Solution

SAMPLING = 0.05
"""ms. About how often voltages are recorded where nothing changes fast."""


def recorded(
    neuron: Neuron, inputs: Sequence[Input], *, t_max: float, record: Sequence[str], **options: Any
) -> Solution:
    """`simulate`, recording about every `SAMPLING` ms, unless `options` say otherwise."""
    dt = options.get("dt") or (options.get("method") or ImplicitEuler()).default_dt
    every = math.gcd(round(t_max / dt), max(1, round(SAMPLING / dt)))
    options = {"record_every": every, **options}
    return simulate(neuron, inputs, t_max=t_max, record=record, **options)


def window(solution: Solution, start: float, stop: float) -> slice:
    """The records from the last one not after `start` to the last one not after `stop` (ms)."""
    first, last = (np.searchsorted(solution.ts, t + 1e-9 * t, "right") for t in (start, stop))
    return slice(int(first) - 1, int(last))


def peak(change: Array) -> Array:
    """The value of `change` (..., R) that is furthest from 0, also between the samples.

    A smooth top is that of the parabola through the three samples around the furthest one. A corner
    (a current that sets in with a jump) is where the lines through the two samples before it and the
    two after it meet. Second differences beside the top tell them apart: as large as those at it if
    it is smooth, small beside a corner. A top within two samples of an end is the sample itself.
    """
    at = jnp.argmax(jnp.abs(change), axis=-1)[..., None]
    last = change.shape[-1] - 1
    y = {j: jnp.take_along_axis(change, jnp.clip(at + j, 0, last), axis=-1) for j in range(-3, 4)}
    sign = jnp.where(y[0] < 0, -1.0, 1.0)
    y = {j: sign * value for j, value in y.items()}
    bend = {j: 2.0 * y[j] - y[j - 1] - y[j + 1] for j in range(-2, 3)}

    slope = 0.5 * (y[1] - y[-1])
    alike = _share(jnp.minimum(jnp.abs(bend[-1]), jnp.abs(bend[1])), jnp.abs(bend[0]))
    smooth = y[0] + alike * 0.5 * slope**2 / _positive(bend[0])

    def corner(side: int) -> Array:
        """Where the lines meet between the top and the sample on one side of it, or the top."""
        rise, fall = y[side] - y[2 * side], y[0] - y[-side]
        part = (y[0] + fall - y[side]) / _positive(rise + fall)
        meet = y[side] + part * rise
        beside = jnp.abs(bend[2 * side]) + jnp.abs(bend[-side])
        blend = _share(beside, jnp.abs(bend[side]) + jnp.abs(bend[0]))
        meets = (rise > 0) & (fall > 0) & (part > 0) & (part < 1)
        return jnp.where(meets, meet + blend * (smooth - meet), y[0])

    found = jnp.maximum(smooth, jnp.maximum(corner(-1), corner(1)))
    inside = (at >= 2) & (at <= last - 2)
    return (sign * jnp.where(inside, found, y[0]))[..., 0]


def _share(x: Array, of: Array) -> Array:
    return jnp.clip(x / _positive(of), 0.0, 1.0)


def _positive(x: Array) -> Array:
    return jnp.where(x > 0, x, 1.0)


def only_one(neuron: Neuron, protocol: str) -> None:
    """Raises ValueError for a population, whose batch axis a protocol needs for its own runs."""
    axes = zip(jax.tree.leaves(neuron), jax.tree.leaves(ndims((neuron, (), None))), strict=True)
    if any(x.ndim > n for x, n in axes):
        raise ValueError(
            f"{protocol} takes one neuron, got a population; give one neuron at a time (in a "
            "function of its parameters, under jax.vmap)."
        )


def placed(
    neuron: Neuron, at: str, distances: Mapping[str, float] | None
) -> tuple[tuple[str, ...], Array]:
    """The compartments to report and their distances to `at`: those given (um), or else all, with
    their electrotonic distances."""
    neuron.tree.index(at)
    if distances is None:
        return neuron.names, passive.electrotonic_distances(neuron, at)
    if not isinstance(distances, Mapping) or not distances:
        raise ValueError(f"distances must be a dict, compartment to um, got {distances!r}.")
    for name in distances:
        neuron.tree.index(name)
    along = as_float(list(distances.values()), "distances")
    check_bounds(lambda i: f"The distance of {list(distances)[i]!r}", along, "um", low=0.0)
    return tuple(distances), along


def event_counts(solution: Solution) -> dict[str, Array]:
    """The events of each source, by "compartment.mechanism"."""
    return {".".join(s): solution.counts[..., k] for k, s in enumerate(solution.sources)}


def checked_synapses(
    neuron: Neuron, compartments: Sequence[str], synapses: Mapping[str, float]
) -> dict[str, Array]:
    """The synapses' weights. Raises ValueError unless each compartment holds all of them."""
    if not isinstance(synapses, Mapping) or not synapses:
        raise ValueError(
            f"synapses must be a dict of weights by name, such as {{'AMPA': 1.0}}, got {synapses!r}."
        )
    if not compartments:
        raise ValueError(
            f"No compartment holds {list(synapses)}; give the neuron these mechanisms."
        )
    for compartment in compartments:
        for synapse in synapses:
            neuron.find(compartment, synapse)
    return {name: as_float(w, f"The weight of {name!r}") for name, w in synapses.items()}
