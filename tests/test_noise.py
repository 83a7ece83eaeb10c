"""Ornstein-Uhlenbeck noise: its statistics, from theory, and its derivatives."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import splitting

import jaxsnn_mc as mc

LEAKY = mc.Neuron({"soma": mc.Compartment(100.0, [mc.Leak(10.0, -65.0)])})
TAU, SIGMA, MEAN, DT = 5.0, 30.0, 10.0, 0.5


def noise(key=0, batch: int | None = None, **kwargs) -> mc.NoiseCurrent:
    keys = jax.random.key(key) if batch is None else jax.random.split(jax.random.key(key), batch)
    return mc.NoiseCurrent("soma", keys, **{"tau": TAU, "sigma": SIGMA, "mean": MEAN, **kwargs})


def test_statistics():
    """Mean, standard deviation and autocorrelation of the mean over a step, within 4 standard errors,
    from the first step on (it starts stationary)."""
    n, steps = 4000, 40
    x = np.asarray(jax.vmap(lambda one: one.per_step(steps, jnp.asarray(DT)))(_batched(n))) - MEAN
    rho = np.exp(-DT / TAU)
    variance = SIGMA**2 * (1.0 + rho) / 2.0  # of the mean of two neighbours
    assert np.all(np.abs(x.mean(0)) < 4.0 * np.sqrt(variance / n))
    assert np.all(np.abs(x.var(0) / variance - 1.0) < 4.0 * np.sqrt(2.0 / n))
    for lag in (1, 10, 30):
        found = np.mean(x[:, 0] * x[:, lag]) / SIGMA**2
        wanted = rho**lag * (2.0 + rho + 1.0 / rho) / 4.0
        assert found == pytest.approx(wanted, abs=4.0 / np.sqrt(n))


def _batched(n: int) -> mc.NoiseCurrent:
    one = noise(batch=n)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (n,)), one)


def test_membrane_variance():
    """A passive compartment in 3,000 neurons: var V = (sigma R)^2 tau / (tau + tau_m), mean + I R."""
    n = 3000
    run = mc.simulate(
        LEAKY, [noise(batch=n)], t_max=60.0, dt=DT, method=splitting, record_every=120
    )
    v, wanted = np.asarray(run["soma"][:, -1]), (SIGMA / 10.0) ** 2 * TAU / (TAU + 10.0)
    # From rest: exp(-2 t / tau_m) of it is missing, far below the bounds here.
    assert v.var() == pytest.approx(wanted, rel=4.0 * np.sqrt(2.0 / n))
    assert v.mean() + 65.0 == pytest.approx(MEAN / 10.0, abs=4.0 * np.sqrt(wanted / n))


def test_keys():
    """One key, one noise, in every neuron; keys of a batch, each its own, whatever its block."""
    kwargs = {"t_max": 5.0, "dt": DT, "method": splitting}
    alone = mc.simulate(LEAKY, [noise(1)], **kwargs)["soma"]
    many = mc.simulate(LEAKY.set({"soma.c_m": jnp.full(3, 100.0)}), [noise(1)], **kwargs)["soma"]
    np.testing.assert_array_equal(many, jnp.broadcast_to(alone, many.shape))
    own = mc.simulate(LEAKY, [noise(1, batch=40)], block=16, **kwargs)["soma"]
    keys = jax.random.split(jax.random.key(1), 40)
    again = mc.simulate(LEAKY, [mc.NoiseCurrent("soma", keys[37], TAU, SIGMA, MEAN)], **kwargs)
    np.testing.assert_allclose(own[37], again["soma"], rtol=1e-12)
    assert len(np.unique(np.asarray(own[:, -1]))) == 40
    old = mc.NoiseCurrent("soma", jax.random.PRNGKey(1), TAU, SIGMA, MEAN)
    np.testing.assert_array_equal(mc.simulate(LEAKY, [old], **kwargs)["soma"], alone)


def test_derivatives():
    """By tau, sigma and mean: central differences with the same key."""

    def end(values):
        tau, sigma, mean = values
        one = noise(tau=tau, sigma=sigma, mean=mean)
        return mc.simulate(LEAKY, [one], t_max=20.0, dt=DT, method=splitting).state.v[0]

    at, found = np.array([TAU, SIGMA, MEAN]), jax.grad(end)(jnp.array([TAU, SIGMA, MEAN]))
    for k in range(3):
        step = np.eye(3)[k] * 1e-4
        wanted = (end(jnp.array(at + step)) - end(jnp.array(at - step))) / 2e-4
        assert found[k] == pytest.approx(float(wanted), rel=1e-5)


CASES = [
    (lambda: mc.NoiseCurrent("soma", 3), ["key", "soma", "3"]),
    (lambda: mc.NoiseCurrent("soma", jnp.ones(2)), ["key", "soma"]),
    (lambda: noise(tau=0.0), ["tau", "'soma'", "above 0", "got 0"]),
    (lambda: noise(sigma=-1.0), ["sigma", "at least 0", "got -1"]),
    (lambda: noise(mean=np.nan), ["mean", "finite", "nan"]),
    (lambda: noise(sigma="big"), ["sigma", "number", "'big'"]),
    (lambda: _run(mc.NoiseCurrent("axon", jax.random.key(0))), ["'axon'", "'soma'"]),
    (lambda: _run(noise(batch=3), noise(batch=4)), ["batch axes", "(3,)", "(4,)"]),
]


def _run(*inputs):
    return mc.simulate(LEAKY, inputs, t_max=1.0, dt=DT)


@pytest.mark.parametrize(("make", "words"), CASES)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        make()
    for word in words:
        assert word in str(error.value)
