"""Running a neuron: one jit-compiled scan over steps, in chunks.

The scan is nested: `record_every` steps give one record, and some records make a chunk, for which
the event times are collected in a few slots (so that spikes cost no memory per step).
"""

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
    Cells,
    CellState,
    collect_state,
    firing_sources,
    lay_out,
    lay_out_state,
)
from .inputs import Input
from .methods import ImplicitEuler, StepMethod
from .neuron import Neuron, NeuronState
from .plan import Plan, batch_size, make_plan, ndims
from .solution import Diagnostics, Solution

BLOCK = 128
"""Neurons of a population that run together: their state stays in the first-level cache."""


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
    max_events: int = 8,
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
    - `max_events`: how many events and ends of refractory periods a neuron may have in one step;
      steps with more are reported.
    - `block`: how many neurons of a population run side by side.

    **Returns:** a `Solution`. Works under jit, vmap and differentiation.

    Raises ValueError for input that does not fit the neuron or the run.
    """
    plan, moving = make_plan(
        neuron, inputs, t_max, dt, record, record_every, state, dtype, max_events, block
    )
    size, step = batch_size(moving), jnp.asarray(dt, moving[0].c_m.dtype)
    outputs = _run_all(plan, method or ImplicitEuler(), size, block, moving, step)
    return _solution(neuron, plan, dt, outputs)


@eqx.filter_jit
def _run_all(plan: Plan, method: StepMethod, size: int | None, block: int, moving, dt: Array):
    if size is None:
        return _run(plan, method, *moving, dt)
    flags = jax.tree.map(lambda x, n: x.ndim > n, moving, ndims(moving))
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

    one_step = jax.checkpoint(one_step, prevent_cse=False)

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
    if _all_of_a_large_tree(plan, cells):
        records[0] = records[0][:, np.array(plan.voltages)]
    return records, times, starts, collect_state(neuron, cells, carry.x), carry.log


def _record(plan: Plan, cells: Cells, x: CellState) -> list[Array]:
    """Voltages (n,) and then each recorded state ()."""
    v = x.v
    if _all_of_a_large_tree(plan, cells):
        voltages = [v]
    else:
        voltages = [jnp.stack([v[i] for i in plan.voltages])] if plan.voltages else []
    states = []
    for _, group, member, name in plan.states:
        for part, state in zip(cells.parts, x.parts, strict=True):
            if part.group == group and member in part.members:
                value = state[name]
                states.append(value[part.members.index(member)] if value.ndim else value)
    return voltages + states


def _all_of_a_large_tree(plan: Plan, cells: Cells) -> bool:
    """Whether all voltages are recorded as the array that they are, in internal order."""
    return not cells.unrolled and len(plan.voltages) == len(cells.parent)


def _solution(neuron: Neuron, plan: Plan, dt: float, outputs) -> Solution:
    records, times, starts, state, log = outputs
    v, states = None, records
    if plan.voltages:
        v, states = records[0], records[1:]
    solution = Solution(
        dt=float(dt),
        n_steps=plan.n_steps,
        every=plan.every,
        compartments=plan.compartments,
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
