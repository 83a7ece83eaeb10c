"""Hodgkin-Huxley channels: rates as printed, SciPy's solution of the whole cell, and its gradient."""

import inspect
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import euler, splitting
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import jaxsnn_mc as mc

# --- the reference: rates in the form in which they are printed, the cell as one ODE ------------------


def over(a, b):
    """a / (exp(a / b) - 1), which is b at a = 0."""
    a = np.asarray(a, float)
    safe = np.where(a == 0.0, 1.0, a)
    return np.where(a == 0.0, b, safe / np.expm1(safe / b))


def of_rates(alpha, beta):
    return alpha / (alpha + beta), 1.0 / (alpha + beta)


def sodium(v, v_t=-56.2):
    m = of_rates(-0.32 * over(v - v_t - 13, -4), 0.28 * over(v - v_t - 40, 5))
    beta_h = 4 / (1 + np.exp(-(v - v_t - 40) / 5))
    return {"m": m, "h": of_rates(0.128 * np.exp(-(v - v_t - 17) / 18), beta_h)}


def potassium(v, v_t=-56.2):
    alpha = -0.032 * over(v - v_t - 15, -5)
    return {"n": of_rates(alpha, 0.5 * np.exp(-(v - v_t - 10) / 40))}


def m_current(v, tau_max=608.0):
    tau = tau_max / (3.3 * np.exp((v + 35) / 20) + np.exp(-(v + 35) / 20))
    return {"p": (1 / (1 + np.exp(-(v + 35) / 10)), tau)}


def calcium(v):
    q = of_rates(0.055 * over(-27 - v, 3.8), 0.94 * np.exp((-75 - v) / 17))
    beta = 0.0065 / (np.exp((-15 - v) / 28) + 1)
    return {"q": q, "r": of_rates(0.000457 * np.exp((-13 - v) / 50), beta)}


def h_current(v):
    return {"m": of_rates(0.001 * 6.43 * over(v + 154.9, 11.9), 0.001 * 193 * np.exp(v / 33.1))}


CHANNELS = {
    mc.Sodium: (sodium, {"m": 3, "h": 1}, 50.0, [-43.2, -16.2]),
    mc.Potassium: (potassium, {"n": 4}, -90.0, [-41.2]),
    mc.IM: (m_current, {"p": 1}, -90.0, []),
    mc.Calcium: (calcium, {"q": 2, "r": 1}, 120.0, [-27.0]),
    mc.Ih: (h_current, {"m": 1}, -45.0, [-154.9]),
}
"""Gates, powers, reversal potential (mV), and the voltages (mV) at which a rate is 0 / 0."""

LEAK = (2.43, -70.3)  # nS, mV
C_M = 118.0  # pF: the regular-spiking cell, 0.06 mm across
SPIKING = {mc.Sodium: 6632.0, mc.Potassium: 710.0}  # nS


def solve(channels, pieces, leak=LEAK, soma=0.0):
    """A compartment with channels {class: nS} under pieces [(ms, pA)] of current, joined by `soma`
    (nS) to a passive one. Returns the voltage as a function of time, and its crossings of 0 mV."""
    open_at = {cls: CHANNELS[cls][0] for cls in channels}

    def slope(y, current):
        v, v_soma, x, i, dx = y[0], y[1], iter(y[2:]), current, []
        for cls, g in channels.items():
            conductance = g
            for name, (steady, tau) in open_at[cls](v).items():
                value = next(x)
                conductance *= value ** CHANNELS[cls][1][name]
                dx.append((steady - value) / tau)
            i += conductance * (CHANNELS[cls][2] - v)
        dv = (i + leak[0] * (leak[1] - v) + soma * (v_soma - v)) / C_M
        return [dv, (leak[0] * (leak[1] - v_soma) + soma * (v - v_soma)) / C_M, *dx]

    rest = [leak[1], leak[1]]
    y = rest + [x for cls in channels for x, _ in open_at[cls](leak[1]).values()]
    start, runs, crossings = 0.0, [], []

    def zero(t, y):
        return y[0]

    zero.direction = 1.0
    for duration, current in pieces:
        end = start + duration
        run = solve_ivp(
            lambda t, y, i=current: slope(y, i), (start, end), y, "LSODA", rtol=1e-10, atol=1e-10,
            dense_output=True, events=zero,
        )  # fmt: skip
        runs.append((end, run.sol))
        crossings.extend(run.t_events[0])
        start, y = end, run.y[:, -1]
    return lambda t: next(sol for end, sol in runs if t <= end)(t)[0], np.array(crossings)


