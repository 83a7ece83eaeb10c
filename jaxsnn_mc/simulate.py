"""Running a neuron, or a population: the one call that a user makes."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .blocks import BLOCK, lay_over, run_all
from .cells import firing_sources
from .inputs import Input
from .loop import Outputs
from .methods import ImplicitEuler, StepMethod
from .neuron import Neuron, NeuronState
from .plan import Plan, make_plan
from .solution import Diagnostics, Solution
from .spike_rules import Exact, SpikeRule


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
    mesh: Mesh | None = None,
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
    - `mesh`: the devices over which a population is divided, all of them: `jax.make_mesh((4,),
      ("neurons",))`. A CPU is one device however many cores it has, unless `jax.config.update(
      "jax_num_cpu_devices", 4)` says otherwise, before anything else.

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
    if mesh is not None:
        mesh, moving = lay_over(mesh, plan.size, moving)
    step = np.asarray(dt, moving[0].c_m.dtype)
    block = BLOCK // step.itemsize if block is None else block
    outputs = run_all(plan, stepping, rule, block, mesh, moving, step)
    return _solution(neuron, plan, dt, outputs)


def _solution(neuron: Neuron, plan: Plan, dt: float, outputs: Outputs) -> Solution:
    records, times, starts, train, state, counts, log = outputs
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
        counts=counts,
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
