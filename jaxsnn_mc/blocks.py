"""A population in blocks, the neurons of which take each step together, on one or more devices."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from .checks import known
from .loop import Outputs, run
from .methods import StepMethod
from .parts import Stepper
from .plan import Moving, Plan, ndims
from .spike_rules import SpikeRule

BLOCK = 512
"""Bytes of one number of each neuron of a population that run together (128 neurons in float32): their
state, and backwards their chunk of it, stay in the caches and below the size up to which XLA compiles
the loop whole."""

SIMD = 16
"""Numbers in the widest vector of a processor (float32): blocks are multiples of it."""


@partial(jax.jit, static_argnums=(0, 3, 4))
def run_all(
    plan: Plan,
    method: StepMethod,
    rule: SpikeRule,
    block: int,
    mesh: Mesh | None,
    moving: Moving,
    dt: Array | np.ndarray,
) -> Outputs:
    """A run of one neuron, or of a population."""
    dt, how, size = jnp.asarray(dt), (method, rule), plan.size
    if size is None:
        return run(plan, Stepper(method, rule, plan.max_events), moving, dt)
    flags = jax.tree.map(lambda x, n: x.ndim > n, moving, ndims(moving))
    mapped, shared = eqx.partition(moving, flags)
    # Blocks of one size (the last neuron fills up the last block), so that one loop is compiled, and
    # as many on each device.
    devices = 1 if mesh is None else mesh.size
    blocks = -(-size // (block * devices)) * devices
    width = -(-size // (blocks * SIMD)) * SIMD if size > SIMD * devices else -(-size // devices)
    fill = np.minimum(np.arange(blocks * width), size - 1).reshape(blocks, width)
    mapped = jax.tree.map(lambda x: x[fill], mapped)
    outputs = _run_blocks(plan, mesh, how, dt, mapped, shared)
    return jax.tree.map(lambda y: lax.collapse(y, 0, 2)[:size], outputs)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _run_blocks(plan: Plan, mesh: Mesh | None, how, dt: Array, mapped, shared) -> Outputs:
    """All blocks; `mapped` has axes (blocks, width), and what is `shared` is read as it is."""
    return _over_devices(plan, mesh, False, how, dt, mapped, shared)


@_run_blocks.defjvp
def _run_blocks_jvp(plan, mesh, primals, tangents):
    """Differentiated, what is shared is as wide as a block, outside the loop: else each step backwards
    sums over the lanes."""
    return jax.jvp(partial(_over_devices, plan, mesh, True), primals, tangents)


def _over_devices(plan: Plan, mesh: Mesh | None, wide: bool, how, dt, mapped, shared) -> Outputs:
    def in_turn(how, dt, mapped, shared):
        if wide:
            width = jax.tree.leaves(mapped)[0].shape[1]
            shared = jax.tree.map(lambda x: jnp.broadcast_to(x, (width, *x.shape)), shared)
        method, rule = how
        stepper = Stepper(method, rule, plan.max_events)
        return lax.map(lambda mine: run(plan, stepper, eqx.combine(mine, shared), dt), mapped)

    if mesh is not None:
        along, whole = PartitionSpec(mesh.axis_names), PartitionSpec()
        specs = (whole, whole, along, whole)
        in_turn = jax.shard_map(
            in_turn, mesh=mesh, in_specs=specs, out_specs=along, check_vma=False
        )
    return in_turn(how, dt, mapped, shared)


def lay_over(mesh: Any, size: int | None, moving: Moving) -> tuple[Mesh, Moving]:
    """The mesh and what moves through a run, both with automatic axes: inputs may then lie anywhere.

    Raises ValueError for what is no mesh, or where there is no population to divide over it.
    """
    if not isinstance(mesh, Mesh):
        raise ValueError(
            f"mesh must be a mesh, such as jax.make_mesh((2,), ('neurons',)), got {mesh!r}."
        )
    if size is None:
        raise ValueError(
            f"A mesh of {mesh.size} device(s) is for a population; give a number of the neuron or of "
            "an input a leading batch axis."
        )

    def automatic(x: Any) -> Any:
        lies = x.sharding if isinstance(x, jax.Array) and known(x) else None
        if not isinstance(lies, NamedSharding):
            return x
        return jax.device_put(x, NamedSharding(_automatic(lies.mesh), lies.spec))

    return _automatic(mesh), jax.tree.map(automatic, moving)


def _automatic(mesh: Any) -> Mesh:
    return Mesh(mesh.devices, mesh.axis_names)
