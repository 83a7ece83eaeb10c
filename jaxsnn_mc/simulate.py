"""Running a neuron: one jit-compiled scan over steps, in chunks.

The scan is nested: `record_every` steps give one record, and some records make a chunk, for which
the event times are collected in a few slots (so that spikes cost no memory per step).
"""

from collections.abc import Sequence
from functools import partial
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
    together,
)
from .inputs import Input
from .log import Log, empty_log, empty_slots
from .methods import ImplicitEuler, StepMethod
from .neuron import Neuron, NeuronState
from .parts import Stepper
from .plan import Moving, Plan, make_plan, ndims
from .solution import Diagnostics, Solution
from .spike_rules import Exact, SpikeRule, Surrogate

BLOCK = 512
"""Bytes of one number of each neuron of a population that run together (128 neurons in float32): their
state, and backwards their chunk of it, stay in the caches and below the size up to which XLA compiles
the loop whole."""

SIMD = 16
"""Numbers in the widest vector of a processor (float32): blocks are multiples of it."""


def simulate(
    neuron: Neuron,
    inputs: Sequence[Input] = (),
    *,
    t_max: float,
    dt: float | None = None,
    method: StepMethod | None = None,
    spike_rule: SpikeRule | None = None,
    record: Sequence[str] | None = None,
    record_every: int = 1,
    state: NeuronState | None = None,
    dtype: jnp.dtype | None = None,
    max_events: int = 8,
    block: int | None = None,
) -> Solution:
    """Simulates a neuron, or a population of it, from 0 to `t_max` ms in steps of `dt` ms.

    A new `t_max`, `dt` by `t_max`, record or number of inputs compiles anew; new numbers do not.

    **Arguments:**

    - `neuron`; `inputs`: if any of their numbers has a leading batch axis (B,), a population is run,
      block after block. All batch axes must agree; what has none is shared.
    - `dt`: by default the method's own, 0.01 ms for implicit Euler and 0.1 ms for the splitting.
    - `method`: `ImplicitEuler()` by default, or `Splitting()` for second order and larger steps.
    - `spike_rule`: how gradients cross spikes, `Exact()` by default, or a `Surrogate(shape)`.
    - `record`: what to record besides spikes: a compartment's name for its voltage (mV), or a path
      such as "soma.AdEx.w" for a mechanism's state. All voltages by default, () for spikes only,
      [*neuron.names, "soma.AdEx.w"] for all voltages and a state.
    - `record_every`: record every so many steps.
    - `state`: where to start, such as another solution's `state`; by default at rest at `v_init`.
    - `dtype`: float32 or float64; by default that of the neuron's numbers.
    - `max_events`: how many events and ends of refractory periods a neuron may have in one step;
      steps with more are reported.
    - `block`: how many neurons of a population run side by side (float32: 128, float64: 64).

    **Returns:** a `Solution`. Works under jit, vmap and differentiation.

    Raises ValueError for input that does not fit the neuron or the run.
    """
    stepping, rule = method or ImplicitEuler(), spike_rule or Exact()
    if isinstance(stepping, type) or not hasattr(stepping, "flow"):
        raise ValueError(f"method must be an object such as Splitting(), got {stepping!r}.")
    if not isinstance(rule, SpikeRule):
        raise ValueError(f"spike_rule must be Exact() or Surrogate(shape), got {rule!r}.")
    dt = stepping.default_dt if dt is None else dt
    plan, moving = make_plan(
        neuron, inputs, t_max, dt, record, record_every, state, dtype, max_events, block
    )
    step = np.asarray(dt, moving[0].c_m.dtype)
    block = BLOCK // step.itemsize if block is None else block
    outputs = _run_all(plan, stepping, rule, block, moving, step)
    return _solution(neuron, plan, dt, outputs)


