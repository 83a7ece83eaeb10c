"""The O(N) solve of a tree of coupled compartments, and its derivative, one more solve.

With D a diagonal and L the Laplacian of the tree with couplings g ((L x)_i is the sum of
g_ij (x_i - x_j) over the neighbours), `solve` returns the x of

    (D + L) x = b - L v.

That is one implicit step for the *change* x of the voltages v. The axial current -L v is formed
inside the elimination, and only with positive terms: a compartment with diagonal e (its own and its
subtree's) behind a coupling g loads its parent by e g / (e + g), never by a difference. So a
conductance ratio of 1e6 costs no digits.

Values over compartments are either a tuple of N scalars, for which the elimination is unrolled
(fastest while trees are small; a batch axis makes each scalar a vector), or an array (N,), for which
it is a compiled loop with scalar indices.

A compartment without capacitance (a branch point) has a diagonal of 0, and is solved all the same.
"""

from functools import cache, partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

Values: TypeAlias = Any
"""One number for each compartment in internal order: N scalars, or an array (N,)."""


UNROLL = 4
"""Compartments in one iteration of the compiled loops."""

SHORT = 24
"""Compartments of an array up to which a Laplacian is written out."""


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def solve(parent: tuple[int, ...], diagonal: Values, g: Values, b: Values, v: Values) -> Values:
    """Solves (D + L) x = b - L v on a tree.

    **Arguments:** `parent` (N,), -1 for the root, which comes first; `diagonal`, not negative;
    `g`, the coupling to the parent (g of the root is not used); `b`; `v`. All in coherent units
    (pF for `diagonal`, nS ms for `g`, pA ms for `b`, mV for `v`).

    **Returns:** x in mV, of the kind of `b`. Forward and reverse mode are one more solve each.
    """
    if isinstance(b, tuple):
        form = partial(_unrolled, parent)
        if len(parent) == 1:
            return form(diagonal, g, b, v)
        return lax.platform_dependent(diagonal, g, b, v, cpu=partial(_once, form), default=form)
    down = sequence(parent)
    at = None if down == tuple(range(len(parent))) else _indices(down)
    return _loop(_indices((0, *parent[1:])), diagonal, g, b, v, at)


def _indices(values: tuple[int, ...]) -> Array:
    """Unsigned: JAX then does not ask of each whether it counts from the end."""
    return jnp.asarray(np.array(values, np.uint32))


@cache
def sequence(parent: tuple[int, ...]) -> tuple[int, ...]:
    """All indices, parents before their children: as they are if that is so, else breadth first."""
    if all(up < i for i, up in enumerate(parent)):
        return tuple(range(len(parent)))
    children: list[list[int]] = [[] for _ in parent]
    for i, up in enumerate(parent[1:], 1):
        children[up].append(i)
    found = [0]
    for i in found:  # which grows
        found += children[i]
    return tuple(found)


@partial(solve.defjvp, symbolic_zeros=True)
def _solve_jvp(parent, primals, tangents):
    """(D + L) x' = b' - D' x - L' (v + x) - L v', and -L v' = D v' - (D + L) v'."""
    diagonal, g, b, v = primals
    diagonal_dot, g_dot, b_dot, v_dot = tangents
    x = solve(parent, diagonal, g, b, v)
    moved = jax.tree.map(jnp.add, v, x)
    right = jax.tree.map(jnp.zeros_like, x)
    right = _plus(right, b_dot, lambda t: t)
    right = _plus(right, diagonal_dot, lambda t, x: -t * x, x)
    right = _plus(right, v_dot, lambda t, d: d * t, diagonal)
    if not _is_zero(g_dot):
        laplacian = _laplacian(parent, jax.tree.map(_dense, g_dot), moved)
        right = jax.tree.map(jnp.subtract, right, laplacian)
    x_dot = _linear_solve(parent, diagonal, g, right)
    return x, _plus(x_dot, v_dot, lambda t: -t)


def _linear_solve(parent, diagonal, g, b):
    """(D + L)^-1 b, linear in b for JAX: its transpose is itself."""

    def matvec(x):
        return jax.tree.map(lambda d, x, lx: d * x + lx, diagonal, x, _laplacian(parent, g, x))

    def solve_(_, b):
        return solve(parent, diagonal, g, b, jax.tree.map(jnp.zeros_like, b))

    return lax.custom_linear_solve(matvec, b, solve_, symmetric=True)


