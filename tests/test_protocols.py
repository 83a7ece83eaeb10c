"""Protocols, judged against closed forms and dense linear algebra of passive cells and LIF neurons."""

from functools import cache

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import pytest
from jaxtyping import Array
from scipy.linalg import expm
from scipy.optimize import brentq, curve_fit

import jaxsnn_mc as mc
from jaxsnn_mc import protocols
from jaxsnn_mc.protocols import common

FINE = {"method": mc.Splitting(), "dt": 0.05}
C_M, G_LEAK, G = np.array([100.0, 60.0, 30.0]), np.array([5.0, 3.0, 1.0]), (8.0, 2.0)


def dense(g_leak: np.ndarray = G_LEAK) -> np.ndarray:
    """The matrix A of dv/dt = -A v of the passive chain soma - dend - tip, 1/ms."""
    a, b = G
    coupled = np.array([[a, -a, 0.0], [-a, a + b, -b], [0.0, -b, b]])
    return (np.diag(g_leak) + coupled) / C_M[:, None]


def chain(*extra: mc.Mechanism, soma: mc.Mechanism | None = None) -> mc.Neuron:
    """The same as a Neuron, each compartment with the extra mechanisms; its soma could spike."""
    leaks = [mc.Leak(g, -65.0) for g in G_LEAK]
    first = mc.LIF(G_LEAK[0], -65.0, v_th=1000.0) if soma is None else soma
    held = [[first, *extra], [leaks[1], *extra], [leaks[2], *extra]]
    names = ["soma", "dend", "tip"]
    compartments = {
        n: mc.Compartment(c, m, -65.0) for n, c, m in zip(names, C_M, held, strict=True)
    }
    return mc.Neuron(compartments, [("soma", "dend", G[0]), ("dend", "tip", G[1])])


def walk(a: np.ndarray, x: np.ndarray, steps: int, h: float = 0.05) -> np.ndarray:
    """The exact x (steps + 1, n) of dx/dt = a x, every h: powers of one matrix exponential."""
    once, found = expm(a * h), [x]
    for _ in range(steps):
        found.append(once @ found[-1])
    return np.array(found)


@cache
def step() -> protocols.StepResponse:
    return protocols.step_response(chain(), "soma", duration=400.0, delay=10.0, after=10.0, **FINE)


def test_step_response_of_a_passive_chain() -> None:
    """Judged against the dense resistance matrix, the matrix exponential and SciPy's curve_fit."""
    one = step()
    inverse = np.linalg.inv(dense() * C_M[:, None])
    assert float(one.input_resistance) == pytest.approx(1e3 * inverse[0, 0], rel=1e-6)
    assert float(one.peak_resistance) == pytest.approx(1e3 * inverse[0, 0], rel=1e-6)
    assert float(one.sag_ratio) == pytest.approx(1.0, abs=1e-9)
    for k, name in enumerate(["soma", "dend", "tip"]):
        want = inverse[k, 0] / inverse[0, 0]
        assert float(one.attenuation(name)) == pytest.approx(want, rel=1e-6)
    steady = np.linalg.solve(dense(), [-10.0 / C_M[0], 0.0, 0.0])
    soma = (steady - walk(-dense(), steady, 8000))[:, 0]

    def left(t):
        return (steady - expm(-dense() * t) @ steady)[0] / soma[-1] - (1 - np.exp(-1.0))

    assert float(one.time_to_63) == pytest.approx(brentq(left, 1.0, 50.0), rel=1e-5)
    ts, y = np.arange(8001) * 0.05, 1.0 - soma / soma[-1]
    (_, tau), _ = curve_fit(lambda t, a, tau: a * np.exp(-t / tau), ts, y, p0=(1.0, 20.0))
    assert float(one.time_constant) == pytest.approx(tau, rel=1e-4)


