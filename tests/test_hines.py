"""The tree solve: (D + L) x = b - L v in O(N), and its derivatives, against dense linear algebra.

Trees are chains, stars, random ones and bushes of chains, with diagonals and conductances
log-uniform over six decades. The dense solution is LAPACK's LU, refined with longdouble residuals
until it is good to its last digits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import lu_factor, lu_solve

from jaxsnn_mc import hines
from jaxsnn_mc.cells import UNROLLED_UP_TO

SIZES = [
    1,
    2,
    3,
    4,
    5,
    7,
    9,
    12,
    16,
    20,
    24,
    25,
    31,
    32,
    40,
    50,
    64,
    80,
    99,
    128,
    150,
    200,
    256,
    400,
]
SIZES += [512]
TREES = 1000


class Problem(NamedTuple):
    """A tree and the numbers of its system, float64 arrays (N,)."""

    parent: tuple[int, ...]
    diagonal: np.ndarray
    g: np.ndarray
    b: np.ndarray
    v: np.ndarray

    @property
    def numbers(self) -> tuple[np.ndarray, ...]:
        return self[1:]


def random_parent(rng: np.random.Generator, n: int, kind: str) -> tuple[int, ...]:
    """A chain, a star, a uniformly random tree, or a bush of chains, numbered parents first."""
    lowest = {
        "chain": lambda i: i - 1,
        "star": lambda i: 0,
        "random": lambda i: int(rng.integers(0, i)),
        "bush": lambda i: i - 1 if rng.random() < 0.9 else int(rng.integers(0, i)),
    }[kind]
    return (-1, *(lowest(i) for i in range(1, n)))


def random_problem(rng: np.random.Generator, n: int, kind: str, decades: float = 6.0) -> Problem:
    """Numbers log-uniform over so many decades, in half of the cases sorted so that every
    conductance exceeds every diagonal: a subtraction in the elimination would then cost digits."""
    half = 0.5 * decades
    diagonal, g = 10.0 ** rng.uniform(-half, half, (2, n))
    if rng.random() < 0.5:
        diagonal, g = 10.0 ** (-half + rng.random(n)), 10.0 ** (half - rng.random(n))
    b = rng.choice([-1.0, 1.0], n) * 10.0 ** rng.uniform(-half, half, n)
    return Problem(random_parent(rng, n, kind), diagonal, g, b, rng.normal(-65.0, 20.0, n))


def kind_of(k: int) -> str:
    return ("chain", "star", "random", "bush")[k % 4]


def laplacian_of(p: Problem, x: np.ndarray) -> np.ndarray:
    """L x in longdouble."""
    up = np.array(p.parent[1:], dtype=int)
    x = x.astype(np.longdouble)
    flow = p.g[1:] * (x[1:] - x[up])
    total = np.zeros_like(x)
    total[1:] += flow
    np.subtract.at(total, up, flow)
    return total


def residual(p: Problem, x: np.ndarray, b: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(D + L) x - (b - L v) in longdouble."""
    return p.diagonal * x.astype(np.longdouble) + laplacian_of(p, x) - (b - laplacian_of(p, v))


def dense(p: Problem) -> np.ndarray:
    """The matrix D + L."""
    a = np.diag(p.diagonal)
    for i, up in list(enumerate(p.parent))[1:]:
        a[[i, up], [i, up]] += p.g[i]
        a[[i, up], [up, i]] -= p.g[i]
    return a


def dense_solve(p: Problem, b: np.ndarray, v: np.ndarray, lu=None) -> np.ndarray:
    """x by dense LU, refined: (N,) in longdouble."""
    lu = lu or lu_factor(dense(p))
    x = np.zeros(len(b), np.longdouble)
    for _ in range(5):
        x = x - lu_solve(lu, residual(p, x, b, v).astype(np.float64))
    return x


def relative_residual(p: Problem, x: np.ndarray) -> float:
    """||(D + L) x - (b - L v)|| / (||D + L|| ||x|| + ||b - L v||) in the infinity norm."""
    around = np.zeros_like(p.g)
    np.add.at(around, np.array(p.parent[1:], dtype=int), p.g[1:])
    around[1:] += p.g[1:]
    norm = np.max(p.diagonal + 2.0 * around)
    right = p.b - laplacian_of(p, p.v)
    scale = norm * np.max(np.abs(x)) + np.max(np.abs(right))
    return float(np.max(np.abs(residual(p, x, p.b, p.v))) / scale)


