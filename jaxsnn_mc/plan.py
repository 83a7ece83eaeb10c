"""What is static about a run, worked out and checked before anything is traced."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .cells import internal
from .checks import as_count, as_positive, as_tuple
from .inputs import Input
from .neuron import Neuron, NeuronState

MAX_RATE = 1.0
"""Spikes per ms that a chunk has slots for, besides one. More are counted and reported as lost."""


CHECKPOINT_FROM = 20_000
"""Steps. Longer runs keep, for reverse mode, the states at the starts of chunks only and compute
each chunk once more: memory as the square root of the steps, for a third forward pass."""


class Plan(NamedTuple):
    """What is static about a run (hashable: another plan compiles anew)."""

    size: int | None
    n_steps: int
    every: int
    chunk: int
    slots: int
    max_events: int
    checkpoint: bool
    compartments: tuple[str, ...]
    voltages: tuple[int, ...]
    states: tuple[tuple[str, int, int, str], ...]


Moving: TypeAlias = tuple[Neuron, tuple[Input, ...], NeuronState | None]
"""What moves through a run: neuron, inputs, and where to start if not at rest."""


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
    block: int | None,
) -> tuple[Plan, Moving]:
    """The plan of a run, and what moves through it (neuron, inputs, state) in one dtype.

    The arguments are those of `simulate`. Raises ValueError for whatever does not fit.
    """
    if not isinstance(neuron, Neuron):
        raise ValueError(f"What to simulate must be a Neuron, got {neuron!r}.")
    dt, t_max = as_positive(dt, "dt"), as_positive(t_max, "t_max")
    every = as_count(record_every, "record_every")
    n_steps = _count_steps(t_max, dt, every)
    max_events = as_count(max_events, "max_events")
    if block is not None:
        as_count(block, "block")
    names = neuron.names if record is None else as_tuple(record, "record")
    voltages, states = _what_to_record(neuron, names)
    moving = (neuron, as_tuple(inputs, "inputs"), state)
    size = _check_moving(*moving, t_max, dt)
    chunk = _chunk_length(n_steps // every, every * dt)
    slots = 1 + math.ceil(chunk * every * dt * MAX_RATE)
    compartments = tuple(name for name in names if "." not in name)
    plan = Plan(
        size,
        n_steps,
        every,
        chunk,
        slots,
        max_events,
        n_steps > CHECKPOINT_FROM,
        compartments,
        voltages,
        states,
    )
    dtype = _check_dtype(neuron.c_m.dtype if dtype is None else dtype)
    return plan, jax.tree.map(lambda x: _cast(x, dtype), moving)


def _cast(x: Any, dtype: np.dtype) -> Any:
    """`x` in `dtype`, dispatched to JAX (some 20 us) only if it is not so already; keys stay keys."""
    if not jnp.issubdtype(x.dtype, np.inexact):
        return x
    same = x.dtype == dtype and not getattr(x, "weak_type", False)
    return x if same else jnp.asarray(x, dtype)


def _check_moving(
    neuron: Neuron, inputs: tuple, state: NeuronState | None, t_max: float, dt: float
) -> int | None:
    """The size of the batch axis of what moves through a run, if it all fits together."""
    for one in inputs:
        if not isinstance(one, Input):
            raise ValueError(
                f"An input is a StepCurrent, SampledCurrent, NoiseCurrent or SpikeTrain, got {one!r}."
            )
    if state is not None:
        wanted, given = _shapes(neuron.init()), _shapes(state)
        if jax.tree.flatten(wanted) != jax.tree.flatten(given):
            raise ValueError(
                f"state must be of the neuron's shapes, {wanted}, such as solution.state of an "
                f"earlier run, got {given}."
            )
    size = _batch_size((neuron, inputs, state))
    for one in inputs:
        one.check(neuron, t_max, dt)
    return size


def _shapes(state: Any) -> Any:
    """The shapes in a state, without batch axes."""
    if not isinstance(state, NeuronState):
        return state
    return jax.tree.map(lambda x: np.shape(x)[-1:], state)


def _check_dtype(dtype: Any) -> np.dtype:
    try:
        name = jnp.dtype(dtype).name
    except TypeError:
        name = dtype
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, got {name!r}.")
    dtype = np.dtype(name)
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            "float64 needs JAX's x64 mode: jax.config.update('jax_enable_x64', True) before "
            "anything else, or JAX_ENABLE_X64=1."
        )
    return dtype


def _count_steps(t_max: float, dt: float, every: int) -> int:
    if dt > t_max:
        raise ValueError(f"dt must not be longer than the run, got dt={dt:g}, t_max={t_max:g} ms.")
    n_steps = round(t_max / dt)
    if abs(n_steps * dt - t_max) > 1e-6 * dt * max(n_steps, 1):
        raise ValueError(
            f"t_max must be a whole number of steps, got t_max={t_max:g}, dt={dt:g} ms; the nearest "
            f"that fits is {n_steps * dt:g} ms."
        )
    if n_steps % every:
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
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                f"record must be a list of compartments and paths, got {name!r} in it."
            )
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


def batch_axes(tree: Any, ndims: Any) -> Any:
    """For `jax.vmap`: 0 for each leaf with a batch axis in front of its `ndims` (a tree of them, or one
    number for all), else None."""
    if isinstance(ndims, int):
        ndims = jax.tree.map(lambda _: ndims, tree)
    return jax.tree.map(lambda x, n: 0 if x.ndim > n else None, tree, ndims)


def _batch_size(moving) -> int | None:
    """The size of the batch axis, None without one. Raises ValueError where sizes differ."""
    leaves = zip(jax.tree.leaves(moving), jax.tree.leaves(ndims(moving)), strict=True)
    shapes = {x.shape[: x.ndim - n] for x, n in leaves if x.ndim > n}
    if not shapes:
        return None
    if len(shapes) > 1 or any(len(s) != 1 for s in shapes):
        raise ValueError(
            "The batch axes of neuron, inputs and state must be one and the same, got "
            f"{sorted(shapes)}."
        )
    return shapes.pop()[0]
