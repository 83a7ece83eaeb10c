"""Dendrify's models as neurons: against its objects, recorded or live, and Brian's own run of them."""

import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import dendrify_models as models
import jax
import nbformat
import numpy as np
import pytest
from helpers import splitting

import jaxsnn_mc as mc
from jaxsnn_mc.dendrify import from_dendrify, noise_currents
from jaxsnn_mc.mechanisms import receptors

RESETS = {"threshold": -40.0, "reset": 40.0, "second_reset": -55.0, "spike_width": 0.5}
RESETS |= {"refractory": 4.0, "b": 21.0, "dt": 0.1}
PER_AREA = 2.8 * np.pi * 1e-2
"""um2 to pF, of 1 uF/cm2, with the scale factor."""
EXPECTED = {
    "soma.c_m": PER_AREA * 625.0,
    "trunk.c_m": PER_AREA * 250.0 * 1.5,
    "tuft.c_m": PER_AREA * 150.0 * 1.5,
    "soma.CAdIF.g_leak": 0.04 * PER_AREA * 625.0,
    "tuft.Leak.g_leak": 0.04 * PER_AREA * 150.0 * 1.5,
    "tuft.Leak.v_leak": -70.0,
    "soma-trunk": 15.0,
    # 2 / (R_trunk + R_tuft), R = 4 r L / (pi d^2) with r = 1.5 MOhm um
    "trunk-tuft": 2e3 / (4 * 1.5 / np.pi * (100.0 / 2.5**2 + 150.0)),
    "soma.CAdIF.v_th": -40.0,
    "soma.CAdIF.v_reset": -55.0,
    "soma.CAdIF.v_spike": 40.0,
    "soma.CAdIF.spike_width": 0.5,
    "soma.CAdIF.t_ref": 4.0,
    "soma.CAdIF.a": 0.15,
    "soma.CAdIF.b": 21.0,
    "soma.CAdIF.tau_a": 45.0,
    "soma.CAdIF.v_a": -70.0,
    "soma.CAdIF.e_a": -70.0,
    "tuft.AMPA_x.g": 1.0,
    "tuft.AMPA_x.tau_decay": 2.0,
    "tuft.AMPA_x.e": 0.0,
    "tuft.NMDA_x.tau_rise": 5.0,
    "tuft.NMDA_x.tau_decay": 60.0,
    "tuft.NMDA_x.g": 0.25069021,
    "tuft.NMDA_x.mg": 1.0,
    "tuft.NMDA_x.alpha": 0.062,
    "tuft.NMDA_x.beta": 3.57,
    "tuft.NMDA_x.gamma": 10.0,
    "trunk.GABA_y.g": 2.0,
    "trunk.GABA_y.e": -80.0,
    "trunk.GABA_y.tau_rise": 1.0,
    "trunk.Na.g_rise": 22.0,
    "trunk.Na.g_fall": 14.0,
    "tuft.Na.g_rise": 9.0,
    "tuft.Na.g_fall": 5.7,
    "tuft.Na.v_th": -35.0,
    "tuft.Na.e_rise": 70.0,
    "tuft.Na.e_fall": -89.0,
    "tuft.Na.duration_rise": 1.2,
    "tuft.Na.duration_fall": 2.4,
    "tuft.Na.offset": 0.2,
    "tuft.Na.t_ref": 5.0,
}


def translated(model, **changes) -> mc.Neuron:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return from_dendrify(model, **{**RESETS, **changes})


def live():
    """The model from Dendrify itself, where it is installed."""
    reason = "compares with Dendrify 2.2 and Brian2, which need an older numpy (< 2.4)"
    pytest.importorskip("dendrify", reason=reason)
    return models.made()


def test_every_number():
    """Judged against the numbers that made the model, by hand."""
    neuron = translated(models.recorded())
    found = {path: float(neuron.get(path)) for path in EXPECTED}
    assert found == pytest.approx(EXPECTED, rel=1e-6)
    assert not neuron.mechanisms[0].frozen
    assert not any(m.normalised for m in neuron.mechanisms if isinstance(m, mc.Receptor))
    np.testing.assert_array_equal(neuron.v_init, -70.0)


