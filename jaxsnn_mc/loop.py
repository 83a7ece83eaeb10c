"""The loop over the steps of one neuron, or of a block of neurons that take each step together.

It is nested: `record_every` steps give one record, and some records make a chunk, for which the event
times are collected in a few slots (so that spikes cost no memory per step).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from . import drive, events
from .cells import Cells, CellState, collect_state, lay_out, lay_out_state, together
from .log import Log, empty_log, empty_slots
from .neuron import Neuron, NeuronState
from .parts import Stepper
from .plan import Moving, Plan, batch_axes, ndims
from .spike_rules import Surrogate


class Outputs(NamedTuple):
    """What a run leaves, of each neuron: `records` over time, voltages (T, n) and then each state
    (T,); event `times` in the slots of each chunk (chunks, S, E) and where each `starts` (step); the
    spike `train` (n_steps, E) if a surrogate needs it; the `state` at the end, the event `counts` (E,)
    and the rest of the `log`."""

    records: list[Array]
    times: Array
    starts: Array
    train: Array | None
    state: NeuronState
    counts: Array
    log: Log


class _Carry(NamedTuple):
    x: CellState
    log: Log
    index: Array
    chunk_start: Array


def run(plan: Plan, stepper: Stepper, moving: Moving, dt: Array) -> Outputs:
    """A run of one neuron, or of a block of a population: then some leaves have an axis (B,)."""
    alone = plan.size is None
    each: Callable = (lambda f, *_: f) if alone else jax.vmap
    neuron, inputs, _ = moving
    cells, currents = lay_out(neuron), drive.evaluated(neuron, inputs)
    drives = drive.per_step(neuron, cells, inputs, plan.n_steps, dt)
    x, log = each(partial(_prepare, plan), (batch_axes(moving, ndims(moving)),))(moving)
    axes = (batch_axes(cells, 0 if cells.unrolled else 1), batch_axes(currents, 0))
    axes = (*axes, batch_axes(drives, 1), 0, 0, None, None)
    one = each(partial(_step, stepper, dt), axes)
    # A surrogate's spike train is kept for each step.
    step_by_step = isinstance(stepper.rule, Surrogate)

    def one_step(carry: _Carry, now: drive.Drive) -> tuple[_Carry, Array | None]:
        x, log, index, start = carry
        x, log, spikes = one(cells, currents, now, x, log, (index - start) * dt, index)
        return _Carry(x, log, index + 1, start), spikes if step_by_step else None

    # Backwards, a step is computed again from where it started instead of storing its insides; in
    # blocks of small neurons a chunk of steps is, which costs less for each and stays in the caches.
    by_chunk = not alone and cells.unrolled and not plan.checkpoint
    if not by_chunk:
        one_step = jax.checkpoint(one_step, prevent_cse=False)

    def recorded(x: CellState) -> list[Array]:
        return each(partial(_record, plan, cells))(x)

    def one_record(carry: _Carry, now: drive.Drive):
        if plan.every == 1:
            carry, spikes = one_step(carry, jax.tree.map(lambda d: d[0], now))
            return carry, (recorded(carry.x), None if spikes is None else spikes[None])
        carry, spikes = lax.scan(one_step, carry, now, length=plan.every)
        return carry, (recorded(carry.x), spikes)

    def one_chunk(length: int, carry: _Carry, now: drive.Drive):
        carry, outputs = lax.scan(one_record, carry, now, length=length)
        log, times = each(partial(empty_slots, slots=plan.slots))(carry.log)
        return _Carry(carry.x, log, carry.index, carry.index), (outputs, times, carry.chunk_start)

    def chunk(length: int) -> Callable:
        again = plan.checkpoint or by_chunk
        return jax.checkpoint(partial(one_chunk, length)) if again else partial(one_chunk, length)

    zero = jnp.zeros((), jnp.int32)
    carry, (outputs, times, starts) = _in_chunks(plan, chunk, _Carry(x, log, zero, zero), drives)
    records, train = outputs
    records = [jnp.concatenate([a[None], b]) for a, b in zip(recorded(x), records, strict=True)]
    train = None if train is None else lax.collapse(train, 0, 2)
    finish = each(partial(_finish, plan, starts, neuron, cells), (0, 0, 1))
    return finish(carry.x, carry.log, (records, times, train))


def _prepare(plan: Plan, moving: Moving) -> tuple[CellState, Log]:
    """The state and the log at the start."""
    neuron, _, state = moving
    cells = lay_out(neuron)
    x = lay_out_state(neuron, cells, neuron.init() if state is None else state)
    return x, empty_log(cells, plan.slots)


def _step(stepper: Stepper, dt: Array, cells, currents, now, x, log, since, index):
    """A step of one neuron; `since` (ms) the start of its chunk."""
    x = drive.receive(cells, x, now)
    external = drive.External(cells, currents, now)
    return events.step(stepper, cells, x, external, dt, log, since, index)


def _in_chunks(plan: Plan, chunk: Callable, carry: _Carry, drives: drive.Drive):
    """The loop over the chunks, `chunk(length)` being what one of so many records does: the carry, and
    what the chunks return, joined. The last chunk may be shorter."""
    chunks, rest = divmod(plan.n_steps // plan.every, plan.chunk)
    done, found = 0, []
    for count, length in ((chunks, plan.chunk), (1, rest)):
        if not length:
            continue
        steps = slice(done, done + count * length * plan.every)
        lead = (count, length, plan.every)
        now = jax.tree.map(lambda d: d[steps].reshape(*lead, *d.shape[1:]), drives)  # noqa: B023
        carry, (outputs, times, starts) = lax.scan(chunk(length), carry, now, length=count)
        found.append((jax.tree.map(lambda y: lax.collapse(y, 0, 2), outputs), times, starts))
        done = steps.stop
    return carry, jax.tree.map(lambda *y: jnp.concatenate(y), *found)


def _finish(plan: Plan, starts: Array, neuron: Neuron, cells: Cells, x, log: Log, in_time: Any):
    """The outputs of one neuron; neuron and cells only say what is static."""
    records, times, train = in_time
    if _all_of_a_large_tree(plan, cells):
        records[0] = records[0][:, np.array(plan.voltages)]
    counts = together(log.count).astype(jnp.int32)
    return Outputs(records, times, starts, train, collect_state(neuron, cells, x), counts, log)


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
