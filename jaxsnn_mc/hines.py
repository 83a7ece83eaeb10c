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
"""

from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

Values: TypeAlias = Any
"""One number for each compartment in internal order: N scalars, or an array (N,)."""


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def solve(parent: tuple[int, ...], diagonal: Values, g: Values, b: Values, v: Values) -> Values:
    """Solves (D + L) x = b - L v on a tree.

    **Arguments:** `parent` (N,), each smaller than its index, -1 first; `diagonal`, positive;
    `g`, the coupling to the parent (g of the root is not used); `b`; `v`. All in coherent units
    (pF for `diagonal`, nS ms for `g`, pA ms for `b`, mV for `v`).

    **Returns:** x in mV, of the kind of `b`. Forward and reverse mode are one more solve each.
    """
    if isinstance(b, tuple):
        return _unrolled(parent, diagonal, g, b, v)
    return _loop(jnp.asarray(np.array(parent, np.int32)), diagonal, g, b, v)


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
    up = np.array(parent[1:])
    flow = g[1:] * (x[1:] - x[up])
    return jnp.zeros_like(x).at[1:].add(flow).at[up].add(-flow)


def _unrolled(parent, diagonal, g, b, v) -> tuple[Array, ...]:
    e, b = list(diagonal), list(b)
    share: list = [None] * len(parent)
    inverse: list = [None] * len(parent)
    for i in range(len(parent) - 1, 0, -1):
        p = parent[i]
        inverse[i] = 1.0 / (e[i] + g[i])
        share[i] = g[i] * inverse[i]
        b[p] = b[p] + share[i] * (e[i] * (v[i] - v[p]) + b[i])
        e[p] = e[p] + share[i] * e[i]
    x = [b[0] / e[0]]
    for i in range(1, len(parent)):
        p = parent[i]
        x.append(b[i] * inverse[i] + share[i] * (x[p] + (v[p] - v[i])))
    return tuple(x)


def _loop(up: Array, diagonal: Array, g: Array, b: Array, v: Array) -> Array:
    """The same for arrays (N,), `up` the parents (N,). One array changes in each loop: with two,
    XLA copies them in every iteration."""
    n = up.shape[0]
    if n == 1:
        return b / diagonal

    def load(k, e):
        i = n - 1 - k
        return e.at[up[i]].add(e[i] * (g[i] / (e[i] + g[i])))

    e = lax.fori_loop(0, n - 1, load, diagonal)
    inverse = 1.0 / (e + g)
    share = g * inverse
    through = share * e

    def gather(k, b):
        i = n - 1 - k
        p = up[i]
        return b.at[p].add(through[i] * (v[i] - v[p]) + share[i] * b[i])

    b = lax.fori_loop(0, n - 1, gather, b)
    alone = b * inverse

    def substitute(i, x):
        p = up[i]
        return x.at[i].set(alone[i] + share[i] * (x[p] + (v[p] - v[i])))

    return lax.fori_loop(1, n, substitute, b / e)