def test_noise_is_an_input():
    """The neuron says that it has noise; the inputs are that noise."""
    with pytest.warns(UserWarning, match="noise_currents.*'tuft'"):
        from_dendrify(models.recorded(), **RESETS)
    (noise,) = noise_currents(models.recorded(), jax.random.key(0))
    assert noise.compartment == "tuft"
    assert [float(x) for x in (noise.tau, noise.sigma, noise.mean)] == pytest.approx([20, 3, 1])


def test_record_is_what_dendrify_says():
    """The record of `recorded()` is the library's own; the translation of both is the same."""
    model = live()
    found = models.record(model)
    assert found["compartments"] == models.RECORD["compartments"]
    assert found["graph"] == models.RECORD["graph"]
    assert found["parameters"].keys() == models.RECORD["parameters"].keys()
    for name, value in models.RECORD["parameters"].items():
        assert found["parameters"][name] == pytest.approx(value), name
    ours = translated(model, dt=None)
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(translated(models.recorded())), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_against_brian():
    """Somatic spikes, dendritic spikes and voltages of Brian's run by forward Euler at dt = 0.0025 ms:
    times within 0.05 ms, voltages up to the first spike within 0.1 mV."""
    live()
    import brian2 as b2

    b2.prefs.codegen.target = "numpy"
    b2.defaultclock.dt = 0.0025 * b2.ms
    model = models.made()
    model.add_params({"sigma_noise_tuft": 0.0 * b2.pA, "mean_noise_tuft": 0.0 * b2.pA})
    group, second = model.make_neurongroup(
        1, threshold="V_soma > -40*mV", reset="V_soma = 40*mV; gA += 3*nS",
        second_reset="V_soma = -55*mV", spike_width=0.5 * b2.ms, refractory=4 * b2.ms,
    )  # fmt: skip
    times = np.array([5.0, 5.1, 5.2, 20.0])
    source = b2.SpikeGeneratorGroup(1, [0] * 4, times * b2.ms)
    to = "s_AMPA_x_tuft += 3; s_NMDA_x_tuft += 3; s_GABA_y_trunk += 0.5"
    synapse = b2.Synapses(source, group, on_pre=to)
    synapse.connect()
    group.I_ext_soma = 250.0 * b2.pA
    spikes, events = b2.SpikeMonitor(group), b2.EventMonitor(group, "spike_Na_trunk")
    traces = b2.StateMonitor(group, ["V_soma", "V_tuft"], record=True)
    b2.Network(group, second, source, synapse, spikes, events, traces).run(60 * b2.ms)

    neuron = translated(model, b=3.0, dt=None)
    inputs = [
        mc.SpikeTrain("tuft", times, 3.0, "AMPA_x"),
        mc.SpikeTrain("tuft", times, 3.0, "NMDA_x"),
        mc.SpikeTrain("trunk", times, 0.5, "GABA_y"),
        mc.StepCurrent("soma", 250.0),
    ]
    run = mc.simulate(neuron, inputs, t_max=60.0, dt=0.01, method=splitting)
    first = int(spikes.t[0] / (0.01 * b2.ms))
    assert len(spikes.t) >= 2
    np.testing.assert_allclose(run.spike_times("soma"), spikes.t / b2.ms, atol=0.05)
    np.testing.assert_allclose(run.spike_times("trunk"), events.t / b2.ms, atol=0.05)
    for name in ("soma", "tuft"):
        theirs = getattr(traces, f"V_{name}")[0][::4] / b2.mV
        np.testing.assert_allclose(run[name][: first - 50], theirs[: first - 50], atol=0.1)


def edited(old: str, new: str) -> SimpleNamespace:
    """The recorded model with an equation replaced, as by `replace_equations`."""
    model = models.recorded()
    for part in model._compartments:
        part.equations = part.equations.replace(old, new)
    return model


def without(name: str) -> SimpleNamespace:
    """The recorded model without a value for a parameter."""
    model = models.recorded()
    model.parameters[name] = None
    return model