def error(x: np.ndarray, true: np.ndarray, least: float = 0.0) -> float:
    """The largest deviation relative to the largest number, or to `least` if that is larger."""
    deviation = float(np.max(np.abs(np.asarray(x) - true)))
    return deviation / max(float(np.max(np.abs(true))), least) if deviation else 0.0


def solve(p: Problem, unrolled: bool):
    """`hines.solve` of arrays (..., N), in either layout."""

    def solve_(*numbers):
        if not unrolled:
            return hines.solve(p.parent, *numbers)
        scalars = [tuple(jnp.moveaxis(x, -1, 0)) for x in map(jnp.asarray, numbers)]
        return jnp.stack(hines.solve(p.parent, *scalars), axis=-1)

    return solve_


def dense_jax(p: Problem):
    """The same system for `jnp.linalg.solve`."""
    n = len(p.parent)
    incidence = np.eye(n)[1:] - np.eye(n)[list(p.parent[1:])]

    def solve_(diagonal, g, b, v):
        laplacian = incidence.T @ (g[1:, None] * incidence)
        return jnp.linalg.solve(jnp.diag(diagonal) + laplacian, b - laplacian @ v)

    return solve_


def check(p: Problem, x: np.ndarray, positive: np.ndarray) -> None:
    """Checks the solution x and that for |b| and v = 0: nothing in it is a difference, so that each
    of its numbers must be good to its last digits, whatever the condition of the matrix."""
    assert x.dtype == np.float64
    assert relative_residual(p, x) <= 1e-13
    lu = lu_factor(dense(p))
    assert error(x, dense_solve(p, p.b, p.v, lu)) <= 1e-11
    true = dense_solve(p, np.abs(p.b), np.zeros_like(p.v), lu)
    assert np.max(np.abs(positive / true - 1.0)) <= 1e-12


