"""Soma models with adaptation, and what happens at a spike: judged against the reference."""

import re

import active_reference as reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import splitting

import jaxsnn_mc as mc

SHAPES = {
    "frozen": {},
    "free": {"frozen": False},
    "two resets": {"frozen": False, "v_spike": 30.0, "spike_width": 0.73},
    "frozen, two resets": {"v_spike": 30.0, "spike_width": 0.73},
}
THRESHOLD = {"v_th": -48.0, "v_reset": -58.0, "t_ref": 3.07}
LEAK = {"g_leak": 5.0, "v_leak": -65.0}
MODELS = {
    "lif": (mc.LIF, {}, {}),
    "adaptive": (
        mc.AdaptiveLIF,
        {"a": 2.0, "tau_w": 60.0, "b": 30.0},
        {"a": 2.0, "tau": 60.0, "b": 30.0, "v_a": -65.0},
    ),
    "cadif": (
        mc.CAdIF,
        {"a": 0.1, "tau_a": 45.0, "b": 4.0, "v_a": -66.0, "e_a": -70.0},
        {"a": 0.1, "tau": 45.0, "b": 4.0, "v_a": -66.0, "e_a": -70.0},
    ),
}
STEP = (0, 320.0, 2.0, 60.0)
INPUTS = [mc.StepCurrent("soma", 320.0, 2.0, 60.0)]


def pair(model: mc.Mechanism) -> mc.Neuron:
    """A soma with a passive dendrite."""
    compartments = {
        "soma": mc.Compartment(80.0, [model]),
        "dend": mc.Compartment(50.0, [mc.Leak(3.0, -65.0)]),
    }
    return mc.Neuron(compartments, [("soma", "dend", 6.0)])


def problem(kind: str, shape: dict, **kwargs) -> reference.Problem:
    given = {"frozen": True, **THRESHOLD, **MODELS[kind][2], **shape, **kwargs}
    soma = reference.Soma(kind=kind, **given)
    return reference.Problem([80.0, 50.0], [5.0, 3.0], -65.0, ((0, 1, 6.0),), [STEP], soma=soma)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(kind, "two resets") for kind in MODELS]
    + [("lif", "free"), ("adaptive", "frozen"), ("cadif", "frozen, two resets")],
)
def test_models_and_shapes(kind, shape):
    """Spike times and the voltages at the end, at dt = 0.1 ms."""
    cls, parameters, _ = MODELS[kind]
    exact = reference.solve(problem(kind, SHAPES[shape]), 60.0)
    model = cls(**LEAK, **THRESHOLD, **parameters, **SHAPES[shape])
    run = mc.simulate(pair(model), INPUTS, t_max=60.0, dt=0.1, method=splitting)
    assert len(exact.soma) > 3
    np.testing.assert_allclose(run.spike_times("soma"), exact.soma, atol=0.01)
    np.testing.assert_allclose(run.state.v, exact.v, atol=0.05)
    assert run.diagnostics.ok


def test_gradients():
    """The times of three spikes by the parameters of the spike's shape, and the adaptation's."""
    names = ("v_th", "v_reset", "t_ref", "v_spike", "spike_width", "a", "tau_a", "b")
    shape = SHAPES["two resets"]
    model = mc.CAdIF(**LEAK, **THRESHOLD, **MODELS["cadif"][1], **shape)
    at = [float(getattr(model, name)) for name in names]

    def ours(values):
        neuron = pair(model).set(dict(zip((f"soma.CAdIF.{n}" for n in names), values, strict=True)))
        run = mc.simulate(neuron, INPUTS, t_max=60.0, dt=0.1, method=splitting)
        return run.spikes("soma")[:3]

    def exact(name, value):
        name = {"tau_a": "tau"}.get(name, name)
        changed = {**shape, name: value} if name in shape else shape
        rest = {} if name in shape else {name: value}
        return np.array(reference.solve(problem("cadif", changed, **rest), 40.0).soma[:3])

    wanted = [
        reference.derivative(lambda x, n=name: exact(n, x), value, 1e-3)
        for name, value in zip(names, at, strict=True)
    ]
    found = jax.jacrev(ours)(jnp.array(at)).T
    np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=2e-4)


