"""Dendritic spikes: Dendrify's example 2 and an event-locating reference."""

from dataclasses import replace

import active_reference as reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import splitting

import jaxsnn_mc as mc

NAMES = ["soma", "trunk", "prox", "dist"]
THRESHOLDS = np.array([560.3685, 308.9904, 123.3696])
"""pA into trunk, prox and dist for 5 ms that just elicit a dSpike: example 2, exact."""
DT = 0.05


def active(form=mc.SodiumSpike, soma: mc.Mechanism | None = None, **kwargs) -> mc.Neuron:
    """Dendrify's example 2 from the reference's numbers, dSpikes and soma to be replaced."""
    problem = reference.active()
    if soma is None:
        shape = {"v_spike": 40.0, "spike_width": 0.5, "frozen": False}
        soma = mc.LIF(problem.g_leak[0], -70.0, v_th=-40.0, v_reset=-55.0, t_ref=4.0, **shape)
    compartments = {"soma": mc.Compartment(problem.c_m[0], [soma])}
    for d, name in zip(problem.dspikes, NAMES[1:], strict=True):
        spike = form(g_rise=d.g_rise, g_fall=d.g_fall, **kwargs)
        held = [mc.Leak(problem.g_leak[d.compartment], -70.0), spike]
        held += [mc.AMPA(g=0.8, tau_decay=2.0), mc.NMDA(g=0.8, tau_decay=60.0)]
        compartments[name] = mc.Compartment(problem.c_m[d.compartment], held)
    couplings = [(NAMES[i], NAMES[j], g) for i, j, g in problem.couplings]
    return mc.Neuron(compartments, couplings)


def quiet() -> mc.Leak:
    """A soma without a threshold."""
    return mc.Leak(reference.active().g_leak[0], -70.0)


def test_thresholds_and_pulses_of_example_2():
    """Pulses of 5 ms: no dSpike 0.1 % below the exact threshold currents, one 0.1 % above; at the 1.05
    times pulses, the peaks and times of the reference."""
    strengths = [*np.outer([0.999, 1.001], THRESHOLDS).ravel(), 588.0, 324.45, 129.15]
    into = np.eye(3)[np.arange(9) % 3] * np.array(strengths)[:, None]
    inputs = [mc.StepCurrent(n, into[:, k], 5.0, 10.0) for k, n in enumerate(NAMES[1:])]
    run = mc.simulate(active(), inputs, t_max=20.0, dt=DT, method=splitting)
    own = run.counts[np.arange(9), 1 + np.arange(9) % 3]
    np.testing.assert_array_equal(own, [0, 0, 0, 1, 1, 1, 1, 1, 1])
    for k in range(3):
        steps = [(k + 1, strengths[6 + k], 5.0, 10.0)]
        exact = reference.solve(reference.active(steps=steps), 20.0)
        peaks = run.voltages[6 + k].max(axis=0) + 70.0
        np.testing.assert_allclose(peaks, exact.peak + 70.0, rtol=5e-3)
        assert run.spike_times(NAMES[k + 1])[6 + k] == pytest.approx(exact.dspikes[k], abs=1e-3)