def _plus(total, tangent, term, *others):
    """total + term(tangent, ...) leaf by leaf, skipping tangents that are zero by construction."""

    def add(total, tangent, *others):
        return total if isinstance(tangent, SymbolicZero) else total + term(tangent, *others)

    return jax.tree.map(add, total, tangent, *others)


def _is_zero(tangent) -> bool:
    return all(isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(tangent))


def _dense(tangent: Any) -> Array:
    if isinstance(tangent, SymbolicZero):
        aval: Any = tangent.aval
        return jnp.zeros(aval.shape, aval.dtype)
    return tangent


def _laplacian(parent: tuple[int, ...], g: Values, x: Values) -> Values:
    """L x: (L x)_i is the sum of g_ij (x_i - x_j) over the neighbours of i."""
    if isinstance(x, tuple):
        total = [jnp.zeros_like(xi) for xi in x]
        for i in range(1, len(parent)):
            flow = g[i] * (x[i] - x[parent[i]])
            total[i] = total[i] + flow
            total[parent[i]] = total[parent[i]] - flow
        return tuple(total)
    if len(parent) == 1:
        return jnp.zeros_like(x)
    if len(parent) <= SHORT:  # an index array would keep XLA from compiling the whole loop
        each = ([y[i] for i in range(len(parent))] for y in (g, x))
        return jnp.stack(_laplacian(parent, *map(tuple, each)))
    up = np.array(parent[1:])
    flow = g[1:] * (x[1:] - x[up])
    return jnp.zeros_like(x).at[1:].add(flow).at[up].add(-flow)


def _unrolled(parent, diagonal, g, b, v) -> tuple[Array, ...]:
    e, b = list(diagonal), list(b)
    share: list = [None] * len(parent)
    inverse: list = [None] * len(parent)
    down = sequence(parent)
    for i in reversed(down[1:]):
        p = parent[i]
        inverse[i] = 1.0 / (e[i] + g[i])
        share[i] = g[i] * inverse[i]
        b[p] = b[p] + share[i] * (e[i] * (v[i] - v[p]) + b[i])
        e[p] = e[p] + share[i] * e[i]
    x: list = [b[0] / e[0]] * len(parent)
    for i in down[1:]:
        p = parent[i]
        x[i] = b[i] * inverse[i] + share[i] * (x[p] + (v[p] - v[i]))
    return tuple(x)


def _once(form, diagonal, g, b, v) -> tuple[Array, ...]:
    """`form` in a branch that is always taken. XLA's CPU backend merges what leads to several results
    into each of them, and would sum all currents up once for every compartment; into a branch it
    merges nothing (a pool with dendritic spikes: 11.3 -> 7.6 ns a neuron-step)."""
    nowhere = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), b)
    return lax.cond(_usual(diagonal[0]), form, lambda *_: nowhere, diagonal, g, b, v)


@jax.custom_batching.custom_vmap
def _usual(x: Array) -> Array:
    """True, which XLA cannot know, and under vmap still a scalar."""
    return jnp.any(x != jnp.inf)


@_usual.def_vmap
def _usual_vmap(size, batched, x):
    return _usual(x[0]), False


def _loop(
    up: Array, diagonal: Array, g: Array, b: Array, v: Array, down: Array | None = None
) -> Array:
    """The same for arrays (N,), `up` the parents (N,), `down` (N,) all indices with parents first, by
    default in their order. One array changes in each loop: with two, XLA copies them in every
    iteration."""
    n = up.shape[0]

    def at(k: Array) -> Array:
        k = k.astype(jnp.uint32)
        return k if down is None else down[k]

    if n == 1:
        return b / diagonal

    def load(k, e):
        i = at(n - 1 - k)
        return e.at[up[i]].add(e[i] * (g[i] / (e[i] + g[i])))

    e = lax.fori_loop(0, n - 1, load, diagonal, unroll=UNROLL)
    inverse = 1.0 / (e + g)
    share = g * inverse
    through = share * e

    def gather(k, b):
        i = at(n - 1 - k)
        p = up[i]
        return b.at[p].add(through[i] * (v[i] - v[p]) + share[i] * b[i])

    b = lax.fori_loop(0, n - 1, gather, b, unroll=UNROLL)
    alone = b * inverse

    def substitute(k, x):
        i = at(k)
        p = up[i]
        return x.at[i].set(alone[i] + share[i] * (x[p] + (v[p] - v[i])))

    return lax.fori_loop(1, n, substitute, b / e, unroll=UNROLL)