@pytest.mark.parametrize(
    "trees", [range(TREES // 4), pytest.param(range(TREES // 4, TREES), marks=pytest.mark.slow)]
)
def test_thousand_trees_looped(trees: range) -> None:
    """Arrays: judged against the residual in longdouble and against refined dense LU.

    `parent` is static in `solve`, so that each tree would compile anew. Here it is traced.
    """
    compiled = jax.jit(hines._loop)
    for k in trees:
        rng = np.random.default_rng([1, k])
        p = random_problem(rng, SIZES[k % len(SIZES)], kind_of(k // len(SIZES)))
        up = np.array(p.parent)
        x = compiled(up, *p.numbers)
        positive = compiled(up, p.diagonal, p.g, np.abs(p.b), np.zeros_like(p.v))
        check(p, np.asarray(x), np.asarray(positive))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 9, 13, 18, UNROLLED_UP_TO])
def test_thousand_trees_unrolled(n: int) -> None:
    """Tuples: judged as above, a tree of each size with 112 sets of numbers as lanes."""
    rng = np.random.default_rng(n)
    parent = random_parent(rng, n, kind_of(n))
    lanes = [random_problem(rng, n, "chain")._replace(parent=parent) for _ in range(112)]
    diagonal, g, b, v = (np.stack([p.numbers[i] for p in lanes]) for i in range(4))
    compiled = jax.jit(solve(lanes[0], unrolled=True))
    x, positive = compiled(diagonal, g, b, v), compiled(diagonal, g, np.abs(b), 0.0 * v)
    for found in zip(lanes, np.asarray(x), np.asarray(positive), strict=True):
        check(*found)


SMALL, LARGE = [(n, True) for n in (1, 2, 6, 13)], [(n, False) for n in (1, 2, 25, 512)]


@pytest.mark.parametrize(("n", "unrolled"), SMALL + LARGE)
@pytest.mark.parametrize("kind", ["chain", "star", "random"])
def test_reverse_mode(n: int, unrolled: bool, kind: str) -> None:
    """Judged against closed formulas with dense solves: for a cotangent y and l = (D + L)^-T y,
    those of b, diagonal, g and v are l, -l x, -(dl)(d(v + x)) along each coupling, and -L l."""
    rng = np.random.default_rng(n)
    p = random_problem(rng, n, kind)
    y = rng.normal(size=n)
    x, pull = jax.vjp(jax.jit(solve(p, unrolled)), *p.numbers)
    diagonal, g, b, v = map(np.asarray, jax.jit(pull)(y))
    true_x = dense_solve(p, p.b, p.v)
    assert error(x, true_x) <= 1e-11
    assert error(b, np.linalg.solve(dense(p).T, y)) <= 1e-8  # plain LU, the matrix transposed
    l = dense_solve(p, y, np.zeros(n))
    up = [0, *p.parent[1:]]
    moved = p.v + true_x
    assert error(b, l) <= 1e-11
    assert error(diagonal, -l * true_x) <= 1e-11
    assert error(g, -(l - l[up]) * (moved - moved[up])) <= 1e-11
    assert error(v, -laplacian_of(p, l), least=np.max(np.abs(y))) <= 1e-11


@pytest.mark.parametrize(("n", "unrolled"), SMALL + LARGE)
def test_forward_mode_is_reverse_mode(n: int, unrolled: bool) -> None:
    """Judged against each other: <y, J t> = <J^T y, t> for random y and t."""
    rng = np.random.default_rng(n)
    p = random_problem(rng, n, "random")
    y = rng.normal(size=n)
    tangents = tuple(rng.normal(size=n) * x for x in p.numbers)
    f = jax.jit(solve(p, unrolled))
    _, forward = jax.jvp(f, p.numbers, tangents)
    terms = [c * t for c, t in zip(jax.vjp(f, *p.numbers)[1](y), tangents, strict=True)]
    size = sum(float(np.sum(np.abs(x))) for x in terms)
    assert abs(float(y @ forward) - sum(float(np.sum(x)) for x in terms)) <= 1e-12 * size


@pytest.mark.parametrize("unrolled", [True, False])
@pytest.mark.parametrize("n", [1, 5])
def test_all_derivatives(n: int, unrolled: bool) -> None:
    """Judged against JAX's derivatives of a dense solve: the Jacobians with respect to each number
    alone and to all, in both modes, under vmap, and the Hessian (forward over reverse)."""
    rng = np.random.default_rng(n)
    p = random_problem(rng, n, "random", decades=2.0)
    mine, true, every = solve(p, unrolled), dense_jax(p), (0, 1, 2, 3)
    jacobians = jax.jit(jax.jacrev(true, every))(*p.numbers)
    for mode in (jax.jacfwd, jax.jacrev):
        together = jax.jit(mode(mine, every))(*p.numbers)
        alone = jax.jit(lambda *x, mode=mode: [mode(mine, i)(*x) for i in every])(*p.numbers)
        for found in (together, alone):
            for a, b in zip(found, jacobians, strict=True):
                assert error(a, np.asarray(b), least=1e-3) <= 1e-10
    y = rng.normal(size=n)
    a, b = (
        jax.jit(jax.hessian(lambda *x, f=f: y @ f(*x), every))(*p.numbers) for f in (mine, true)
    )
    for row, true_row in zip(a, b, strict=True):
        for block, true_block in zip(row, true_row, strict=True):
            assert np.allclose(block, true_block, rtol=1e-9, atol=1e-9 * np.max(np.abs(b[0][0])))


@pytest.mark.parametrize("unrolled", [True, False])
def test_batches(unrolled: bool) -> None:
    """Judged against one by one: under vmap each member of a batch gets its own solution."""
    rng = np.random.default_rng(0)
    lanes = [random_problem(rng, 9, "chain") for _ in range(5)]
    f = solve(lanes[0], unrolled)
    together = jax.vmap(f)(*(np.stack([p.numbers[i] for p in lanes]) for i in range(4)))
    for p, x in zip(lanes, together, strict=True):
        assert error(x, np.asarray(f(*map(jnp.asarray, p.numbers)))) <= 1e-13