def unitless(name: str) -> SimpleNamespace:
    """The recorded model with a plain number for a parameter."""
    model = models.recorded()
    model.parameters[name] = 20.0
    return model


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        (SimpleNamespace(), {}, "NeuronModel or PointNeuronModel"),
        (models.recorded(_extra_equations="dCa/dt = -Ca/ms :1"), {}, "dCa/dt = -Ca/ms :1"),
        (edited("I_ext_tuft  :amp", "I_ext_tuft  :amp\nI_h = 0*pA :amp"), {}, "'tuft' 'I_h = 0"),
        (edited("= I_ext_tuft", "= I_ext_tuft + I_more"), {}, "I_more.*missing"),
        (edited("(EL_trunk-V_trunk)", "(V_trunk-EL_trunk)"), {}, "'dV_trunk/dt"),
        (edited("t_AMPA_decay_x_tuft", "(2*ms)"), {}, "'ds_AMPA_x_tuft/dt"),
        (edited("gate_Na_tuft :siemens", "gate_Na_tuft*2 :siemens"), {}, "'g_rise_Na_tuft"),
        (edited("randn()", "rand()"), {}, "'dI_noise_tuft"),
        (edited("(V_tuft-V_trunk)", "(V_tuft-0*mV)"), {}, "'I_tuft_trunk"),
        (edited("abs(V_soma-EA)", "(V_soma-EA)"), {}, "custom"),
        (without("offset_fall_Na_tuft"), {}, "'offset_fall_Na_tuft'.*add_params"),
        (without("EL_soma"), {}, "'EL_soma'"),
        (without("g_soma_trunk"), {}, "coupling of 'soma' and 'trunk'"),
        (models.recorded(), {"threshold": "V_soma > -40*mV"}, "threshold.*give the number, -40"),
        (models.recorded(), {"threshold": None}, "Without a threshold.*'reset'"),
        (unitless("tau_noise_tuft"), {}, "'tau_noise_tuft' has no unit"),
        (models.recorded(), {"reset": None}, "needs a reset"),
        (models.recorded(), {"spike_width": None}, "belong together"),
        (models.recorded(), {"soma": "axon"}, "soma=.*'trunk'.*'axon'"),
        (models.recorded(), {"soma": "trunk"}, "adaptation in 'soma'"),
        (models.recorded(), {"dt": -0.1}, "dt must be a positive number"),
    ],
)
def test_refused(model, changes, words):
    """What cannot be carried over is refused by its name."""
    with pytest.raises(ValueError, match=words):
        translated(model, **changes)


def point(membrane: str, more: str = "", terms: str = "", **values) -> SimpleNamespace:
    """A point neuron as Dendrify has it: names without a compartment."""
    text = f"dV/dt = (gL * (EL-V) {membrane}) / C :volt\nI = I_ext{terms} :amp\nI_ext :amp\n{more}"
    si = {"C": 100e-12, "gL": 10e-9, "EL": -70e-3, "E_AMPA": 0.0, **values}
    parameters = {name: models.Quantity(value) for name, value in si.items()}
    return SimpleNamespace(equations=text, parameters=parameters)


W = "dw/dt = (a * (V-EL) -w) / tauw  :amp"
W_VALUES = {"a": 2e-9, "tauw": 0.1}
SYNAPSE = (
    "I_AMPA_x = g_AMPA_x * (E_AMPA-V) * s_AMPA_x * w_AMPA_x :amp\n"
    "ds_AMPA_x/dt = -s_AMPA_x / t_AMPA_decay_x :1"
)
UPSTROKE = "+ gL*DeltaT*exp((V-Vth)/DeltaT) + I - w"