def crossings(ts, v, level=0.0, up=True):
    """The times at which v crosses the level, interpolated linearly."""
    above = v >= level
    i = np.flatnonzero(above[1:] & ~above[:-1] if up else above[:-1] & ~above[1:])
    return ts[i] + (level - v[i]) / (v[i + 1] - v[i]) * (ts[i + 1] - ts[i])


# --- gates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CHANNELS)
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_gates(cls, dtype):
    """Steady states, time constants and their slopes: the printed formulas, at and beside their
    singular voltages too; all finite however far the voltage."""
    gates, powers, e, singular = CHANNELS[cls]
    near = [s + d for s in singular for d in (0.0, 1e-3, -1e-3)]
    v = np.array([*np.linspace(-120.0, 60.0, 37), *near]).astype(dtype)
    one = jax.tree.map(lambda x: x.astype(dtype), cls(g=2.0))
    at = v.astype(float)
    both = jax.jit(lambda v: jax.jvp(one.gates, (v,), (jnp.ones_like(v),)))
    found, slopes = both(jnp.asarray(v))
    exact, above, below = gates(at), gates(at + 1e-4), gates(at - 1e-4)
    assert found.keys() == exact.keys() == one.powers.keys()
    tight, loose = (1e-9, 1e-6) if dtype == jnp.float64 else (3e-5, 2e-3)
    for k in exact:
        for i in range(2):
            assert found[k][i].dtype == dtype
            np.testing.assert_allclose(found[k][i], exact[k][i], rtol=tight)
            slope = (above[k][i] - below[k][i]) / 2e-4
            largest = np.abs(slope).max()
            np.testing.assert_allclose(slopes[k][i], slope, rtol=loose, atol=loose * largest)
    conductance = 2.0 * np.prod([exact[k][0] ** n for k, n in powers.items()], axis=0)
    current = one.current(one.init(jnp.asarray(v)), jnp.asarray(v))
    np.testing.assert_allclose(current, conductance * (e - at), rtol=20 * tight, atol=tight)
    far = jnp.asarray([-1e5, -1e3, 1e3, 1e5], dtype)
    for x in jax.tree.leaves(both(far)):
        assert np.all(np.isfinite(x))


@pytest.mark.parametrize("cls", CHANNELS)
def test_advance_and_mean(cls):
    """At a fixed voltage the closed form, in any parts; the mean that of a fine grid."""
    one, v = cls(g=1.0), jnp.asarray(-30.0)
    start = one.init(jnp.asarray(-75.0))
    state = start
    for dt in (0.3, 1e-6, 2.0):
        state = one.advance(state, v, jnp.asarray(dt))
    grid = np.linspace(0.0, 2.0, 200_001)
    mean = one.mean(start, v, jnp.asarray(2.0))
    for k, (steady, tau) in CHANNELS[cls][0](-30.0).items():
        first = CHANNELS[cls][0](-75.0)[k][0]
        assert state[k] == pytest.approx(steady + (first - steady) * np.exp(-2.300001 / tau))
        path = steady + (first - steady) * np.exp(-grid / tau)
        assert mean[k] == pytest.approx(np.trapezoid(path, grid) / 2.0, rel=1e-6)


# --- cells ------------------------------------------------------------------------------------------


def cell(*more: mc.Mechanism) -> mc.Neuron:
    channels = [cls(g) for cls, g in SPIKING.items()]
    return mc.Neuron({"soma": mc.Compartment(C_M, [mc.Leak(*LEAK), *channels, *more], LEAK[1])})