def test_synapses_of_example_2():
    """dSpikes from 7 synapses on dist and 19 on prox, 0.1 ms apart, not from 6 and 18; peaks of the
    reference, which are those of the published protocol."""
    cases = [("dist", 6), ("dist", 7), ("prox", 18), ("prox", 19)]
    inputs = []
    for name in ("dist", "prox"):
        times = np.full((4, 19), np.inf)
        for row, (where, n) in enumerate(cases):
            if where == name:
                times[row, :n] = 20.0 + 0.1 * np.arange(n)
        inputs += [mc.SpikeTrain(name, times, 1.0, synapse) for synapse in ("AMPA", "NMDA")]
    run = mc.simulate(active(soma=quiet()), inputs, t_max=40.0, dt=DT, method=splitting)
    np.testing.assert_array_equal(run.counts, [[0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])
    for row, (where, n) in enumerate(cases):
        i = NAMES.index(where)
        exact = reference.solve(reference.active(n, i, soma=False), 40.0)
        peak = float(run[where][row].max()) + 70.0
        # The top of a dSpike is sharp: at most half a step from a record at some 1 V/s^2.
        assert peak == pytest.approx(exact.peak[i] + 70.0, rel=1e-3 if n in (6, 18) else 1e-2)
        found = run.spike_times(where)[row]
        np.testing.assert_allclose(found, exact.dspikes[i - 1], atol=0.01)


@pytest.mark.parametrize("form", [mc.SodiumSpike, mc.SodiumPulse])
def test_back_propagation(form):
    """125 pA into the soma: times of somatic spikes and dSpikes within 0.05 ms of the reference; with
    the exponential form prox stays below its threshold."""
    pulses = form is mc.SodiumPulse
    problem = reference.active(steps=[(0, 125.0, 20.0, 200.0)])
    spikes = [replace(d, pulses=pulses) for d in problem.dspikes]
    exact = reference.solve(replace(problem, dspikes=spikes), 200.0)
    inputs = [mc.StepCurrent("soma", 125.0, 20.0, 200.0)]
    run = mc.simulate(active(form), inputs, t_max=200.0, dt=DT, method=splitting, record=[])
    assert pulses or exact.dspikes[1] == []
    for name, times in zip(NAMES, [exact.soma, *exact.dspikes], strict=True):
        np.testing.assert_allclose(run.spike_times(name), times, atol=0.05)
    assert len(exact.soma) >= 2
    assert run.diagnostics.ok


@pytest.mark.parametrize("form", [mc.DendriticSpike, mc.DendriticPulse])
def test_several_in_one_step(form):
    """Three uncoupled dendrites that fire in one step of 0.1 ms, in another order than they stand,
    and one of them again and again while it is driven: the reference's times."""
    amplitudes, c_m = (2650.0, 2700.0, 2680.0), 50.0
    kwargs = {"t_ref": 1.5, "offset": 0.3}
    spikes = [
        reference.DSpike(i, 20.0, 10.0, pulses=form is mc.DendriticPulse, **kwargs)
        for i in range(3)
    ]
    steps = [(i, a, 1.0, 4.0) for i, a in enumerate(amplitudes)]
    problem = reference.Problem([c_m] * 3, [5.0] * 3, -70.0, steps=steps, dspikes=spikes)
    exact = reference.solve(problem, 8.0).dspikes
    firsts = [times[0] for times in exact]
    assert len({int(t / 0.1) for t in firsts}) == 1
    assert np.argsort(firsts).tolist() == [1, 2, 0]
    assert len(exact[0]) > 1
    held = [mc.Leak(5.0, -70.0), form(g_rise=20.0, g_fall=10.0, **kwargs)]
    compartments = {name: mc.Compartment(c_m, held) for name in "abc"}
    neuron = mc.Neuron(compartments, [("a", "b", 0.0), ("b", "c", 0.0)])
    inputs = [mc.StepCurrent(n, a, 1.0, 4.0) for n, a in zip("abc", amplitudes, strict=True)]
    run = mc.simulate(neuron, inputs, t_max=8.0, dt=0.1, method=splitting)
    assert run.diagnostics.ok
    for name, times in zip("abc", exact, strict=True):
        np.testing.assert_allclose(run.spike_times(name), times, atol=2e-3)


STEPS = {
    "v_th": 1e-3,
    "g_rise": 1e-2,
    "g_fall": 1e-2,
    "e_rise": 1e-2,
    "e_fall": 1e-2,
    "offset": 1e-3,
}


@pytest.mark.parametrize("form", [mc.SodiumSpike, mc.SodiumPulse])
def test_gradients_of_times_and_peaks(form):
    """A dSpike in a trunk and the somatic spike after it, by every parameter of the dSpike: central
    differences of the reference, to 1 %. By the edges of a pulse the derivative is of first order only:
    pulses take smaller steps, and may be off by a thousandth of the largest derivative."""
    whole, path, pulses = reference.active(), f"trunk.{form.__name__}.", form is mc.SodiumPulse
    spike = replace(
        whole.dspikes[0], pulses=pulses, duration_fall=0.8
    )  # over before the soma's spike
    length = "duration" if pulses else "tau"
    sizes = STEPS | {f"{length}_rise": 1e-3, f"{length}_fall": 1e-3}
    names = list(sizes)
    steps = [(1, 620.0, 1.0, 8.0), (0, 60.0, 1.0, 8.0)]
    two = {"c_m": whole.c_m[:2], "g_leak": whole.g_leak[:2], "couplings": ((0, 1, 15.0),)}

    def exact(name, value):
        changed = [replace(spike, **{name: value})]
        run = reference.solve(replace(whole, **two, steps=steps, dspikes=changed), 9.0)
        return np.array([run.dspikes[0][0], run.soma[0]])

    soma = mc.LIF(two["g_leak"][0], -70.0, v_th=-40.0, v_reset=-55.0, t_ref=4.0)
    trunk = [mc.Leak(two["g_leak"][1], -70.0), form(g_rise=34.0, g_fall=27.2)]
    held = {"soma": [soma], "trunk": trunk}
    compartments = {
        name: mc.Compartment(c, mechanisms)
        for (name, mechanisms), c in zip(held.items(), two["c_m"], strict=True)
    }
    neuron = mc.Neuron(compartments, [("soma", "trunk", 15.0)])
    inputs = [mc.StepCurrent(NAMES[i], a, start, stop) for i, a, start, stop in steps]

    def ours(values):
        changed = neuron.set({path + n: x for n, x in zip(names, values, strict=True)})
        dt = 0.0025 if pulses else DT
        run = mc.simulate(changed, inputs, t_max=9.0, dt=dt, method=splitting, record=[])
        return jnp.stack([run.spikes("trunk")[0], run.spikes("soma")[0]])

    at = [getattr(spike, name) for name in names]
    dspike_time, soma_time = exact("v_th", spike.v_th)
    assert dspike_time < soma_time
    np.testing.assert_allclose(ours(jnp.array(at)), [dspike_time, soma_time], atol=1e-3)
    wanted = np.array(
        [
            reference.derivative(lambda x, n=name: exact(n, x), value, sizes[name])
            for name, value in zip(names, at, strict=True)
        ]
    )
    assert np.all(wanted[:, 1] != 0)
    atol = 1e-3 * np.abs(wanted).max() if pulses else 1e-6
    np.testing.assert_allclose(jax.jacfwd(ours)(jnp.array(at)), wanted.T, rtol=1e-2, atol=atol)


def test_gradient_of_a_rate():
    """The F-I curve's interval rate of an adapting soma whose spikes each elicit a dSpike in the trunk,
    by parameters of both: central differences of the reference, to 1 %."""
    whole = reference.active()
    two = {"c_m": whole.c_m[:2], "g_leak": whole.g_leak[:2], "couplings": ((0, 1, 15.0),)}
    amplitude, spike = 400.0, whole.dspikes[0]
    shape = {"v_spike": 40.0, "spike_width": 0.5, "frozen": False}
    cadif = {"a": 0.05, "tau_a": 45.0, "b": 3.0, "v_a": -70.0, "e_a": -70.0}
    soma = mc.CAdIF(two["g_leak"][0], -70.0, -40.0, -55.0, 4.0, **cadif, **shape)
    trunk = [mc.Leak(two["g_leak"][1], -70.0), mc.SodiumSpike(spike.g_rise, spike.g_fall)]
    neuron = mc.Neuron(
        {"soma": mc.Compartment(two["c_m"][0], [soma]), "trunk": mc.Compartment(two["c_m"][1], trunk)},
        [("soma", "trunk", 15.0)],
    )  # fmt: skip
    values = {"soma.CAdIF.a": 0.05, "soma.CAdIF.b": 3.0, "soma.CAdIF.v_th": -40.0}
    values |= {"trunk.SodiumSpike.g_rise": 34.0, "trunk.SodiumSpike.v_th": -35.0}

    def exact(path, value):
        _, kind, name = path.split(".")
        of_soma = {"a": 0.05, "b": 3.0, "tau": 45.0, "v_a": -70.0, "e_a": -70.0, "v_th": -40.0}
        of_soma |= {name: value} if kind == "CAdIF" else {}
        one = reference.Soma(
            v_reset=-55.0, t_ref=4.0, v_spike=40.0, spike_width=0.5, kind="cadif", **of_soma
        )
        dspike = replace(spike, **({name: value} if kind == "SodiumSpike" else {}))
        steps = [(0, amplitude, 5.0, 65.0)]
        problem = replace(whole, **two, steps=steps, dspikes=[dspike], soma=one)
        run = reference.solve(problem, 65.0, rtol=1e-9)
        assert len(run.dspikes[0]) >= 2
        return 1e3 * (len(run.soma) - 1) / (run.soma[-1] - run.soma[0])

    def ours(x):
        changed = neuron.set(dict(zip(values, x, strict=True)))
        curve = mc.protocols.f_i_curve(
            changed,
            "soma",
            jnp.array([amplitude]),
            delay=5.0,
            duration=60.0,
            dt=DT,
            method=splitting,
        )
        return curve.interval_rates[0], curve.counts[0]

    at = jnp.array(list(values.values()))
    slopes, count = jax.jacfwd(ours, has_aux=True)(at)
    assert count >= 3
    wanted = [
        reference.derivative(lambda x, p=path: exact(p, x), value, 1e-3 * abs(value))
        for path, value in values.items()
    ]
    np.testing.assert_allclose(slopes, wanted, rtol=1e-2)


def single(form=mc.DendriticSpike, **kwargs) -> mc.Neuron:
    spike = form(g_rise=20.0, g_fall=10.0, **kwargs)
    return mc.Neuron({"d": mc.Compartment(50.0, [mc.Leak(5.0, -70.0), spike])})


def test_gradient_by_the_refractory_period():
    """Driven above threshold throughout, it fires again as soon as it may: d t_k / d t_ref = k."""

    def times(t_ref):
        neuron = single(t_ref=t_ref)
        current = [mc.StepCurrent("d", 2500.0)]
        return mc.simulate(neuron, current, t_max=8.0, dt=0.1, method=splitting).spikes()[:3]

    first, second, third = times(2.03)
    assert second - first == pytest.approx(2.03, abs=1e-9)
    assert third - first == pytest.approx(4.06, abs=1e-9)
    np.testing.assert_allclose(jax.jacrev(times)(2.03), [0.0, 1.0, 2.0], atol=1e-9)


@pytest.mark.parametrize("form", [mc.DendriticSpike, mc.DendriticPulse])
def test_surrogate(form):
    """The same run to the bit. Just below threshold the surrogate sees what a dSpike would add; the
    clock gets no derivative."""

    def top(v_th, rule, amplitude=200.0):
        current = [mc.StepCurrent("d", amplitude)]
        run = mc.simulate(
            single(form, v_th=v_th), current, t_max=12.0, dt=0.1, method=splitting, spike_rule=rule
        )
        return run["d"].mean(), run.voltages

    rule = mc.Surrogate(mc.triangle(2.0))
    for amplitude in (200.0, 150.0):
        plain = top(-35.0, mc.Exact(), amplitude)[1]
        np.testing.assert_array_equal(top(-35.0, rule, amplitude)[1], plain)
    assert -55.0 < plain.max() < -35.0
    near = float(plain.max()) + 0.5
    assert jax.grad(lambda x: top(x, mc.Exact(), 150.0)[0])(near) == 0.0
    slope = jax.grad(lambda x: top(x, rule, 150.0)[0])(near)
    assert np.isfinite(slope)
    assert slope < -1e-3


@pytest.mark.parametrize("form", [mc.DendriticSpike, mc.DendriticPulse])
def test_surrogate_after_a_spike(form):
    """Long after a dSpike the surrogate sees what a second one would add as it saw the first."""
    settings = {"dt": 0.1, "method": splitting}
    once = mc.simulate(
        single(form, v_th=-35.0), [mc.StepCurrent("d", 1000.0, 0.0, 3.0)], t_max=400.0, **settings
    )
    assert int(once.counts[0]) > 0

    def mean(v_th, amplitude=150.0, **start):
        current = [mc.StepCurrent("d", amplitude)]
        rule = mc.Surrogate(mc.triangle(2.0))
        neuron = single(form, v_th=v_th)
        run = mc.simulate(neuron, current, t_max=12.0, spike_rule=rule, **settings, **start)
        assert isinstance(v_th, jax.core.Tracer) or int(run.counts[0]) == 0
        return run["d"].mean(), run["d"].max()

    near = float(mean(0.0)[1]) + 0.5
    first = jax.grad(lambda x: mean(x)[0])(near)
    second = jax.grad(lambda x: mean(x, state=once.state)[0])(near)
    assert first < -1e-3
    assert float(second) == pytest.approx(float(first), rel=1e-3)


@pytest.mark.parametrize(
    ("form", "method"),
    [
        (mc.SodiumSpike, splitting),
        (mc.CalciumPulse, mc.ImplicitEuler()),
        pytest.param(mc.SodiumSpike, mc.ImplicitEuler(), marks=pytest.mark.slow),
        pytest.param(mc.CalciumPulse, splitting, marks=pytest.mark.slow),
    ],
)
def test_always_finite_in_float32(form, method):
    """+-100 nA, steps of 1 ms: no NaN in values or gradients."""

    def end(g_rise, amplitude):
        neuron = active(form).set({"trunk." + form.__name__ + ".g_rise": g_rise})
        inputs = [mc.StepCurrent("dist", amplitude), mc.SpikeTrain("prox", [2.0], 1e3, "NMDA")]
        run = mc.simulate(neuron, inputs, t_max=12.0, dt=1.0, method=method, dtype=jnp.float32)
        return run.voltages.mean()

    one = jax.jit(jax.value_and_grad(end, (0, 1)))
    for amplitude in (-1e5, 0.0, 1e5):
        assert np.all(np.isfinite(jax.tree.leaves(one(34.0, amplitude))))