def test_point_neurons():
    """The other soma models, and quantities for the resets: the numbers that went in."""
    values = {"g_AMPA_x": 2e-9, "w_AMPA_x": 1.5, "t_AMPA_decay_x": 5e-3}
    quantities = {"threshold": models.Quantity(-50e-3), "refractory": models.Quantity(2e-3)}
    leaky = from_dendrify(point("+ I", SYNAPSE, " + I_AMPA_x", **values), **quantities, reset=-60.0)
    assert [float(leaky.get(f"soma.LIF.{name}")) for name in ("v_th", "t_ref")] == [-50.0, 2.0]
    assert float(leaky.get("soma.AMPA_x.g")) == pytest.approx(3.0)
    assert float(leaky.get("soma.c_m")) == pytest.approx(100.0)
    quiet = from_dendrify(point("+ I"))
    assert [m.key for m in quiet.mechanisms] == ["Leak"]
    given = {"threshold": -40.0, "reset": -60.0, "b": 30.0}
    adaptive = from_dendrify(point("+ I - w", W, **W_VALUES), **given)
    paths = [f"soma.AdaptiveLIF.{name}" for name in ("a", "tau_w", "b")]
    assert [float(adaptive.get(path)) for path in paths] == pytest.approx([2.0, 100.0, 30.0])
    adex = from_dendrify(point(UPSTROKE, W, **W_VALUES, Vth=-50e-3, DeltaT=2e-3), **given)
    paths = [f"soma.AdEx.{name}" for name in ("v_exp", "delta_T", "v_th")]
    assert [float(adex.get(path)) for path in paths] == pytest.approx([-50.0, 2.0, -40.0])
    with pytest.raises(ValueError, match="no adaptation, but b="):
        from_dendrify(point("+ I"), **given)


def test_point_neurons_of_dendrify():
    """Dendrify's own point neurons, of each soma model, with synapses and noise: the kinds and numbers
    that went in."""
    live()
    from brian2 import ms, mV, nS, pA, pF
    from dendrify import PointNeuronModel

    kinds = {"leakyIF": mc.LIF, "adaptiveIF": mc.AdaptiveLIF, "adex": mc.AdEx, "cadIF": mc.CAdIF}
    more = {"a": 2 * nS, "tauw": 100 * ms, "Vth": -50 * mV, "DeltaT": 2 * mV}
    more |= {"EA": -70 * mV, "gAmax": 0.15 * nS, "tauA": 45 * ms}
    for name, kind in kinds.items():
        model = PointNeuronModel(name, cm_abs=100 * pF, gl_abs=10 * nS, v_rest=-70 * mV)
        model.synapse("NMDA", "z", g=1 * nS, t_rise=2 * ms, t_decay=50 * ms)
        model.noise(sigma=4 * pA)
        model.add_params(more)
        neuron = translated(model, threshold=-40 * mV, second_reset=None, spike_width=None,
                            reset=-60.0, b=None)  # fmt: skip
        assert type(neuron.mechanisms[0]) is kind
        found = [float(neuron.get(f"soma.{end}")) for end in ("c_m", "NMDA_z.tau_rise")]
        assert found == pytest.approx([100.0, 2.0])
        assert float(neuron.mechanisms[0].v_th[0]) == pytest.approx(-40.0)
        assert float(noise_currents(model, jax.random.key(0))[0].sigma) == pytest.approx(4.0)


def test_the_notebook():
    """The Dendrify code in the notebook's text and the code in its cells make the same neuron."""
    live()
    folder = Path(__file__).parent.parent / "notebooks"
    cells = nbformat.read(folder / "coming_from_dendrify.ipynb", as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    compartments, (mechanisms, configured) = blocks[0], blocks[1].split("...\n")
    model, noise = blocks[2].split("neuron, ")[0], blocks[4].split("\n")[0]
    theirs: dict = {"jax": jax}
    code = [
        "from brian2 import *",
        "from dendrify import *",
        compartments,
        mechanisms,
        noise,
        model,
    ]
    exec("\n".join([*code, configured]), theirs)
    with pytest.warns(UserWarning, match="noise_currents"):
        exec(blocks[3], theirs)
    ours: dict = {}
    for cell in cells:
        if cell.cell_type == "code" and "neuron" not in ours:
            exec(cell.source, ours)
    a, b = theirs["neuron"], ours["neuron"]
    # Dendrify keeps the scaled conductance, here the scale is the mechanism's.
    peak = receptors.peak(b.get("dist.NMDA_pathX.tau_rise"), b.get("dist.NMDA_pathX.tau_decay"))
    b = b.set({"dist.NMDA_pathX.g": b.get("dist.NMDA_pathX.g") / peak})
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)
    assert [n.compartment for n in theirs["noise"]] == ["dist"]