def test_step_response_of_one_compartment() -> None:
    """Judged against the closed form: R = 1 / g, both time constants C / g."""
    neuron = mc.Neuron({"cell": mc.Compartment(100.0, [mc.LIF(5.0, -65.0)])})
    many = neuron.set({"cell.LIF.g_leak": [5.0, 10.0]})
    one = protocols.step_response(
        many, "cell", [-10.0, 20.0], duration=400.0, delay=10.0, after=10.0, **FINE
    )
    np.testing.assert_allclose(one.input_resistance, [200.0, 100.0], rtol=1e-8)
    np.testing.assert_allclose(one.time_constant, [20.0, 10.0], rtol=1e-4)
    np.testing.assert_allclose(one.time_to_63, [20.0, 10.0], rtol=1e-4)
    assert isinstance(one.plot(neuron=1), matplotlib.figure.Figure)
    single = protocols.step_response(
        many, "cell", -100.0, duration=400.0, delay=10.0, after=10.0, dtype=jnp.float32, **FINE
    )
    # Changes below the spacing of float32 are lost: the voltage stops tau / dt spacings short.
    short = np.spacing(np.float32(65.0)) * np.array([20.0, 10.0]) / 0.05
    assert np.all(
        np.abs(single.input_resistance - np.array([200.0, 100.0])) < 1.1e3 * short / 100.0
    )
    np.testing.assert_allclose(single.time_constant, [20.0, 10.0], rtol=1e-3)


def sag(a: float) -> tuple[float, float]:
    """Exact steady resistance (MOhm) and sag ratio of C dv/dt = I - g v - w, tau dw/dt = a v - w."""
    matrix = np.array([[-5.0 / 100.0, -1.0 / 100.0], [a / 50.0, -1.0 / 50.0]])
    steady = -np.linalg.solve(matrix, [-0.1, 0.0])
    v = (steady - walk(matrix, steady, 8000))[:, 0]
    return 1e3 * v[-1] / -10.0, v[-1] / v.min()


def test_sag_and_gradients() -> None:
    """Judged against the matrix exponential of an adapting cell, and central differences of it."""
    adex = mc.AdEx(g_leak=5.0, v_exp=100.0, v_th=110.0, a=8.0, tau_w=50.0)
    neuron = mc.Neuron({"soma": mc.Compartment(100.0, [adex])})

    def measures(a):
        changed = neuron.set({"soma.AdEx.a": a})
        one = protocols.step_response(
            changed, "soma", duration=400.0, delay=10.0, after=10.0, **FINE
        )
        return jnp.stack([one.input_resistance, one.sag_ratio]), one

    slopes, one = jax.jacfwd(measures, has_aux=True)(8.0)
    want = sag(8.0)
    assert want[1] < 0.8
    assert float(one.input_resistance) == pytest.approx(want[0], rel=1e-4)
    assert float(one.sag_ratio) == pytest.approx(want[1], rel=1e-4)
    central = (np.array(sag(8.01)) - np.array(sag(7.99))) / 0.02
    np.testing.assert_allclose(slopes, central, rtol=1e-3)


def lif_rate(current, g_leak):
    """The rate (Hz) of a LIF of 100 pF from -65 mV, threshold -50, reset -70 mV, t_ref 2 ms."""
    end = -65.0 + current / g_leak
    return 1e3 / (2.0 + 100.0 / g_leak * jnp.log((end + 70.0) / (end + 50.0)))


def test_f_i_curve() -> None:
    """Judged against the closed form of a LIF's rate, and against its derivative."""
    lif = mc.LIF(g_leak=5.0, v_leak=-65.0, t_ref=2.0)
    neuron = mc.Neuron({"soma": mc.Compartment(100.0, [lif])})
    currents = jnp.array([0.0, 70.0, 100.0, 200.0])

    def rates(g):
        changed = neuron.set({"soma.LIF.g_leak": g})
        curve = protocols.f_i_curve(changed, "soma", currents, duration=300.0, delay=10.0, **FINE)
        return curve.interval_rates, curve

    slopes, curve = jax.jacfwd(rates, has_aux=True)(5.0)
    above = [float(lif_rate(i, 5.0)) for i in currents[2:]]
    np.testing.assert_allclose(curve.interval_rates[2:], above, rtol=1e-5)
    np.testing.assert_array_equal(curve.interval_rates[:2], 0.0)
    exact = jax.vmap(jax.grad(lif_rate, 1), (0, None))(currents[2:], 5.0)
    np.testing.assert_allclose(slopes[2:], exact, rtol=1e-3)
    counts = []
    for i in currents[2:]:
        end = -65.0 + float(i) / 5.0
        first = 20.0 * np.log((end + 65.0) / (end + 50.0))
        counts.append(1 + np.floor((300.0 - first) * float(lif_rate(i, 5.0)) / 1e3))
    np.testing.assert_array_equal(curve.counts, [0, 0, *counts])
    np.testing.assert_allclose(curve.rates, curve.counts / 0.3)
    assert isinstance(curve.plot(overlay={"again": curve}, label="LIF"), matplotlib.figure.Figure)