def test_spikes_and_depolarisation_block():
    """At 300 pA the eight spikes of SciPy within 0.02 ms, of second order; at 8000 pA, as there, two
    and then a steady voltage far above threshold."""
    times = solve(SPIKING, [(100.0, 300.0)])[1]
    blocked, few = solve(SPIKING, [(100.0, 8000.0)])
    assert (len(times), len(few)) == (8, 2)
    errors = []
    for dt in (0.025, 0.0125):
        inputs = [mc.StepCurrent("soma", jnp.array([300.0, 8000.0]))]
        run = mc.simulate(cell(), inputs, t_max=100.0, dt=dt, method=splitting)
        spiking, block = np.asarray(run["soma"])
        found = crossings(run.ts, spiking)
        np.testing.assert_allclose(found, times, atol=0.02)
        errors.append(np.abs(found - times).max())
        assert len(crossings(run.ts, block)) == 2
        assert np.ptp(block[run.ts >= 50.0]) < 1e-3
        assert block[-1] == pytest.approx(blocked(100.0), abs=1e-3) == pytest.approx(-19.2, abs=0.1)
    assert 3.0 < errors[0] / errors[1] < 5.0


def test_implicit_euler_is_of_first_order():
    """The first spike's time against SciPy's."""
    times = solve(SPIKING, [(14.0, 300.0)])[1]
    errors = []
    for dt in (0.01, 0.005):
        inputs = [mc.StepCurrent("soma", 300.0)]
        run = mc.simulate(cell(), inputs, t_max=14.0, dt=dt, method=euler)
        errors.append(crossings(run.ts, np.asarray(run["soma"]))[0] - times[0])
    assert abs(errors[0]) < 0.05
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.2)


def test_calcium_plateau():
    """After a pulse of 5 ms a dendrite with calcium stays above -40 mV for as long as in SciPy, more
    than 20 ms; without, for less than 10 ms."""
    g = {mc.Calcium: 10.0, mc.Potassium: 5.0, mc.IM: 5.0}
    exact, _ = solve(g, [(10.0, 0.0), (5.0, 2000.0), (135.0, 0.0)], leak=(6.0, -70.0), soma=6.0)
    ts = np.arange(0.0, 150.0, 0.05)
    lasting = crossings(ts, np.array([exact(t) for t in ts]), -40.0, up=False)
    leak = mc.Leak(6.0, -70.0)
    mechanisms = [leak, *(cls(x) for cls, x in g.items())]
    neuron = mc.Neuron(
        {"soma": mc.Compartment(C_M, [leak]), "dendrite": mc.Compartment(C_M, mechanisms)},
        [("soma", "dendrite", 6.0)],
    ).set({"dendrite.Calcium.g": jnp.array([10.0, 0.0])})
    pulse = [mc.StepCurrent("dendrite", 2000.0, 10.0, 15.0)]
    run = mc.simulate(neuron, pulse, t_max=150.0, dt=0.05, method=splitting)
    with_calcium, without = (
        crossings(run.ts, np.asarray(v), -40.0, up=False) for v in run["dendrite"]
    )
    assert len(with_calcium) == len(without) == 1
    assert with_calcium[0] == pytest.approx(lasting[0], abs=1.0)
    assert with_calcium[0] - 15.0 > 20.0
    assert without[0] - 15.0 < 10.0


def test_sag():
    """The h and the M current under a step down: SciPy's voltage, and the sag that only the former
    makes."""
    g, leak = {mc.Ih: 20.0, mc.IM: 5.0}, (5.0, -75.0)
    exact, _ = solve(g, [(50.0, 0.0), (250.0, -100.0)], leak)
    mechanisms = [mc.Leak(*leak), *(cls(x) for cls, x in g.items())]
    neuron = mc.Neuron({"soma": mc.Compartment(C_M, mechanisms, leak[1])})
    neuron = neuron.set({"soma.Ih.g": jnp.array([20.0, 0.0])})
    inputs = [mc.StepCurrent("soma", -100.0, 50.0)]
    run = mc.simulate(neuron, inputs, t_max=300.0, dt=0.1, method=splitting)
    sagging, without = np.asarray(run["soma"])
    np.testing.assert_allclose(sagging, [exact(t) for t in run.ts], atol=1e-3)
    assert sagging[-1] - sagging.min() > 2.0
    assert without[-1] - without.min() < 0.1


