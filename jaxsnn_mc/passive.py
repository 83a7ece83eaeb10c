"""What a neuron's passive tree says of itself: input resistances, time constants, distances.

A neuron is linearised at its start: where all is at `v_init` and every mechanism's state is held at
what `init` gives there, a compartment's membrane conductance is minus the slope of its currents.
For leaks that is exact. G is the matrix of these conductances and of the couplings (nS), C the
diagonal one of capacitances (pF). Results of a population have its batch axis (B,) first.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from . import hines
from .checks import known
from .neuron import Neuron
from .tree import Tree
from .units import MOHM_TO_NS

_STEEPEST = 1e6
"""nS. Where the slope of a stiff current ends; no rest is that steep."""


def membrane_conductances(neuron: Neuron) -> Array:
    """The slope conductance (N,) of each compartment's membrane at the start, nS."""
    start = neuron.init()
    total = jnp.zeros_like(neuron.v_init)
    pairs = zip(neuron.mechanisms, neuron.placements, start.mechanisms, strict=True)
    for mechanism, where, state in pairs:

        def current(v, mechanism=mechanism, state=state):
            stiff = mechanism.stiff_current(v, jnp.full_like(v, _STEEPEST))
            now = mechanism.current(state, v)
            return now if stiff is None else now + stiff

        v = jnp.asarray(start.v[..., np.array(where)])
        batch = jnp.broadcast_shapes(*(x.shape for x in jax.tree.leaves((mechanism, state, v))))
        v = jnp.broadcast_to(v, batch)
        _, slope = jax.jvp(current, (v,), (jnp.ones_like(v),))
        wide = jnp.broadcast_shapes(total.shape[:-1], slope.shape[:-1])
        total = jnp.broadcast_to(total, (*wide, neuron.tree.size))
        total = total.at[..., np.array(where)].add(-slope)
    return total


def resistances(neuron: Neuron) -> Array:
    """The inverse of G (N, N), MOhm: what 1 nA into one compartment adds to another, in mV, in the
    end. One tree solve a column.

    Raises ValueError if nothing leaks: no voltage would settle.
    """
    g_m = membrane_conductances(neuron)
    if known(g_m) and not np.all(np.sum(np.asarray(g_m), axis=-1) > 0):
        raise ValueError(
            "The neuron does not leak, so it has no input resistance; give it e.g. a Leak(g_leak=...)."
        )
    return MOHM_TO_NS * _inverse(neuron.tree, g_m, neuron.g)


@partial(jax.jit, static_argnums=0)
def _inverse(tree: Tree, g_m: Array, g: Array) -> Array:
    order, edge = np.array(tree.order), np.array(tree.edge)
    place = np.argsort(order)

    def inverse(g_m, g):
        up = jnp.concatenate([jnp.zeros_like(g_m[:1]), g[edge[1:]]])

        def column(b):
            return hines.solve(tree.parent, g_m[order], up, b, jnp.zeros_like(b))

        return jax.vmap(column)(jnp.eye(tree.size, dtype=g_m.dtype))[place][:, place]

    return jnp.vectorize(inverse, signature="(n),(m)->(n,n)")(g_m, g)


def input_resistances(neuron: Neuron) -> Array:
    """The steady input resistance (N,) of each compartment, MOhm: the diagonal of `resistances`."""
    return jnp.diagonal(resistances(neuron), axis1=-2, axis2=-1)


def attenuations(neuron: Neuron) -> Array:
    """The steady attenuation (N, N): row i says which part of a steady change of voltage, made by a
    current into compartment i, arrives in each compartment."""
    r = resistances(neuron)
    return r / jnp.diagonal(r, axis1=-2, axis2=-1)[..., None]


def electrotonic_distances(neuron: Neuron, compartment: str) -> Array:
    """The electrotonic distance (N,) of each compartment to `compartment`, minus the logarithm of
    the steady attenuation from there to `compartment`: x / lambda in an infinite cable.

    The morphoelectrotonic distance of Zador, Agmon-Snir and Segev, J. Neurosci. 15:1669 (1995). It
    depends on the direction: towards `compartment`.
    """
    return -jnp.log(attenuations(neuron)[..., neuron.tree.index(compartment)])


def time_constants(neuron: Neuron) -> Array:
    """The time constants (N,) of the tree, ms, slowest first: 1 over the eigenvalues of C^-1 G.

    Dense, in O(N^3): for trees of up to some hundreds of compartments. A state's own time constants,
    such as an adaptation's, are not among them.
    """
    return _inverse_rates(neuron.tree, neuron.c_m, membrane_conductances(neuron), neuron.g)


@partial(jax.jit, static_argnums=0)
def _inverse_rates(tree: Tree, c_m: Array, g_m: Array, g: Array) -> Array:
    edge, order = np.array(tree.edge[1:], int), np.array(tree.order)
    a, b = order[np.array(tree.parent[1:], int)], order[1:]

    def one(c_m, g_m, g):
        along, scale = g[edge], 1.0 / jnp.sqrt(c_m)
        matrix = jnp.diag(g_m).at[a, a].add(along).at[b, b].add(along)
        matrix = matrix.at[a, b].add(-along).at[b, a].add(-along)
        return 1.0 / jnp.linalg.eigvalsh(scale[:, None] * matrix * scale)

    return jnp.vectorize(one, signature="(n),(n),(m)->(n)")(c_m, g_m, g)
