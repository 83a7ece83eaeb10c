"""Our channels in Jaxley: spike times and voltages, against the exact solution and closed forms."""

import jax
import jax.numpy as jnp
import jaxley as jx
import numpy as np
import pytest
import reference
from channel_cells import cell_of, drive, leaky, run, soma, stimuli
from jaxsnn_mc.channels import AdEx, Fire, spike_times

import jaxsnn_mc as mc

TABLES = {1: reference.table1(), 2: reference.table2()}


@pytest.fixture(scope="module")
def exact() -> dict[int, np.ndarray]:
    return {
        1: reference.solve(TABLES[1], 800.0).spikes[0],
        2: reference.solve(TABLES[2], 200.0).spikes[0],
    }


@pytest.mark.parametrize(
    ("table", "t_max", "dt", "within"),
    [
        (1, 800.0, 0.01, [0.005, 0.015, 0.03, 0.04, 0.05]),
        (1, 200.0, 0.025, [0.05, 0.05]),
        (1, 800.0, 0.1, [0.1, 0.2, 0.3, 0.4, 0.5]),
        (2, 200.0, 0.01, [0.04, 0.01]),
        (2, 200.0, 0.025, [0.1, 0.02]),
        (2, 200.0, 0.1, [0.4, 0.1]),
    ],
)
def test_spike_times(exact, table, t_max, dt, within) -> None:
    """Judged against the exact solution: no spike too many or too few, each so near to its own."""
    times, _ = run(TABLES[table], t_max, dt)
    truth = exact[table][exact[table] < t_max]
    assert times.shape == truth.shape
    assert (np.abs(times - truth) < within).all()


@pytest.mark.parametrize(
    ("solver", "within"),
    [("bwd_euler", 0.02), ("crank_nicolson", 0.05), ("fwd_euler", 0.07), ("exp_euler", 0.05)],
)
def test_all_solvers(exact, solver, within) -> None:
    """Judged against the exact solution, under each of Jaxley's solvers (plain forward Euler has
    0.07 ms); and no voltage is below the reset but by the drift of a step, or far above threshold."""
    times, v = run(TABLES[1], 200.0, 0.01, solver)
    np.testing.assert_allclose(times, exact[1][:2], rtol=0.0, atol=within)
    assert v.min() > -70.02
    assert -40.0 < v.max() < -39.5


def test_crank_nicolson_with_theta_1(exact) -> None:
    """Judged against the exact solution: with the whole slope, of second order."""
    cell = cell_of(TABLES[1])
    soma(cell).set("AdEx_theta", 1.0)
    data = stimuli(cell, TABLES[1], 200.0, 0.01)
    since, _ = jx.integrate(cell, data_stimuli=data, delta_t=0.01, solver="crank_nicolson")
    np.testing.assert_allclose(spike_times(since, 0.01), exact[1][:2], rtol=0.0, atol=0.002)


@pytest.mark.parametrize("solver", ["bwd_euler", "crank_nicolson", "fwd_euler"])
def test_refractory_period_to_its_end(solver) -> None:
    """Judged against a LIF neuron's closed form, for periods of no, some and a fraction of a step.
    Crank-Nicolson, of second order, shows the channel's own part: 1e-4 ms, or where no whole step is
    held 0.02 ms a spike, as its leak then sees half of the voltage before the reset."""
    branch, dt = leaky(), 0.025
    branch.make_trainable("Fire_t_ref", verbose=False)
    data = drive(branch, 2e-3, 4000)

    def times(t_ref):
        params = [{"Fire_t_ref": t_ref[None]}]
        rec = jx.integrate(branch, params, data_stimuli=data, delta_t=dt, solver=solver)
        return spike_times(rec[0], dt, 4), rec[1].min()

    t_ref = jnp.array([2.0, 2.013, 0.053, 0.0, 0.004, 0.025, 0.03])
    found, lowest = jax.jit(jax.vmap(times))(t_ref)
    first, again = 10.0 * np.log(20 / 5), 10.0 * np.log(25 / 5)
    truth = first + (np.asarray(t_ref)[:, None] + again) * np.arange(4)
    held, free = (1e-4, 0.06) if solver == "crank_nicolson" else (0.1, 0.2)
    np.testing.assert_allclose(found[:3], truth[:3], rtol=0.0, atol=held)
    np.testing.assert_allclose(found[3:], truth[3:], rtol=0.0, atol=free)
    assert (lowest > -70.001).all()


def test_held_in_the_refractory_period() -> None:
    """Judged against the model: v is v_reset at all grid points from the second after the spike to
    the last before the end of the period, and not at the one after."""
    dt = 0.01
    times, v = run(TABLES[1], 40.0, dt)
    t = np.arange(len(v)) * dt
    held = (t > times[0] + 2 * dt) & (t < times[0] + 5.0)
    np.testing.assert_allclose(v[held], -70.0, rtol=0.0, atol=1e-6)
    assert v[t > times[0] + 5.0][0] > -69.9999