def test_gradient_by_the_sodium_conductance():
    """Voltages before and after the first spike, by g of sodium: central differences of SciPy."""
    ts, inputs = (9.5, 15.0), [mc.StepCurrent("soma", 300.0)]
    at = np.array([round(t / 0.0125) for t in ts])

    def ours(g):
        neuron = cell().set({"soma.Sodium.g": g})
        return mc.simulate(neuron, inputs, t_max=15.0, dt=0.0125, method=splitting)["soma"][at]

    more, fewer = (
        solve({**SPIKING, mc.Sodium: 6632.0 + d}, [(15.0, 300.0)])[0] for d in (5.0, -5.0)
    )
    exact = [(more(t) - fewer(t)) / 10.0 for t in ts]
    np.testing.assert_allclose(jax.jacrev(ours)(6632.0), exact, rtol=0.01)


def test_spike_times_in_float32():
    """Those of SciPy within 0.02 ms, told by a `DendriticSpike` without conductances."""
    times = solve(SPIKING, [(40.0, 300.0)])[1]
    teller = mc.DendriticSpike(g_rise=0.0, g_fall=0.0, v_th=0.0, t_ref=2.0)
    with jax.enable_x64(False):
        inputs = [mc.StepCurrent("soma", 300.0)]
        run = mc.simulate(cell(teller), inputs, t_max=40.0, dt=0.025, method=splitting)
        found = run.spike_times("soma")
    assert run["soma"].dtype == jnp.float32
    np.testing.assert_allclose(found, times, atol=0.02)


def test_steps_too_long_for_sodium():
    """0.1 ms: SciPy's number of spikes, late by less than 0.4 ms, and no voltage beyond 100 mV."""
    times = solve(SPIKING, [(100.0, 300.0)])[1]
    run = mc.simulate(
        cell(), [mc.StepCurrent("soma", 300.0)], t_max=100.0, dt=0.1, method=splitting
    )
    found = crossings(run.ts, np.asarray(run["soma"]))
    assert len(found) == len(times)
    np.testing.assert_allclose(found, times, atol=0.4)
    assert run["soma"].max() < 100.0


def test_a_channel_of_ones_own():
    """The class of the docstring, taken from there: it opens at rest as its formula says, and the
    steady voltage is where its current and the leak's cancel."""
    lines = inspect.getdoc(mc.Channel).splitlines()
    first = next(k for k, line in enumerate(lines) if "class Persistent" in line)
    last = next(k for k, line in enumerate(lines) if "return" in line)
    names = {"mc": mc, "jax": jax, "jnp": jnp}
    exec(textwrap.dedent("\n".join(lines[first : last + 1])), names)
    leak, v = mc.Leak(10.0, -65.0), -60.0
    own = names["Persistent"](g=2.0, e=50.0)
    assert float(own.init(jnp.asarray(v))["m"]) == pytest.approx(1 / (1 + np.exp(7.4 / 4.6)))

    def balance(v):
        return 10.0 * (-65.0 - v) + 2.0 * (50.0 - v) / (1 + np.exp(-(v + 52.6) / 4.6))

    neuron = mc.Neuron({"soma": mc.Compartment(C_M, [leak, own], v)})
    run = mc.simulate(neuron, t_max=600.0, dt=0.1, method=splitting)
    assert float(run["soma"][-1]) == pytest.approx(brentq(balance, -66.0, -58.0), abs=1e-6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: mc.Sodium(g=-1.0), ["Sodium.g", "at least 0", "nS"]),
        (lambda: mc.Potassium(g=1.0, v_t=np.nan), ["Potassium.v_t", "finite", "mV"]),
        (lambda: mc.IM(g=1.0, tau_max=0.0), ["IM.tau_max", "above 0", "ms"]),
        (lambda: mc.Ih(g="much"), ["g must be a number", "much"]),
    ],
)
def test_bad_parameters(make, said):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        make()
    assert all(word in str(error.value) for word in said)
