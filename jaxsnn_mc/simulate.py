"""Running a neuron: one jit-compiled scan over steps, in chunks.

The scan is nested: `record_every` steps give one record, and some records make a chunk, for which
the event times are collected in a few slots (so that spikes cost no memory per step).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from . import drive, events
from .cells import (
    UNROLLED_UP_TO,
    Cells,
    CellState,
    collect_state,
    firing_sources,
    internal,
    lay_out,
    lay_out_state,
)
from .inputs import Input
from .methods import ImplicitEuler, StepMethod
from .neuron import Neuron, NeuronState
from .solution import Diagnostics, Solution

BLOCK = 128
"""Neurons of a population that run together: their state stays in the first-level cache."""

MAX_RATE = 1.0
"""Spikes per ms that a chunk has slots for, besides one. More are counted and reported as lost."""


class Plan(NamedTuple):
    """What is static about a run (hashable: another plan compiles anew)."""

    n_steps: int
    every: int
    chunk: int
    slots: int
    max_events: int
    voltages: tuple[int, ...]
    states: tuple[tuple[str, int, int, str], ...]


def simulate(
    neuron: Neuron,
    inputs: Sequence[Input] = (),
    *,
    t_max: float,
    dt: float = 0.01,
    method: StepMethod | None = None,
    record: Sequence[str] | None = None,
    record_every: int = 1,
    state: NeuronState | None = None,
    dtype: jnp.dtype | None = None,
    max_events: int = 4,
    block: int = BLOCK,
) -> Solution:
    """Simulates a neuron, or a population of it, from 0 to `t_max` ms in steps of `dt` ms.

    **Arguments:**

    - `neuron`; `inputs`: if any of their numbers has a leading batch axis (B,), a population is run,
      block after block. All batch axes must agree; what has none is shared.
    - `method`: `ImplicitEuler()` by default, or `Splitting()` for second order and larger steps.
    - `record`: what to record besides spikes: a compartment's name for its voltage (mV), or a path
      such as "soma.AdEx.w" for a mechanism's state. All voltages by default, () for spikes only.
    - `record_every`: record every so many steps.
    - `state`: where to start, such as another solution's `state`; by default at rest at `v_init`.
    - `dtype`: float32 or float64; by default that of the neuron's numbers.
    - `max_events`: how many events a neuron may have in one step; steps with more are reported.
    - `block`: how many neurons of a population run side by side.

    **Returns:** a `Solution`. Works under jit, vmap and differentiation.

    Raises ValueError for input that does not fit the neuron or the run.
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
    voltages, states = _what_to_record(neuron, names)
    dtype = jnp.dtype(neuron.c_m.dtype if dtype is None else dtype)
    if dtype == jnp.float64 and not jax.config.jax_enable_x64:
        raise ValueError(
            "float64 needs JAX's x64 mode: jax.config.update('jax_enable_x64', True) before "
            "anything else, or JAX_ENABLE_X64=1."
        )
    chunk = _chunk_length(n_steps // record_every, record_every * dt)
    slots = 1 + math.ceil(chunk * record_every * dt * MAX_RATE)
    plan = Plan(n_steps, record_every, chunk, slots, max_events, voltages, states)
    moving = jax.tree.map(
        lambda x: jnp.asarray(x, dtype), (neuron, inputs, neuron.init() if state is None else state)
    )
    size = _batch_size(moving)
    step = jnp.asarray(dt, dtype)
    outputs = _run_all(plan, method or ImplicitEuler(), size, block, moving, step)
    return _solution(neuron, names, plan, dt, outputs)


@eqx.filter_jit
def _run_all(plan: Plan, method: StepMethod, size: int | None, block: int, moving, dt: Array):
    if size is None:
        return _run(plan, method, *moving, dt)
    flags = jax.tree.map(lambda x, n: x.ndim > n, moving, _ndims(moving))
    mapped, shared = eqx.partition(moving, flags)
    return lax.map(
        lambda mine: _run(plan, method, *eqx.combine(mine, shared), dt), mapped, batch_size=block
    )


class _Carry(NamedTuple):
    x: CellState
    log: events.Log
    index: Array
    chunk_start: Array


def _run(plan: Plan, method: StepMethod, neuron: Neuron, inputs, state: NeuronState, dt: Array):
    cells = lay_out(neuron)
    x = lay_out_state(neuron, cells, state)
    currents, drives = drive.prepare(neuron, cells, inputs, plan.n_steps, dt)
    zero = jnp.zeros((), jnp.int32)

    def one_step(carry: _Carry, now: drive.Drive) -> tuple[_Carry, None]:
        x = drive.receive(cells, carry.x, now)
        external = drive.External(cells, currents, now)
        since = (carry.index - carry.chunk_start) * dt
        x, log = events.step(
            cells, method, x, external, dt, carry.log, since, carry.index, plan.max_events
        )
        return _Carry(x, log, carry.index + 1, carry.chunk_start), None

    def one_record(carry: _Carry, now):
        if plan.every == 1:
            carry, _ = one_step(carry, jax.tree.map(lambda d: d[0], now))
        else:
            carry, _ = lax.scan(one_step, carry, now, length=plan.every)
        return carry, _record(plan, cells, carry.x)

    def one_chunk(carry: _Carry, now, length: int = plan.chunk):
        carry, records = lax.scan(one_record, carry, now, length=length)
        times = carry.log.times
        log = carry.log._replace(
            times=jnp.full_like(times, jnp.inf), in_chunk=jnp.zeros_like(carry.log.in_chunk)
        )
        excess = jnp.maximum(carry.log.in_chunk - plan.slots, 0).sum(dtype=jnp.int32)
        log = log._replace(lost=log.lost + excess)
        start = carry.chunk_start
        return _Carry(carry.x, log, carry.index, carry.index), (records, times, start)

    first = _record(plan, cells, x)
    carry = _Carry(x, events.empty_log(cells, plan.slots), zero, zero)
    records_left = plan.n_steps // plan.every
    chunks, rest = divmod(records_left, plan.chunk)
    whole = chunks * plan.chunk * plan.every
    shaped = jax.tree.map(lambda d: d[:whole].reshape(chunks, plan.chunk, plan.every), drives)
    carry, (records, times, starts) = lax.scan(one_chunk, carry, shaped, length=chunks)
    records = [r.reshape(-1, *r.shape[2:]) for r in records]
    if rest:
        tail = jax.tree.map(lambda d: d[whole:].reshape(rest, plan.every), drives)
        carry, (more, last_times, last_start) = one_chunk(carry, tail, rest)
        records = [jnp.concatenate([a, b]) for a, b in zip(records, more, strict=True)]
        times = jnp.concatenate([times, last_times[None]])
        starts = jnp.concatenate([starts, last_start[None]])
    records = [jnp.concatenate([a[None], b]) for a, b in zip(first, records, strict=True)]
    return records, times, starts, collect_state(neuron, cells, carry.x), carry.log


def _record(plan: Plan, cells: Cells, x: CellState) -> list[Array]:
    """Voltages (n,) and then each recorded state ()."""
    v = x.v
    if cells.unrolled or len(plan.voltages) < len(cells.parent):
        voltages = [jnp.stack([v[i] for i in plan.voltages])] if plan.voltages else []
    else:  # all of a large tree, in internal order
        voltages = [v]
    states = []
    for _, group, member, name in plan.states:
        for part, state in zip(cells.parts, x.parts, strict=True):
            if part.group == group and member in part.members:
                value = state[name]
                states.append(value[part.members.index(member)] if value.ndim else value)
    return voltages + states


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


def _ndims(moving):
    """The number of axes of each leaf without a batch axis."""
    neuron, inputs, state = moving
    return (
        jax.tree.map(lambda _: 1, neuron),
        tuple(one.ndims for one in inputs),
        jax.tree.map(lambda _: 1, state),
    )


def _batch_size(moving) -> int | None:
    """The size of the batch axis, None without one. Raises ValueError where sizes differ."""
    leaves = zip(jax.tree.leaves(moving), jax.tree.leaves(_ndims(moving)), strict=True)
    shapes = {x.shape[: x.ndim - n] for x, n in leaves if x.ndim > n}
    if not shapes:
        return None
    if len(shapes) > 1 or any(len(s) != 1 for s in shapes):
        raise ValueError(
            f"The batch axes of neuron, inputs and state must be one and the same, got {shapes}."
        )
    return shapes.pop()[0]


def _solution(neuron: Neuron, names, plan: Plan, dt: float, outputs) -> Solution:
    records, times, starts, state, log = outputs
    v, states = None, records
    if plan.voltages:
        v, states = records[0], records[1:]
        if len(plan.voltages) > UNROLLED_UP_TO and len(plan.voltages) == neuron.tree.size:
            v = v[..., np.array(plan.voltages)]
    solution = Solution(
        dt=float(dt),
        n_steps=plan.n_steps,
        every=plan.every,
        compartments=tuple(name for name in names if "." not in name),
        voltages=v,
        states={path: states[i] for i, (path, *_) in enumerate(plan.states)},
        sources=firing_sources(neuron),
        slots=times,
        slot_starts=starts,
        counts=log.count,
        state=state,
        diagnostics=Diagnostics(
            unconverged=log.unconverged,
            worst_error=log.worst,
            first_step=log.first_step,
            compartment=log.compartment,
            lost_events=log.lost,
            names=tuple(neuron.names[i] for i in neuron.tree.order),
        ),
    )
    solution.diagnostics.warn()
    return solution
