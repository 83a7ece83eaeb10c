"""Inputs: edges and spikes off the grid, charge, sampled currents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import METHODS, euler, splitting
from scipy.integrate import solve_ivp

import jaxsnn_mc as mc

LEAKY = mc.Neuron({"soma": mc.Compartment(100.0, [mc.Leak(10.0, -65.0), mc.CurrentSynapse(3.0)])})


def v_end(inputs, dt, method, t_max=30.0):
    return float(mc.simulate(LEAKY, inputs, t_max=t_max, dt=dt, method=method).state.v[0])


@pytest.mark.parametrize(("method", "order"), [(euler, 1), (splitting, 2)])
def test_spikes_off_the_grid(method, order):
    """The voltage after input spikes at any times, against the closed form (difference of
    exponentials); the error falls with the method's order."""
    times, weights = (
        np.array([2.037, 9.4142, 9.4691, 21.001]),
        np.array([300.0, -80.0, 120.0, 500.0]),
    )
    tau_m, tau_s, c = 10.0, 3.0, 100.0
    age = 30.0 - times
    kernel = (np.exp(-age / tau_m) - np.exp(-age / tau_s)) / (1 / tau_s - 1 / tau_m) / c
    exact = -65.0 + weights @ kernel
    dts = [0.2, 0.1, 0.05, 0.025, 0.0125]
    inputs = [mc.SpikeTrain("soma", times, weights)]
    errors = [abs(v_end(inputs, dt, method) - exact) for dt in dts]
    assert np.polyfit(np.log(dts), np.log(errors), 1)[0] > order - 0.35
    assert errors[1] < (0.05 if order == 1 else 3e-3)


@pytest.mark.parametrize("method", METHODS)
def test_charge_of_a_spike(method):
    """On a capacitor without leak the final voltage is the charge, tau * weight / C."""
    capacitor = mc.Neuron({"soma": mc.Compartment(100.0, [mc.CurrentSynapse(0.5)], v_init=-65.0)})
    run = mc.simulate(
        capacitor, [mc.SpikeTrain("soma", [1.23], 400.0)], t_max=20.0, dt=0.1, method=method
    )
    relative = (0.1 / 0.5) ** 2 / 24 if method is euler else 1e-6
    assert run.state.v[0] + 65.0 == pytest.approx(0.5 * 400.0 / 100.0, rel=1.1 * relative)


@pytest.mark.parametrize(("method", "order"), [(euler, 1), (splitting, 2)])
def test_step_edges_off_the_grid(method, order):
    """A step current whose edges lie inside steps, against the closed form."""
    start, stop, tau = 3.033, 17.077, 10.0
    exact = -65.0 + 15.0 * (np.exp(-(30.0 - stop) / tau) - np.exp(-(30.0 - start) / tau))
    inputs = [mc.StepCurrent("soma", 150.0, start, stop)]
    dts = [0.2, 0.1, 0.05, 0.025, 0.0125]
    errors = [abs(v_end(inputs, dt, method) - exact) for dt in dts]
    assert np.polyfit(np.log(dts), np.log(errors), 1)[0] > order - 0.35
    assert errors[1] < (0.05 if order == 1 else 1e-3)


def test_sampled_current():
    """A sampled sine against SciPy with the same linear interpolation; second order."""
    values = 200.0 * np.sin(np.arange(61) * 0.5 * 0.4)

    def rhs(t, v):
        return (10.0 * (-65.0 - v) + np.interp(t, np.arange(61) * 0.5, values)) / 100.0

    exact = solve_ivp(rhs, (0, 30.0), [-65.0], rtol=1e-10, atol=1e-10, max_step=0.1).y[0, -1]
    inputs = [mc.SampledCurrent("soma", values, dt=0.5)]
    errors = [abs(v_end(inputs, dt, splitting) - exact) for dt in (0.25, 0.125)]
    assert errors[1] < 2e-4
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.3)


def test_inputs_add_up():
    """Two inputs into one compartment give the sum (linear neuron)."""
    one = mc.StepCurrent("soma", 100.0, 5.0, 20.0)
    two = mc.SampledCurrent("soma", np.full(31, 50.0), dt=1.0)
    three = mc.SpikeTrain("soma", [4.0], 200.0)
    rest = v_end([], 0.1, splitting)
    alone = sum(v_end([i], 0.1, splitting) - rest for i in (one, two, two, three))
    assert v_end([one, two, two, three], 0.1, splitting) - rest == pytest.approx(alone, rel=1e-12)


def test_padding_of_trains():
    """A time of inf is no spike."""
    padded = mc.SpikeTrain("soma", jnp.array([4.0, jnp.inf]), 200.0)
    assert v_end([padded], 0.1, euler) == v_end([mc.SpikeTrain("soma", [4.0], 200.0)], 0.1, euler)


def one_of(inputs, k):
    """The inputs of neuron k of a population in which some numbers are shared."""

    def pick(x, n):
        return x[k] if x.ndim > n else x

    return [jax.tree.map(pick, one, one.ndims) for one in inputs]


@pytest.mark.parametrize("method", METHODS)
def test_shared_and_own_numbers(method):
    """In a population, whatever of its inputs is shared and whatever is each neuron's own: each runs as
    it does alone, and a gradient by shared numbers is the sum over all."""
    rng = np.random.default_rng(3)
    keys = jax.random.split(jax.random.key(1), 3)
    inputs = [
        mc.SpikeTrain("soma", np.sort(rng.uniform(0, 20, (3, 5))), 200.0),
        mc.SpikeTrain("soma", [1.0, 7.7], rng.uniform(50.0, 300.0, (3, 2))),
        mc.SpikeTrain("soma", [3.0, 4.05, 11.0], 100.0),
        mc.SampledCurrent("soma", rng.normal(50.0, 20.0, 21), 1.0),
        mc.SampledCurrent("soma", rng.normal(0.0, 20.0, (3, 21)), 1.0),
        mc.NoiseCurrent("soma", keys, 5.0, 30.0),
        mc.NoiseCurrent("soma", keys[0], 5.0, [10.0, 20.0, 30.0]),
        mc.StepCurrent("soma", 40.0, 2.03, [8.0, 9.0, 15.5]),
    ]

    def end(changed, inputs):
        neuron = LEAKY.set({"soma.CurrentSynapse.tau_syn": changed})
        run = mc.simulate(neuron, inputs, t_max=20.0, dt=0.1, method=method)
        return run["soma"][..., -1]

    together = end(3.0, inputs)
    alone = [end(3.0, one_of(inputs, k)) for k in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    gradient = jax.grad(lambda tau: end(tau, inputs).sum())(3.0)
    each = [jax.grad(end)(3.0, one_of(inputs, k)) for k in range(3)]
    assert abs(gradient) > 0.01
    np.testing.assert_allclose(gradient, sum(each), rtol=1e-10)
