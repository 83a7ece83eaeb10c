"""The branch that few members of a batch take, against both branches computed and one selected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsnn_mc import rarely as module
from jaxsnn_mc.rarely import rarely

X, A = jax.random.normal(jax.random.key(0), (2, 7))
B = jnp.float32(1.3)
"""Some of A are negative: those members need no long way."""


def long_way(short, a, b):
    x, n = short
    return x * jnp.sin(a) * b, n + jnp.int32(a * 10)


def taken(x, a, b):
    y, n = rarely(a > 0, long_way, (x, jnp.int32(1)), a, b)
    return y * a, n


def selected(x, a, b):
    long = long_way((x, jnp.int32(1)), a, b)
    y, n = (jnp.where(a > 0, p, q) for p, q in zip(long, (x, 1), strict=True))
    return y * a, n


def in_a_loop(one):
    """Ten times, each step computed again backwards."""

    def run(x, a, b):
        step = jax.checkpoint(lambda y, t: (one(y, a - 0.1 * t, b)[0] + t, y))
        y, ys = jax.lax.scan(step, x, jnp.arange(10.0, dtype=x.dtype))
        return y + ys.sum(), jnp.int32(0)

    return run


def batch(one):
    return jax.vmap(one, (0, 0, None))


def total(one):
    return lambda x, a, b: jnp.sum(batch(one)(x, a, b)[0] ** 2)


def of_each(one):
    """Gradients under two batch axes, one of them not of all operands."""
    grad = jax.grad(lambda *args: one(*args)[0], (0, 1, 2))
    return lambda x, a, b: jax.vmap(jax.vmap(grad, (0, 0, None)), (0, None, 0))(
        jnp.stack([x, -x]), a, jnp.stack([b, 2 * b])
    )


def jacobian(derivative):
    return lambda one: derivative(total(one), (0, 1, 2))


@pytest.mark.parametrize("wrap", [lambda one: one, in_a_loop], ids=["once", "in a loop"])
@pytest.mark.parametrize(
    "form",
    [batch, of_each, *map(jacobian, (jax.grad, jax.jacfwd, jax.hessian))],
    ids=["values", "gradients in two batches", "reverse", "forward", "second order"],
)
def test_it_is_what_selecting_gives(form, wrap):
    args = [jnp.asarray(y, jnp.float64) for y in (X, A, B)]
    found, wanted = (jax.jit(form(wrap(one)))(*args) for one in (taken, selected))
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-12), found, wanted)


def test_without_a_batch_it_is_a_branch():
    for a in (-0.5, 0.5):
        assert jax.tree.map(float, taken(X[0], jnp.float32(a), B)) == pytest.approx(
            jax.tree.map(float, selected(X[0], jnp.float32(a), B))
        )


def test_who_does_not_need_it_keeps_all_bits():
    x, n = batch(lambda x, a, b: rarely(a > 0, long_way, (x, jnp.int32(1)), a, b))(X, A, B)
    short = np.asarray(A) <= 0
    assert 0 < short.sum() < short.size
    assert (np.asarray(x)[short] == np.asarray(X)[short]).all()
    assert (np.asarray(n)[short] == 1).all()


def test_side_by_side_as_on_a_gpu_is_the_same():
    operands = (X, A, B)
    jaxpr = jax.make_jaxpr(lambda x, a, b: (x * jnp.sin(a) * b,))(
        *(y.reshape(-1)[0] for y in operands)
    )
    options = {"jaxpr": jaxpr, "keep": (0,), "lanes": A.size, "along": (True, True, False)}
    for needed in (A > 0, A > 9):
        one, all_ = (
            form(needed, *operands, **options) for form in (module._one_by_one, module._together)
        )
        np.testing.assert_allclose(one, all_, rtol=1e-6)
    exported = jax.export.export(jax.jit(batch(taken)), platforms=["cuda"])(*operands)
    assert "while" not in exported.mlir_module()


def test_the_long_way_must_return_what_is_shaped_as_the_short_one():
    with pytest.raises(ValueError, match=r"float64\[\].*float64\[2\]"):
        rarely(A[0] > 0, lambda short: jnp.stack([short, short]), X[0])