def potentials(into: int, late: list[int], g_leak: np.ndarray = G_LEAK) -> np.ndarray:
    """Exact changes (801, 3) every 0.05 ms after kicks of 10 pA, so many records `late`, to a current
    of 3 ms into a compartment."""
    full = np.zeros((4, 4))
    full[:3, :3] = -dense(g_leak)
    full[into, 3], full[3, 3] = 1.0 / C_M[into], -1.0 / 3.0
    single = walk(full, np.array([0.0, 0.0, 0.0, 10.0]), 800)[:, :3]
    return sum(np.concatenate([np.zeros((k, 3)), single[: 801 - k]]) for k in late)


def test_synaptic_attenuation() -> None:
    """Judged against the matrix exponential of each synapse's compartment and current."""
    neuron = chain(mc.CurrentSynapse(3.0))

    def measure(g):
        result = protocols.synaptic_attenuation(
            neuron.set({"dend.Leak.g_leak": g}),
            {"CurrentSynapse": 10.0}, delay=5.0, duration=40.0, **FINE,
        )  # fmt: skip
        return result.attenuation, result

    slopes, result = jax.jacfwd(measure, has_aux=True)(3.0)
    assert result.compartments == neuron.names

    def peaks(k: int, g: float = 3.0) -> np.ndarray:
        return potentials(k, [0], np.array([5.0, g, 1.0])).max(0)

    for k in range(3):
        assert float(result.local[k]) == pytest.approx(peaks(k)[k], rel=1e-3)
        assert float(result.remote[k]) == pytest.approx(peaks(k)[0], rel=1e-3)
        below, above = (peaks(k, g)[0] / peaks(k, g)[k] for g in (2.99, 3.01))
        assert float(slopes[k]) == pytest.approx((above - below) / 0.02, rel=5e-3, abs=1e-9)
    np.testing.assert_allclose(result.attenuation, result.remote / result.local)
    r = np.linalg.inv(dense() * C_M[:, None])
    np.testing.assert_allclose(result.distances, -np.log(r[:, 0] / np.diag(r)), atol=1e-9)
    assert isinstance(result.plot(), matplotlib.figure.Figure)


def test_input_output() -> None:
    """Judged against the matrix exponential: passive sums are as expected, at once or in a row; and
    against the count at which they reach a dendritic threshold."""
    neuron = chain(mc.CurrentSynapse(3.0))
    peaks = [potentials(2, [40 * j for j in range(n)])[:, 2].max() for n in range(1, 9)]
    spiking = mc.LIF(1.0, -65.0, v_th=-65.0 + 0.5 * (peaks[4] + peaks[5]), v_reset=-66.0)
    active = mc.Neuron(
        {"soma": mc.Compartment(C_M[0], [mc.Leak(G_LEAK[0], -65.0)]),
         "dend": mc.Compartment(C_M[1], [mc.Leak(G_LEAK[1], -65.0)]),
         "tip": mc.Compartment(C_M[2], [spiking, mc.CurrentSynapse(3.0)])},
        [("soma", "dend", G[0]), ("dend", "tip", G[1])],
    )  # fmt: skip
    run = {"interval": 2.0, "delay": 5.0, "duration": 40.0, **FINE}
    off = protocols.input_output(neuron, "tip", {"CurrentSynapse": 10.0}, range(1, 9), **run)
    on = protocols.input_output(active, "tip", {"CurrentSynapse": 10.0}, range(1, 9), **run)
    np.testing.assert_allclose(off.gain, 1.0, rtol=1e-6)
    np.testing.assert_allclose(off.local, peaks, rtol=1e-3)
    soma = potentials(2, [0, 40, 80])[:, 0]
    assert float(off.measured[2]) == pytest.approx(soma.max(), rel=1e-3)
    assert float(off.steepest[2]) == pytest.approx(np.diff(soma).max() / 0.05, rel=2e-3)
    assert on.threshold("tip.LIF") == 6
    np.testing.assert_allclose(on.measured[:5], off.measured[:5], rtol=1e-6)
    assert float(on.gain[7]) < 0.95
    assert isinstance(on.plot(overlay={"passive": off}, label="LIF"), matplotlib.figure.Figure)


