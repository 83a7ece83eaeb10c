"""Sampled parameters, judged against SciPy's distributions and the declared bounds."""

import jax
import numpy as np
import pytest
from makers import leaky, single
from scipy import stats

import jaxsnn_mc as mc

KEY = jax.random.key(7)
CASES = {
    "soma.Leak.g_leak": (mc.Normal(4.0), stats.truncnorm(-5.0 / 4.0, np.inf, 5.0, 4.0)),
    "soma.Leak.v_leak": (mc.Normal(3.0), stats.norm(-65.0, 3.0)),
    "soma.c_m": (mc.LogNormal(0.3), stats.lognorm(0.3, scale=100.0)),
    "soma.v_init": (mc.Uniform(-80.0, -60.0), stats.uniform(-80.0, 20.0)),
}


def test_samples() -> None:
    """Judged against SciPy's distributions, truncated at the bounds, by Kolmogorov and Smirnov."""
    neuron = single(leaky())
    drawn = mc.sample(neuron, {path: d for path, (d, _) in CASES.items()}, 4000, KEY)
    for path, (_, exact) in CASES.items():
        assert stats.kstest(np.asarray(drawn[path]), exact.cdf).pvalue > 0.01, path
    assert np.all(drawn["soma.Leak.g_leak"] >= 0)
    population = neuron.set(drawn)
    np.testing.assert_array_equal(population.get("soma.c_m"), drawn["soma.c_m"])


def test_samples_are_reproducible() -> None:
    """Judged against another draw: by key and path alone, whatever else is sampled."""
    neuron, path = single(leaky()), "soma.c_m"
    alone = mc.sample(neuron, {path: mc.LogNormal(0.3)}, 5, KEY)
    both = mc.sample(neuron, {"soma.v_init": mc.Normal(1.0), path: mc.LogNormal(0.3)}, 5, KEY)
    np.testing.assert_array_equal(alone[path], both[path])
    other = mc.sample(neuron, {path: mc.LogNormal(0.3)}, 5, jax.random.key(8))
    assert not np.any(np.asarray(alone[path]) == np.asarray(other[path]))


def test_bounds_that_are_open() -> None:
    """Judged against the bound: a capacitance is above 0, in float32 too, however wide it is drawn."""
    neuron = single(leaky())
    drawn = mc.sample(neuron, {"soma.c_m": mc.Normal(1e4)}, 10000, KEY)["soma.c_m"]
    assert float(drawn.min()) > 0.0
    with pytest.raises(ValueError, match="above 0"):
        mc.sample(neuron, {"soma.c_m": mc.Uniform(0.0, 1.0)}, 3, KEY)