def test_reset_of_hodgkin_huxley() -> None:
    """Judged against the threshold and the reset: HH fires at 0 mV, no higher than its own rise in
    a step, and stays at the reset for the period; the times converge as dt is halved."""
    found = []
    for dt in (0.02, 0.01, 0.005):
        branch = jx.Branch(jx.Compartment(), ncomp=1)
        branch.insert(jx.channels.HH())
        branch.insert(Fire())
        branch.set("Fire_v_th", 0.0)
        branch.set("Fire_t_ref", 3.0)
        branch.record("Fire_since", verbose=False)
        branch.record("v", verbose=False)
        data = drive(branch, 1e-2, round(9.0 / dt))
        since, v = np.asarray(jx.integrate(branch, data_stimuli=data, delta_t=dt))
        found.append(np.asarray(spike_times(since, dt)))
        assert 0.0 < v.max() < 400.0 * dt
        assert v.min() > -70.001
    assert len(found[0]) == 2
    assert (np.abs(found[2] - found[1]) < 0.6 * np.abs(found[1] - found[0])).all()


def call(channel, states: dict, v: float, dt: float, **params):
    """update_states and, as Jaxley does, the current at v and 1e-3 mV above, as by 0.14."""
    params = {k: jnp.array([float(x)]) for k, x in {**channel.channel_params, **params}.items()}
    states = {k: jnp.array([float(x)]) for k, x in {**channel.channel_states, **states}.items()}
    new = channel.update_states(states, dt, jnp.array([v]), params)
    currents = [channel.compute_current(new, new["v"] + d, params) for d in (0.0, 1e-3)]
    return new, currents[0][0], (currents[1] - currents[0])[0] / 1e-3


@pytest.mark.parametrize("v", [-80.0, -65.0, -50.0, -44.0])
def test_current_is_the_solvers(v) -> None:
    """Judged against the solver's mechanism with its slope by jax.grad: the same current for the
    same density, and theta of its slope by Jaxley's finite difference."""
    channel, w = AdEx(), 2e-4
    p = {k[5:]: x for k, x in channel.channel_params.items()}
    names = ("v_leak", "v_exp", "delta_T", "tau_w", "v_th", "v_reset", "t_ref")
    same = mc.AdEx(g_leak=p["g_leak"], a=p["a"], b=p["b"], **{k: p[k] for k in names})
    new, current, slope = call(channel, {"AdEx_w": w, "AdEx_start": v}, v, 0.01, capacitance=1.0)

    def inward(v):
        return same.current({"w": new["AdEx_w"][0]}, v) + same.stiff_current(v, jnp.array(1.0))

    np.testing.assert_allclose(current, -inward(jnp.array(v)), rtol=1e-12)
    np.testing.assert_allclose(slope, -0.5 * jax.grad(inward)(jnp.array(v)), rtol=1e-6)
    w_inf = p["a"] * (v - p["v_leak"])
    np.testing.assert_allclose(new["AdEx_w"], w_inf + (w - w_inf) * np.exp(-0.01 / 100.0))


def test_slope_is_capped() -> None:
    """Judged against the bound: however far above v_exp, the slope seen stays within 0.5 C / dt."""
    for v, dt in [(-42.0, 0.1), (-12.0, 0.1), (-12.0, 1.0), (-12.0, 0.01)]:
        _, current, slope = call(AdEx(), {"AdEx_start": v}, v, dt, capacitance=1.0, AdEx_v_th=500.0)
        assert np.isfinite(current)
        assert -0.25e-3 / dt * 1.001 < slope < 0


def test_always_finite() -> None:
    """Judged against the promise: values and gradients are finite for strong inputs, large steps, a
    high threshold, and without an exponential."""
    branch = jx.Branch(jx.Compartment(), ncomp=1)
    branch.insert(AdEx())
    branch.set("AdEx_v_th", 30.0)
    branch.record("v", verbose=False)
    branch.record("AdEx_since", verbose=False)
    for name in ("AdEx_delta_T", "AdEx_tau_w", "AdEx_t_ref"):
        branch.make_trainable(name, verbose=False)

    def mean(delta_T, density, dt):
        params = [{"AdEx_delta_T": delta_T[None]}, *branch.get_parameters()[1:]]
        data = drive(branch, density, 60)
        return jx.integrate(branch, params, data_stimuli=data, delta_t=dt).mean()

    cases = jnp.meshgrid(
        jnp.array([0.0, 2.0]), jnp.array([-0.1, 1e-3, 0.1]), jnp.array([0.005, 1.0])
    )
    run = jax.jit(jax.vmap(jax.value_and_grad(mean, argnums=(0, 1, 2))))
    for found in jax.tree.leaves(run(*(case.ravel() for case in cases))):
        assert np.isfinite(found).all()


def test_spike_times_between_grid_points() -> None:
    """Judged against a clock written by hand: spikes at 0.13 and 0.32 ms on a grid of 0.1 ms."""
    since = np.array([1e9, 1e9, 0.07, 0.17, 0.08, 0.18])
    np.testing.assert_allclose(spike_times(since, 0.1), [0.13, 0.32])
    np.testing.assert_allclose(spike_times(since, 0.1, 3), [0.13, 0.32, np.inf])
    np.testing.assert_allclose(spike_times(since, 0.1, 1), [0.13])
    assert spike_times(since[:2], 0.1).shape == (0,)
    with pytest.raises(ValueError, match=r"one compartment, \(T,\), got \(2, 6\)"):
        spike_times(np.stack([since, since]), 0.1)


def test_float32(exact) -> None:
    """Judged against the exact solution: Jaxley rounds the voltage in each step, which costs up to
    0.15 ms at the second spike."""
    with jax.enable_x64(False):
        times, v = run(TABLES[1], 200.0, 0.025)
    assert v.dtype == np.float32
    assert v.min() > -70.2
    np.testing.assert_allclose(times, exact[1][:2], rtol=0.0, atol=0.2)
