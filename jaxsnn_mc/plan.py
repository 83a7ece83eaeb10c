"""What is static about a run, worked out and checked before anything is traced."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .cells import internal
from .inputs import Input
from .neuron import Neuron, NeuronState

MAX_RATE = 1.0
"""Spikes per ms that a chunk has slots for, besides one. More are counted and reported as lost."""


class Plan(NamedTuple):
    """What is static about a run (hashable: another plan compiles anew)."""

    n_steps: int
    every: int
    chunk: int
    slots: int
    max_events: int
    compartments: tuple[str, ...]
    voltages: tuple[int, ...]
    states: tuple[tuple[str, int, int, str], ...]


def make_plan(
    neuron: Neuron,
    inputs: Sequence[Input],
    t_max: float,
    dt: float,
    record: Sequence[str] | None,
    record_every: int,
    state: NeuronState | None,
    dtype: Any,
    max_events: int,
    block: int,
) -> tuple[Plan, tuple[Neuron, tuple[Input, ...], NeuronState]]:
    """The plan of a run, and what moves through it (neuron, inputs, state) in one dtype.

    The arguments are those of `simulate`. Raises ValueError for whatever does not fit.
    """
    n_steps = _count_steps(t_max, dt, record_every)
    inputs = tuple(inputs)
    for one in inputs:
        if not isinstance(one, Input):
            raise ValueError(
                f"An input is a StepCurrent, a SampledCurrent or a SpikeTrain, got {one!r}."
            )
        one.check(neuron, t_max, dt)
    if max_events < 1 or block < 1:
        raise ValueError(f"max_events and block must be 1 at least, got {max_events}, {block}.")
    names = tuple(neuron.names if record is None else record)
    compartments = tuple(name for name in names if "." not in name)
    voltages, states = _what_to_record(neuron, names)
    dtype = jnp.dtype(neuron.c_m.dtype if dtype is None else dtype)
    if dtype == jnp.float64 and not jax.config.jax_enable_x64:
        raise ValueError(
            "float64 needs JAX's x64 mode: jax.config.update('jax_enable_x64', True) before "
            "anything else, or JAX_ENABLE_X64=1."
        )
    chunk = _chunk_length(n_steps // record_every, record_every * dt)
    slots = 1 + math.ceil(chunk * record_every * dt * MAX_RATE)
    plan = Plan(n_steps, record_every, chunk, slots, max_events, compartments, voltages, states)
    moving = jax.tree.map(
        lambda x: jnp.asarray(x, dtype), (neuron, inputs, neuron.init() if state is None else state)
    )
    batch_size(moving)
    return plan, moving


def _count_steps(t_max: float, dt: float, every: int) -> int:
    for what, value in (("dt", dt), ("t_max", t_max)):
        if isinstance(value, jax.core.Tracer):
            raise ValueError(f"{what} must be a plain number (ms), not traced: it sets the steps.")
        if not (np.ndim(value) == 0 and np.isfinite(value) and value > 0):
            raise ValueError(f"{what} must be a positive number (ms), got {value!r}.")
    if dt > t_max:
        raise ValueError(f"dt must not be longer than the run, got dt={dt:g}, t_max={t_max:g} ms.")
    n_steps = round(t_max / dt)
    if abs(n_steps * dt - t_max) > 1e-6 * dt * max(n_steps, 1):
        raise ValueError(
            f"t_max must be a whole number of steps, got t_max={t_max:g}, dt={dt:g} ms; the nearest "
            f"that fits is {n_steps * dt:g} ms."
        )
    if not isinstance(every, int | np.integer) or every < 1 or n_steps % every:
        raise ValueError(
            f"record_every must be a whole number that divides the {n_steps} steps, got {every!r}."
        )
    return n_steps


def _chunk_length(records: int, record_dt: float) -> int:
    """About sqrt(records), but not below 2 ms of spikes; a divisor of `records` if one is near."""
    wanted = max(1, min(records, max(math.isqrt(records), round(2.0 / record_dt))))
    for length in range(wanted, wanted // 2, -1):
        if records % length == 0:
            return length
    return wanted


def _what_to_record(neuron: Neuron, names: tuple[str, ...]):
    """Internal positions of voltages, and (path, group, member, state name) of states."""
    at = internal(neuron)
    if len(set(names)) < len(names):
        raise ValueError(f"What to record must differ, got {list(names)}.")
    voltages = tuple(int(at[neuron.tree.index(name)]) for name in names if "." not in name)
    states = []
    for path in names:
        if "." not in path:
            continue
        words = path.split(".")
        if len(words) != 3:
            raise ValueError(f"Record a compartment or a path like 'soma.AdEx.w', got {path!r}.")
        group, member = neuron.find(words[0], words[1])
        known = eqx.filter_eval_shape(neuron.init).mechanisms[group]
        if words[2] not in known:
            raise ValueError(f"{words[1]} has no state {words[2]!r}; it has {list(known)}.")
        states.append((path, group, member, words[2]))
    return voltages, tuple(states)


def ndims(moving):
    """The number of axes of each leaf without a batch axis."""
    neuron, inputs, state = moving
    return (
        jax.tree.map(lambda _: 1, neuron),
        tuple(one.ndims for one in inputs),
        jax.tree.map(lambda _: 1, state),
    )


def batch_size(moving) -> int | None:
    """The size of the batch axis, None without one. Raises ValueError where sizes differ."""
    leaves = zip(jax.tree.leaves(moving), jax.tree.leaves(ndims(moving)), strict=True)
    shapes = {x.shape[: x.ndim - n] for x, n in leaves if x.ndim > n}
    if not shapes:
        return None
    if len(shapes) > 1 or any(len(s) != 1 for s in shapes):
        raise ValueError(
            f"The batch axes of neuron, inputs and state must be one and the same, got {shapes}."
        )
    return shapes.pop()[0]