@partial(jax.jit, static_argnums=(0, 3))
def _run_all(
    plan: Plan,
    method: StepMethod,
    rule: SpikeRule,
    block: int,
    moving: Moving,
    dt: Array | np.ndarray,
):
    dt = jnp.asarray(dt)
    stepper = Stepper(method, rule, plan.max_events)
    size = plan.size
    if size is None:
        return _run(plan, stepper, moving, dt)
    flags = jax.tree.map(lambda x, n: x.ndim > n, moving, ndims(moving))
    mapped, shared = eqx.partition(moving, flags)
    # Blocks of one size (the last neuron fills up the last block), so that one loop is compiled.
    blocks = -(-size // block)
    width = -(-size // (blocks * SIMD)) * SIMD if size > SIMD else size
    fill = np.minimum(np.arange(blocks * width), size - 1).reshape(blocks, width)
    # As wide as a block, outside the loop: else each step backwards sums over the lanes.
    shared = jax.tree.map(lambda x: jnp.broadcast_to(x, (width, *x.shape)), shared)

    def run(mine: Moving):
        return _run(plan, stepper, eqx.combine(mine, shared), dt)

    outputs = lax.map(run, jax.tree.map(lambda x: x[fill], mapped))
    return jax.tree.map(lambda y: lax.collapse(y, 0, 2)[:size], outputs)


class _Carry(NamedTuple):
    x: CellState
    log: Log
    index: Array
    chunk_start: Array


def _run(plan: Plan, stepper: Stepper, moving: Moving, dt: Array):
    """A neuron, or a block of a population (B, ...), all neurons of which take each step together."""
    alone = plan.size is None
    each = (lambda f, *_: f) if alone else jax.vmap

    def prepare(moving: Moving):
        neuron, inputs, state = moving
        cells = lay_out(neuron)
        x = lay_out_state(neuron, cells, neuron.init() if state is None else state)
        return cells, x, empty_log(cells, plan.slots), drive.evaluated(neuron, inputs)

    neuron, inputs, _ = moving
    cells, x, log, currents = each(prepare)(moving)
    drives = drive.per_step(neuron, cells, inputs, plan.n_steps, dt, alone)
    # A surrogate's spike train is kept for each step.
    step_by_step = isinstance(stepper.rule, Surrogate)

    def one(cells, currents, x, log, now, since, index):
        x = drive.receive(cells, x, now)
        external = drive.External(cells, currents, now)
        return events.step(stepper, cells, x, external, dt, log, since, index)

    each_one = each(one, (0, 0, 0, 0, 0, None, None))

    def one_step(carry: _Carry, now: drive.Drive) -> tuple[_Carry, Array | None]:
        x, log, index, start = carry
        x, log, spikes = each_one(cells, currents, x, log, now, (index - start) * dt, index)
        return _Carry(x, log, index + 1, start), spikes if step_by_step else None

    # Backwards, a step is computed again from where it started instead of storing its insides; in
    # blocks of small neurons a chunk of steps is, which costs less for each and stays in the caches.
    by_chunk = not alone and cells.unrolled and not plan.checkpoint
    if not by_chunk:
        one_step = jax.checkpoint(one_step, prevent_cse=False)

    def recorded(x: CellState) -> list[Array]:
        return each(partial(_record, plan))(cells, x)

    def one_record(carry: _Carry, now: drive.Drive):
        carry, spikes = lax.scan(one_step, carry, now, length=plan.every)
        return carry, (recorded(carry.x), spikes)

    def one_record_of_one_step(carry: _Carry, now: drive.Drive):
        carry, spikes = one_step(carry, jax.tree.map(lambda d: d[0], now))
        return carry, (recorded(carry.x), None if spikes is None else spikes[None])

    record = one_record_of_one_step if plan.every == 1 else one_record

    def one_chunk(carry: _Carry, now: drive.Drive, length: int = plan.chunk):
        carry, outputs = lax.scan(record, carry, now, length=length)
        log, times = each(partial(empty_slots, slots=plan.slots))(carry.log)
        return _Carry(carry.x, log, carry.index, carry.index), (outputs, times, carry.chunk_start)

    zero = jnp.zeros((), jnp.int32)
    carry = _Carry(x, log, zero, zero)
    chunks, rest = divmod(plan.n_steps // plan.every, plan.chunk)
    whole = chunks * plan.chunk * plan.every

    def divided(d: Array, *lengths: int) -> Array:
        return d.reshape(*lengths, plan.every, *d.shape[1:])

    shaped = jax.tree.map(lambda d: divided(d[:whole], chunks, plan.chunk), drives)
    chunk = jax.checkpoint(one_chunk) if plan.checkpoint or by_chunk else one_chunk
    carry, (outputs, times, starts) = lax.scan(chunk, carry, shaped, length=chunks)
    outputs = jax.tree.map(lambda y: lax.collapse(y, 0, 2), outputs)
    if rest:
        tail = jax.tree.map(lambda d: divided(d[whole:], rest), drives)
        carry, (more, *last) = one_chunk(carry, tail, rest)
        outputs = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outputs, more)
        times, starts = (
            jnp.concatenate([a, b[None]]) for a, b in zip((times, starts), last, strict=True)
        )
    records, train = outputs
    records = [jnp.concatenate([a[None], b]) for a, b in zip(recorded(x), records, strict=True)]
    train = None if train is None else lax.collapse(train, 0, 2)

    def finish(neuron: Neuron, cells: Cells, x: CellState, log: Log, in_time):
        records, times, train = in_time
        if _all_of_a_large_tree(plan, cells):
            records[0] = records[0][:, np.array(plan.voltages)]
        log = log._replace(count=together(log.count).astype(jnp.int32))
        return records, times, starts, train, collect_state(neuron, cells, x), log

    in_time = (records, times, train)
    return each(finish, (0, 0, 0, 0, 1))(neuron, cells, carry.x, carry.log, in_time)


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
    records, times, starts, train, state, log = outputs
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
        train=train,
        counts=log.count,
        state=state,
        diagnostics=Diagnostics(
            unconverged=log.unconverged,
            worst_error=log.worst,
            first_step=log.first_step,
            compartment=log.compartment,
            lost_events=log.lost,
            slowest_crossing=log.slowest,
            names=tuple(neuron.names[i] for i in neuron.tree.order),
        ),
    )
    solution.diagnostics.warn()
    return solution
