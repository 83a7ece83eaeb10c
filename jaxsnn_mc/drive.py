"""Inputs laid out for the inner loop: what arrives in each step, and what is evaluated there."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .cells import Cells, CellState, internal, take
from .hines import Values
from .inputs import Input, SampledCurrent, SpikeTrain, StepCurrent
from .neuron import Neuron
from .noise import NoiseCurrent
from .plan import batch_axes


class Drive(NamedTuple):
    """What is known for each step, arrays (n_steps, ...) or one step's: `currents` (pA), by internal
    position, and `weights` of input spikes, by (part, member of the part)."""

    currents: dict[int, Array]
    weights: dict[tuple[int, int], Array]


class Currents(eqx.Module):
    """Step currents, and the internal position of the compartment of each."""

    into: tuple[int, ...] = eqx.field(static=True)
    currents: tuple[StepCurrent, ...]


def evaluated(neuron: Neuron, inputs: tuple[Input, ...]) -> Currents:
    """The currents to evaluate in the loop."""
    at, steps = internal(neuron), [one for one in inputs if isinstance(one, StepCurrent)]
    return Currents(
        tuple(int(at[neuron.tree.index(one.compartment)]) for one in steps), tuple(steps)
    )


def per_step(
    neuron: Neuron, cells: Cells, inputs: tuple[Input, ...], n_steps: int, dt: Array
) -> Drive:
    """What is known for each step, arrays (n_steps,), or (n_steps, B) where B neurons differ."""
    at, drive = internal(neuron), Drive({}, {})
    for one in inputs:
        if isinstance(one, SampledCurrent | NoiseCurrent):
            key = int(at[neuron.tree.index(one.compartment)])
            axes = batch_axes(one, one.ndims)
            each = partial(type(one).per_step, n_steps=n_steps, dt=dt)
            if jax.tree.leaves(axes):
                each = jax.vmap(each, (axes,), out_axes=1)
            _add(drive.currents, key, each(one))
        elif isinstance(one, SpikeTrain):
            group, member = neuron.find(one.compartment, one.synapse)
            part = next(
                k for k, p in enumerate(cells.parts) if p.group == group and member in p.members
            )
            target = (part, cells.parts[part].members.index(member))
            _add(drive.weights, target, one.per_step(n_steps, dt))
    return drive


def _add(found: dict, key, arrived: Array) -> None:
    if key in found:
        more = found[key]
        ndim = max(arrived.ndim, more.ndim)
        arrived, more = (x.reshape(x.shape + (1,) * (ndim - x.ndim)) for x in (arrived, more))
        arrived = arrived + more
    found[key] = arrived


def receive(cells: Cells, x: CellState, drive: Drive) -> CellState:
    """The state after the input spikes of a step."""
    parts = list(x.parts)
    for k, part in enumerate(cells.parts):
        mine = {member: weight for (p, member), weight in drive.weights.items() if p == k}
        if not mine:
            continue
        if isinstance(part.where, int):
            total = mine[0]
        else:
            total = jnp.zeros_like(take(x.v, part.where))
            for member, weight in mine.items():
                total = total.at[member].add(weight)
        parts[k] = part.mechanism.receive(parts[k], total)
    return CellState(x.v, tuple(parts))


class External(eqx.Module):
    """The external currents as a function of time; a pytree, so that it can be held constant."""

    cells: Cells
    currents: Currents
    drive: Drive

    def __call__(self, t: Array, h: Array) -> Values:
        """The mean current (pA) into each compartment over t to t + h (ms)."""
        steps = zip(self.currents.into, self.currents.currents, strict=True)
        into = [(i, one.mean(t, h)) for i, one in steps] + list(self.drive.currents.items())
        if self.cells.unrolled:
            total = [jnp.zeros_like(c) for c in self.cells.c_m]
            for i, current in into:
                total[i] = total[i] + current
            return tuple(total)
        total = jnp.zeros_like(self.cells.c_m)
        for i, current in into:
            total = total.at[i].add(current)
        return total