def test_a_free_voltage_fires_again_when_it_may():
    """Held above threshold by a strong current, a spike each t_ref (exactly), one in the first step."""
    model = mc.LIF(**LEAK, v_th=-48.0, v_reset=-50.0, t_ref=1.7, frozen=False)
    run = mc.simulate(
        pair(model), [mc.StepCurrent("soma", 2e4)], t_max=12.0, dt=0.1, method=splitting
    )
    times = run.spike_times("soma")
    assert len(times) == 8  # the first at 0.07 ms, the last at 11.97 ms
    np.testing.assert_allclose(np.diff(times), 1.7, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_adex_is_finite(shape):
    """An AdEx with each shape, also in float32."""
    model = mc.AdEx(**LEAK, t_ref=3.0, v_th=-40.0, **SHAPES[shape])
    run = mc.simulate(pair(model), INPUTS, t_max=60.0, dt=0.1, method=splitting, dtype=jnp.float32)
    assert run.counts[0] > 2
    assert np.all(np.isfinite(run.voltages))


def lif(**kwargs):
    return mc.LIF(**LEAK, **{**THRESHOLD, **kwargs})


def dspike(cls=mc.DendriticSpike, **kwargs):
    return cls(**{"g_rise": 5.0, "g_fall": 4.0, **kwargs})


def ampa(cls=mc.AMPA, **kwargs):
    return cls(**{"g": 1.0, "tau_decay": 2.0, **kwargs})


def train(**kwargs):
    one = mc.Compartment(50.0, [mc.Leak(**LEAK), ampa(), ampa(name="far"), dspike()])
    inputs = [mc.SpikeTrain("d", [0.5], 1.0, **kwargs)]
    return mc.simulate(mc.Neuron({"d": one}), inputs, t_max=1.0, dt=0.1)


CASES = [
    (lambda: lif(v_spike=30.0), ["LIF", "v_spike", "spike_width", "give both"]),
    (lambda: lif(spike_width=0.5), ["v_spike", "spike_width", "give both"]),
    (lambda: lif(v_spike=30.0, spike_width=5.0), ["t_ref - spike_width", "must last"]),
    (lambda: lif(v_spike=30.0, spike_width=0.0), ["LIF.spike_width", "above 0"]),
    (lambda: lif(v_spike="up", spike_width=1.0), ["v_spike", "number", "'up'"]),
    (lambda: lif(v_reset=-40.0), ["v_th - v_reset", "below the threshold", "got -8"]),
    (lambda: mc.AdaptiveLIF(**LEAK, tau_w=0.0), ["AdaptiveLIF.tau_w", "above 0", "got 0"]),
    (lambda: mc.CAdIF(**LEAK, a=-1.0), ["CAdIF.a", "at least 0", "nS/mV"]),
    (lambda: mc.CAdIF(**LEAK, tau_a=np.nan), ["CAdIF.tau_a", "finite", "nan"]),
    (lambda: mc.CAdIF(**LEAK, b=-1.0), ["CAdIF.b", "at least 0"]),
    (lambda: ampa(g=-1.0), ["AMPA.g", "at least 0", "nS", "got -1"]),
    (lambda: ampa(tau_decay=0.0), ["AMPA.tau_decay", "above 0", "ms"]),
    (lambda: ampa(tau_rise=0.0), ["AMPA.tau_rise", "above 0"]),
    (lambda: ampa(tau_rise=3.0), ["AMPA.tau_decay - tau_rise", "no slower", "got -1"]),
    (lambda: ampa(mc.GABA, e=np.inf), ["GABA.e", "finite", "inf"]),
    (lambda: ampa(mc.NMDA, beta=0.0), ["NMDA.beta", "above 0", "mM"]),
    (lambda: ampa(mc.NMDA, mg=-1.0), ["NMDA.mg", "at least 0"]),
    (lambda: ampa(mc.NMDA, alpha=-1.0), ["NMDA.alpha", "at least 0", "1/mV"]),
    (lambda: dspike(t_ref=0.0), ["DendriticSpike.t_ref", "above 0"]),
    (lambda: dspike(tau_rise=-1.0), ["DendriticSpike.tau_rise", "above 0", "got -1"]),
    (lambda: dspike(tau_fall=0.0), ["DendriticSpike.tau_fall", "above 0"]),
    (lambda: dspike(offset=-0.1), ["DendriticSpike.offset", "at least 0"]),
    (lambda: dspike(g_fall=-1.0), ["DendriticSpike.g_fall", "at least 0", "nS"]),
    (lambda: dspike(mc.SodiumPulse, duration_rise=0.0), ["SodiumPulse.duration_rise", "above 0"]),
    (lambda: dspike(mc.CalciumPulse, duration_fall=-1.0), ["CalciumPulse.duration_fall"]),
    (lambda: dspike(v_th=np.nan), ["DendriticSpike.v_th", "finite", "nan"]),
    (lambda: train(synapse="NMDA"), ["'d'", "'NMDA'", "AMPA, far"]),
    (lambda: train(synapse="DendriticSpike"), ["d.DendriticSpike", "no synapse"]),
    (lambda: train(synapse="Leak"), ["d.Leak", "no synapse"]),
    (lambda: mc.Neuron(
        {"d": mc.Compartment(1.0, [mc.Leak(**LEAK), ampa(), ampa()])}), ["AMPA", "twice", "name"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "words"), CASES)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        make()
    for word in words:
        assert word in str(error.value)
