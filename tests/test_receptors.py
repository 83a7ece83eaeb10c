"""Receptors: kinetics in closed form, the magnesium block, and Dendrify's example 1."""

import active_reference as reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import splitting

import jaxsnn_mc as mc

AREA = np.pi * np.array([25.0 * 25.0, 250.0 * 2.0 * 1.5, 150.0 * 2.0 * 1.5]) * 3.0 * 1e-8  # cm2
C_M, G_LEAK = AREA * 1e6, AREA * 50.0 * 1e3  # pF, nS


def opened(t, tau_rise, tau_decay):
    """The response to a spike, a difference of exponentials (or the alpha function), unscaled."""
    if tau_rise == tau_decay:
        return t * np.exp(-t / tau_decay)
    scale = tau_rise * tau_decay / (tau_decay - tau_rise)
    return scale * (np.exp(-t / tau_decay) - np.exp(-t / tau_rise))


@pytest.mark.parametrize("taus", [(2.0, 5.0), (5.0, 60.0), (3.0, 3.0), (3.0, 3.0003), (0.01, 9.0)])
def test_rise_and_decay(taus):
    """Advanced by any parts, the closed form; normalised, a peak of 1 (SciPy-free: on a fine grid)."""
    ts = np.cumsum([0.0, 0.3, 1e-6, 2.0, 0.04, 7.0])
    for normalised in (False, True):
        one = mc.AMPA(g=1.0, tau_rise=taus[0], tau_decay=taus[1], normalised=normalised)
        zero = jnp.zeros(())
        state = one.receive(one.init(zero), jnp.asarray(1.0))
        grid = np.linspace(0.0, 60.0, 600_001)
        peak = opened(grid, *taus).max() if normalised else 1.0
        for t, dt in zip(ts[1:], np.diff(ts), strict=True):
            state = one.advance(state, zero, jnp.asarray(dt))
            assert state["open"] == pytest.approx(opened(t, *taus) / peak, rel=1e-6)


def test_dendrifys_peaks():
    """The unscaled peak that DENDRIFY's factor undoes: 3.989 for 5 and 60 ms, 1.086 for 2 and 5 ms."""
    assert opened(np.linspace(0, 60, 60001), 5.0, 60.0).max() == pytest.approx(3.989, abs=1e-3)
    for taus, peak in (((5.0, 60.0), 3.989), ((2.0, 5.0), 1.086)):
        one = mc.AMPA(g=1.0, tau_rise=taus[0], tau_decay=taus[1])
        start = one.receive(one.init(jnp.zeros(())), jnp.asarray(1.0))
        assert 1.0 / start["rising"] == pytest.approx(peak, abs=1e-3)


def test_derivative_where_the_time_constants_are_equal():
    """The mean of the derivatives on both sides of equality."""

    def value(tau_rise):
        one = mc.AMPA(g=1.0, tau_rise=tau_rise, tau_decay=3.0)
        state = one.receive(one.init(jnp.zeros(())), jnp.asarray(1.0))
        return one.advance(state, jnp.zeros(()), jnp.asarray(2.0))["open"]

    at, below = jax.grad(value)(3.0), jax.grad(value)(2.9)
    step = (value(2.95) - value(2.94)) / 0.01
    assert np.isfinite(at)
    assert abs(at - below) < 0.1 * abs(below)
    assert jax.grad(value)(2.945) == pytest.approx(float(step), rel=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_magnesium_block(dtype):
    """The formula; finite with its derivatives for any voltage and for no magnesium at all."""
    v = np.linspace(-100.0, 60.0, 9)
    one = mc.NMDA(g=1.0, tau_decay=50.0, alpha=0.087, gamma=10.0, mg=1.5)
    current = one.current({"open": jnp.ones(9)}, jnp.asarray(v))
    block = 1.0 / (1.0 + 1.5 * np.exp(-0.087 * (v + 10.0)) / 3.57)
    np.testing.assert_allclose(current, -v * block, rtol=1e-12)

    def at(v, mg):
        one = mc.NMDA(g=1.0, tau_decay=50.0, mg=mg)
        return one.current({"open": jnp.ones((), dtype)}, v)

    for v in (-1e5, -200.0, 100.0, 1e5):
        for mg in (0.0, 1.0):
            point = jnp.asarray(v, dtype), jnp.asarray(mg, dtype)
            assert np.isfinite(at(*point))
            assert np.all(np.isfinite(jax.grad(at, (0, 1))(*point)))


def passive(nmda: bool, **kwargs) -> mc.Neuron:
    """Dendrify's example 1."""
    soma = mc.LIF(G_LEAK[0], -70.0, v_th=-40.0, v_reset=-50.0, t_ref=3.0, frozen=False)
    receptors = [mc.AMPA(g=1.0, tau_decay=2.0, **kwargs)]
    receptors += [mc.NMDA(g=1.0, tau_decay=60.0)] if nmda else []
    apical, basal = (mc.Leak(g, -70.0) for g in G_LEAK[1:])
    compartments = {
        "soma": mc.Compartment(C_M[0], [soma]),
        "apical": mc.Compartment(C_M[1], [apical, *receptors]),
        "basal": mc.Compartment(C_M[2], [basal]),
    }
    return mc.Neuron(compartments, [("soma", "apical", 10.0), ("soma", "basal", 10.0)])


FIGURES = {True: [(0.5722, 1.2522), (25.532, 39.763)], False: [(0.4848, 1.1318), (12.178, 28.661)]}
"""Peaks (mV) in soma and apical dendrite for 1 and 35 synapses: example 1, exact."""


@pytest.mark.parametrize("nmda", [True, False])
@pytest.mark.parametrize("at", [50.0, 50.02])
def test_epsps_of_example_1(nmda, at):
    """Peak EPSPs at dt = 0.05 ms within 0.05 %, for spikes on a step and inside one."""
    counts = jnp.array([[1.0], [35.0]])
    inputs = [mc.SpikeTrain("apical", [at], counts, "AMPA")]
    inputs += [mc.SpikeTrain("apical", [at], counts, "NMDA")] if nmda else []
    run = mc.simulate(passive(nmda), inputs, t_max=120.0, dt=0.05, method=splitting)
    peaks = run.voltages.max(axis=1)[:, :2] + 70.0
    np.testing.assert_allclose(peaks, FIGURES[nmda], rtol=5e-4)


def test_gradient_of_a_peak():
    """The peak EPSP by g, tau_decay, e, mg and the weight: central differences of the reference."""
    names = ("g", "tau_decay", "e", "mg", "weight")
    at = (1.0, 60.0, 0.0, 1.0, 20.0)

    def exact(k):
        def peak(x):
            values = dict(zip(names, at, strict=True)) | {names[k]: x}
            receptor = reference.Receptor(1, [5.0], **values)
            couplings = ((0, 1, 10.0), (0, 2, 10.0))
            problem = reference.Problem(C_M, G_LEAK, -70.0, couplings, receptors=[receptor])
            return reference.solve(problem, 60.0).peak[0]

        return reference.derivative(peak, at[k], 0.01)

    def ours(values):
        g, tau_decay, e, mg, weight = values
        receptor = {"g": g, "tau_decay": tau_decay, "e": e, "mg": mg}
        neuron = passive(True).set({f"apical.NMDA.{k}": x for k, x in receptor.items()})
        train = [mc.SpikeTrain("apical", [5.0], weight, "NMDA")]
        return mc.simulate(neuron, train, t_max=60.0, dt=0.05, method=splitting)["soma"].max()

    found = jax.grad(ours)(jnp.array(at))
    np.testing.assert_allclose(found, [exact(k) for k in range(5)], rtol=1e-3)