class Spike(mc.Mechanism):
    """Fires once at -50 mV: the voltage is 20 mV for 1 ms, and then free."""

    g_leak: Array = mc.parameter("nS", 5.0)
    linear = True

    def init(self, v):
        return {"hold": jnp.zeros_like(v), "fired": jnp.zeros_like(v)}

    def current(self, state, v):
        return self.g_leak * (-65.0 - v)

    def advance(self, state, v, dt):
        return {**state, "hold": jnp.maximum(state["hold"] - dt, 0.0)}

    def event(self, state, v):
        return v + 50.0 - 200.0 * state["fired"]

    def jump(self, state, v):
        return {"hold": jnp.ones_like(v), "fired": jnp.ones_like(v)}, jnp.full_like(v, 20.0)

    def held(self, state):
        return state["hold"]


def test_back_propagation() -> None:
    """Judged against the matrix exponential before, during and after the spike."""
    a, into = dense(), np.array([150.0 / C_M[0], 0.0, 0.0])
    steady = np.linalg.solve(a, into)

    def free(v, t):
        return steady + expm(-a * t) @ (v - steady)

    at = brentq(lambda t: free(np.zeros(3), t)[0] - 15.0, 0.1, 100.0)
    clamped = a.copy()
    clamped[0] = 0.0  # the soma stays at 85 mV above rest
    start = np.array([85.0, *free(np.zeros(3), at)[1:]])
    end = np.linalg.lstsq(clamped[1:, 1:], -clamped[1:, 0] * 85.0, rcond=None)[0]

    rest = end + walk(-clamped[1:, 1:], start[1:] - end, 100, 0.01)
    during = np.concatenate([np.full((101, 1), 85.0), rest], axis=1)
    after = steady + walk(-a, during[-1] - steady, 2900, 0.01)
    ts, v = np.arange(3001) * 0.01, np.concatenate([during, after[1:]])
    result = protocols.back_propagation(
        chain(soma=Spike()), "soma", 150.0, delay=5.0, duration=60.0, window_ms=30.0, **FINE
    )
    assert float(result.spike) == pytest.approx(5.0 + at, abs=1e-3)
    np.testing.assert_allclose(result.peaks, v.max(0), rtol=2e-3)
    np.testing.assert_allclose(result.delays[1:], ts[v.argmax(0)][1:], atol=0.03)
    assert int(result.counts["soma.Spike"]) == 1
    assert isinstance(result.plot(), matplotlib.figure.Figure)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("dt", "smooth", "corner"), [(0.1, 1e-3, 2e-3), (0.05, 2e-4, 5e-4)])
def test_peaks_between_samples(dt, smooth, corner, sign):
    """Of an alpha function (tau 0.8 ms), and of an exponential rise that turns into a decay at once:
    the samples alone miss up to twice and ten times the limits."""
    ts, worst = dt * np.arange(200), np.zeros((2, 2))
    for phase in np.linspace(0.0, 1.0, 41):
        since = np.maximum(ts - 3.0 - phase * dt, 0.0) / 0.8
        alpha = since * np.exp(1.0 - since)
        turn = 5.0 + phase * dt
        top = 1.0 - np.exp(-(turn - 3.0) / 0.8)
        rise = np.maximum(1.0 - np.exp(-(ts - 3.0) / 0.8), 0.0)
        turned = np.where(ts < turn, rise, top * np.exp(turn - ts)) / top
        for k, curve in enumerate((alpha, turned)):
            found = float(common.peak(jnp.asarray(-70.0 * sign * curve))) / (-70.0 * sign)
            worst[k] = np.maximum(worst[k], [abs(found - 1.0), 1.0 - curve.max()])
    assert worst[0, 0] < smooth
    assert worst[1, 0] < corner
    assert worst[0, 1] > 1.8 * smooth
    assert worst[1, 1] > 4.0 * corner


def test_peaks_are_samples_at_the_ends_and_where_nothing_happens():
    for curve in (np.arange(9.0), np.arange(9.0)[::-1], np.zeros(9), np.array([0.0, 3.0, 1.0])):
        assert float(common.peak(jnp.asarray(curve))) == curve.max()
