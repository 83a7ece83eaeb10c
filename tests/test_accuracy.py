"""Spike times and voltages against the event-locating reference and the matrix exponential."""

import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import METHODS, euler, neuron_and_inputs, splitting
from scipy.linalg import expm

import jaxsnn_mc as mc


def spikes_of(problem, method, dt, t_max):
    neuron, inputs = neuron_and_inputs(problem)
    soma = neuron.names[problem.spiking[0].compartment]
    return mc.simulate(neuron, inputs, t_max=t_max, dt=dt, method=method, record=()).spike_times(
        soma
    )


@pytest.mark.parametrize(
    ("method", "dt", "tolerance"),
    [(euler, 0.01, 0.15), (splitting, 0.1, 0.005), (splitting, 0.5, 0.05)],
)
def test_table_1(method, dt, tolerance):
    """The report's Table 1: all five spikes of 800 ms against the reference."""
    exact = reference.solve(reference.table1(), 800.0).spikes[0]
    ours = spikes_of(reference.table1(), method, dt, 800.0)
    assert len(ours) == len(exact) == 5
    np.testing.assert_allclose(ours, exact, rtol=0, atol=tolerance)
    if method is euler:
        assert ours[:2].round(1).tolist() == [26.3, 129.3]  # as published


@pytest.mark.parametrize(
    ("method", "dt", "tolerance"), [(euler, 0.01, 0.1), (splitting, 0.1, 0.005)]
)
def test_table_2(method, dt, tolerance):
    """The report's Table 2 over 200 ms against the reference."""
    exact = reference.solve(reference.table2(t_max=200.0), 200.0).spikes[0]
    ours = spikes_of(reference.table2(t_max=200.0), method, dt, 200.0)
    np.testing.assert_allclose(ours, exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("method", "coarsest", "order"), [(euler, 0.025, 1), (splitting, 0.0625, 2)]
)
def test_order_of_spike_times(method, coarsest, order):
    """The errors of spikes 1 to 5 fall with the method's order, fitted over four halvings of dt:
    all five together (their norm), and each one whose error does not pass through zero on the way.
    """
    exact = reference.solve(reference.table1(), 800.0).spikes[0]
    dts = coarsest / 2.0 ** np.arange(5)
    errors = np.array([spikes_of(reference.table1(), method, dt, 800.0) - exact for dt in dts])
    tolerance = 0.1 * order
    together = np.polyfit(np.log(dts), np.log(np.linalg.norm(errors, axis=1)), 1)[0]
    assert abs(together - order) <= tolerance
    one_sign = np.abs(np.sign(errors).sum(axis=0)) == len(dts)
    assert one_sign.sum() >= 4
    each = np.polyfit(np.log(dts), np.log(np.abs(errors[:, one_sign])), 1)[0]
    assert np.all(np.abs(each - order) <= tolerance)


@pytest.mark.parametrize("seed", range(12))
def test_random_trees(seed):
    """Random trees with an AdEx soma, a step current and a synapse with spikes off the grid."""
    rng = np.random.default_rng(100 + seed)
    problem = reference.random_problem(rng, int(rng.integers(2, 13)))
    soma = problem.spiking[0].compartment
    exact = reference.solve(problem, 200.0).spikes[soma]
    coarse = spikes_of(problem, splitting, 0.1, 200.0)
    fine = spikes_of(problem, splitting, 0.025, 200.0)
    assert len(fine) == len(exact)
    np.testing.assert_allclose(fine, exact, rtol=0, atol=0.01)
    assert np.linalg.norm(fine - exact) < 0.25 * np.linalg.norm(coarse - exact) + 1e-6


@pytest.mark.parametrize(("method", "order"), [(euler, 1.0), (splitting, 2.0)])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_passive_tree_against_expm(method, order, n):
    """A passive tree relaxing from random voltages, against expm of its dense system (both layouts)."""
    rng = np.random.default_rng(n)
    c, leak, v0 = rng.uniform(20, 200, n), rng.uniform(1, 10, n), rng.uniform(-90, -40, n)
    parents = [int(rng.integers(0, i)) for i in range(1, n)]
    g = rng.uniform(1, 50, n - 1)
    matrix = np.diag(-leak)
    for i, (p, gi) in enumerate(zip(parents, g, strict=True), start=1):
        matrix[[i, p], [i, p]] -= gi
        matrix[[i, p], [p, i]] += gi
    exact = -65.0 + expm(matrix / c[:, None] * 8.0) @ (v0 + 65.0)
    neuron = mc.Neuron.from_arrays(
        c, [(p, i) for i, p in enumerate(parents, start=1)], g, [mc.Leak(leak, -65.0)], v0
    )
    dts = np.array([0.2, 0.1, 0.05, 0.025, 0.0125])
    errors = [
        np.linalg.norm(mc.simulate(neuron, t_max=8.0, dt=dt, method=method).state.v - exact)
        for dt in dts
    ]
    assert abs(np.polyfit(np.log(dts), np.log(errors), 1)[0] - order) < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_lif_closed_form(method):
    """Spike times of a LIF in closed form, with a refractory period that is no multiple of dt."""
    c, g, leak, th, reset, ref, current = 100.0, 10.0, -65.0, -50.0, -70.0, 2.123, 200.0
    tau, v_inf = c / g, leak + current / g
    first = tau * np.log((v_inf - leak) / (v_inf - th))
    again = ref + tau * np.log((v_inf - reset) / (v_inf - th))
    exact = first + again * np.arange(5)
    lif = mc.LIF(g, leak, v_th=th, v_reset=reset, t_ref=ref)
    neuron = mc.Neuron({"soma": mc.Compartment(c, [lif])})
    errors = []
    for dt in (0.1, 0.05):
        run = mc.simulate(
            neuron, [mc.StepCurrent("soma", current)], t_max=100.0, dt=dt, method=method
        )
        errors.append(np.abs(run.spike_times()[:5] - exact).max())
    # Relative to time, backward Euler relaxes too slowly by dt / 2 tau, the midpoint rule too
    # fast by (dt / tau)^2 / 12.
    order, bound = (1, 0.05 / (2 * tau)) if method is euler else (2, (0.05 / tau) ** 2 / 12)
    assert errors[1] < bound * 100.0
    assert errors[0] / errors[1] == pytest.approx(2.0**order, rel=0.15)


def test_float32():
    """float32 stays within 2e-3 ms of float64 over 200 ms, at both methods' usual steps."""
    neuron, inputs = neuron_and_inputs(reference.table1())
    for method, dt in ((euler, 0.01), (splitting, 0.1)):
        one, two = (
            mc.simulate(neuron, inputs, t_max=200.0, dt=dt, method=method, dtype=dtype)
            for dtype in (jnp.float32, jnp.float64)
        )
        assert one.voltages is not None
        assert one.voltages.dtype == jnp.float32
        np.testing.assert_allclose(one.spike_times(), two.spike_times(), rtol=0, atol=2e-3)
