"""Extreme neurons, currents and steps: always finite, and what did not converge is reported."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import euler, neuron_and_inputs, splitting

import jaxsnn_mc as mc

STEPS = 30


def extreme(count, seed, dtype):
    """Neurons (a population), amplitudes (pA) and steps (ms): currents to 100 nA, steps from 0.005
    to 1 ms, starts from -200 to 100 mV, delta_T from 0."""
    rng = np.random.default_rng(seed)

    def uniform(low, high):
        return rng.uniform(low, high, count)

    def log_uniform(low, high):
        return np.exp(uniform(np.log(low), np.log(high)))

    v_th = uniform(-50.0, 20.0)
    neuron, _ = neuron_and_inputs(reference.table1())
    neuron = neuron.set(
        {
            "c0.AdEx.delta_T": np.where(rng.random(count) < 0.2, 0.0, log_uniform(1e-4, 5.0)),
            "c0.AdEx.v_exp": uniform(-60.0, -40.0),
            "c0.AdEx.v_th": v_th,
            "c0.AdEx.v_reset": v_th - log_uniform(0.1, 60.0),
            "c0.AdEx.t_ref": np.where(rng.random(count) < 0.3, 0.0, uniform(0.0, 6.0)),
            "c0.AdEx.a": uniform(-2.0, 10.0),
            "c0.AdEx.tau_w": log_uniform(1.0, 300.0),
            "c0.AdEx.b": uniform(0.0, 300.0),
            "c0.AdEx.g_leak": uniform(0.0, 20.0),
            "c0.c_m": uniform(20.0, 300.0),
            "c1.c_m": log_uniform(1.0, 300.0),
            "c2.Leak.g_leak": uniform(0.0, 30.0),
            "c0-c1": log_uniform(0.1, 100.0),
            **{f"c{i}.v_init": uniform(-200.0, 100.0) for i in range(3)},
        }
    )
    amplitude = uniform(-1e5, 1e5) * np.where(rng.random(count) < 0.5, 1.0, 1e-2)
    return jax.tree.map(
        lambda x: jnp.asarray(x, dtype), (neuron, amplitude, log_uniform(0.005, 1.0))
    )


def run_all(neuron, amplitude, scale, method):
    """All runs at once. The step is the same, 1 ms: times, rates and so currents are scaled instead
    (a run at 1 ms of a neuron with c_m / dt is one at dt of c_m, with tau / dt and t_ref / dt)."""
    neuron = eqx.tree_at(lambda n: n.c_m, neuron, neuron.c_m / scale[:, None])
    neuron = neuron.set(
        {
            "c0.AdEx.tau_w": neuron.get("c0.AdEx.tau_w") / scale,
            "c0.AdEx.t_ref": neuron.get("c0.AdEx.t_ref") / scale,
        }
    )
    axes = jax.tree.map(lambda x: x.ndim > 1, neuron)
    batched, shared = eqx.partition(neuron, axes)

    def one(batched, amplitude):
        neuron = eqx.combine(batched, shared)
        current = [mc.StepCurrent("c0", amplitude)]
        return mc.simulate(neuron, current, t_max=float(STEPS), dt=1.0, method=method)

    return jax.jit(jax.vmap(one))(batched, amplitude)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("method", [euler, splitting])
def test_always_finite(method, dtype):
    """5,000 runs of each method in each precision."""
    solution = run_all(*extreme(5000, 7, dtype), method)
    assert solution.voltages.shape == (5000, STEPS + 1, 3)
    for leaf in jax.tree.leaves((solution.voltages, solution.state)):
        assert np.isfinite(leaf).all()
    assert solution.counts.sum() > 5000
    spikes = np.asarray(solution.spikes())
    assert not np.isnan(spikes).any()
    listed = spikes[np.isfinite(spikes)]
    assert listed.min() >= 0.0
    assert listed.max() <= STEPS
    bad = np.asarray(solution.diagnostics.unconverged)
    where = np.asarray(solution.diagnostics.compartment)
    assert np.all((where >= 0) == (bad > 0))  # each reported with its compartment
    if method is euler:
        # Newton of a monotone, C1-continued current converges: none should be left.
        assert (bad > 0).mean() < 1e-3
