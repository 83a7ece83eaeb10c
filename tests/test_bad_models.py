"""Bad input to geometry, morphologies, protocols and sampling, as in tests/test_bad_input.py."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from makers import leaky, pair, single
from test_bad_input import REMEDY, Case

import jaxsnn_mc as mc
from jaxsnn_mc import passive, protocols
from jaxsnn_mc.geometry import Cylinder, half_cylinders
from jaxsnn_mc.morphology import Morphology, Section

nan, inf = float("nan"), float("inf")
KEY = jax.random.key(0)
SYNAPSE = {"CurrentSynapse": 1.0}


@cache
def population() -> mc.Neuron:
    return pair().set({"soma.c_m": [90.0, 100.0]})


@cache
def cell() -> Morphology:
    points = jnp.array([0.0, 100.0]), jnp.array([2.0, 2.0])
    return Morphology(500.0, (Section("basal", -1, *points), Section("apical", -1, *points)))


def read(text: str) -> Callable[[Path], object]:
    """Reads a file with this text."""

    def attempt(folder: Path) -> object:
        path = folder / "bad.swc"
        path.write_text(text)
        return mc.read_morphology(path)

    return attempt


def step(**kwargs) -> object:
    return protocols.step_response(**{"neuron": pair(), "at": "soma", **kwargs})


@cache
def short() -> protocols.StepResponse:
    run = {"delay": 0.1, "duration": 0.8, "after": 0.1, "dt": 0.1}
    return protocols.step_response(pair().set({"soma.c_m": [100.0]}), "soma", **run)


def curve(**kwargs) -> object:
    return protocols.f_i_curve(**{"neuron": pair(), "at": "soma", "currents": [1.0], **kwargs})


def attenuated(**kwargs) -> object:
    return protocols.synaptic_attenuation(**{"neuron": pair(), "synapses": SYNAPSE, **kwargs})


def summed(**kwargs) -> object:
    given = {"neuron": pair(), "dendrite": "soma", "synapses": SYNAPSE, "numbers": [1]}
    return protocols.input_output(**{**given, **kwargs})


def back(**kwargs) -> object:
    given = {"neuron": pair(), "at": "soma", "amplitude": 1.0, "duration": 1.0, "delay": 1.0}
    return protocols.back_propagation(**{**given, **kwargs})


def drawn(path: str, distribution: object, neuron: mc.Neuron | None = None, n: int = 3) -> object:
    return mc.sample(neuron or pair(), {path: distribution}, n, KEY)  # type: ignore


GEOMETRY: list[Case] = [
    ("length zero", lambda: Cylinder(0.0, 1.0, 40.0), ["Cylinder.length", "above 0", "um", "got 0"]),
    ("diameter negative", lambda: Cylinder(1.0, -1.0, 40.0), ["Cylinder.diameter", "above 0", "-1"]),
    ("diameter NaN", lambda: Cylinder(1.0, nan, 40.0), ["Cylinder.diameter", "finite", "nan"]),
    ("length a string", lambda: Cylinder("x", 1.0, 40.0), ["Cylinder.length", "number", "'x'"]),
    ("length None", lambda: Cylinder(None, 1.0, 40.0), ["Cylinder.length", "number", "None"]),
    ("leak negative", lambda: Cylinder(1.0, 1.0, -40.0),
     ["Cylinder.specific_leak", "at least 0", "uS/cm2", "-40"]),
    ("capacitance zero", lambda: Cylinder(1.0, 1.0, 40.0, 0.0),
     ["Cylinder.specific_capacitance", "above 0", "uF/cm2"]),
    ("resistivity negative", lambda: Cylinder(1.0, 1.0, 40.0, axial_resistivity=-1.0),
     ["Cylinder.axial_resistivity", "above 0", "ohm cm", "-1"]),
    ("spine factor zero", lambda: Cylinder(1.0, 1.0, 40.0, spine_factor=0.0),
     ["Cylinder.spine_factor", "above 0"]),
    ("scale factor inf", lambda: Cylinder(1.0, 1.0, 40.0, scale_factor=inf),
     ["Cylinder.scale_factor", "finite", "inf"]),
    ("no resistivity", lambda: half_cylinders(*[Cylinder(1.0, 1.0, 40.0)] * 2),
     ["no axial resistivity", "give it"]),
    ("no leak", lambda: passive.input_resistances(single(leaky(g_leak=0.0))), ["not leak", "give it"]),
    ("distance to unknown", lambda: passive.electrotonic_distances(pair(), "axon"),
     ["'axon'", "'soma'"]),
]  # fmt: skip

MORPHOLOGY: list[Case] = [
    ("max_length zero", lambda: cell().cut(0.0), ["max_length", "positive", "um", "0.0"]),
    ("max_length NaN", lambda: cell().cut(nan), ["max_length", "positive", "nan"]),
    ("too few", lambda: cell().reduced(2), ["number", "3", "'basal'", "'apical'", "got 2"]),
    ("half a compartment", lambda: cell().reduced(4.5), ["number", "whole number", "4.5"]),  # type: ignore
    ("kind unknown", lambda: cell().cut(50.0).where("axon"), ["'axon'", "'basal'"]),
    ("resistivity zero", lambda: cell().cut(50.0).arrays(axial_resistivity=0.0),
     ["axial_resistivity", "above 0", "ohm cm"]),
    ("spines negative", lambda: cell().cut(50.0).with_spines(-1.0), ["spine_factor", "positive", "-1"]),
    ("spines on unknown", lambda: cell().cut(50.0).with_spines(2.0, "axon"), ["'axon'", "'basal'"]),
    ("rule of zero", lambda: mc.d_lambda_rule(0.0), ["d_lambda", "positive", "0.0"]),
]  # fmt: skip

PROTOCOLS: list[Case] = [
    ("no current", lambda: step(amplitude=0.0), ["amplitude", "pA", "not 0"]),
    ("amplitude a string", lambda: step(amplitude="x"), ["amplitude", "number", "'x'"]),
    ("step into unknown", lambda: step(at="axon"), ["'axon'", "'soma'"]),
    ("delay negative", lambda: step(delay=-1.0), ["delay", "positive", "-1"]),
    ("duration zero", lambda: step(duration=0.0), ["duration", "positive", "0"]),
    ("after negative", lambda: step(after=-1.0), ["after", "at least 0", "-1"]),
    ("records unknown", lambda: step(record=["axon"]), ["'axon'", "'soma'"]),
    ("plot of no such neuron", lambda: short().plot(neuron=1), ["neuron", "0", "got 1"]),
    ("one current", lambda: curve(currents=1.0), ["currents", "array", "()"]),
    ("curve of a population", lambda: curve(neuron=population()), ["f_i_curve", "population", "give"]),
    ("curve of unknown", lambda: curve(at="axon"), ["'axon'", "'soma'"]),
    ("synapses a list", lambda: attenuated(synapses=["AMPA"]), ["synapses", "dict", "AMPA"]),
    ("no synapses", lambda: attenuated(synapses={}), ["synapses", "dict", "{}"]),
    ("held nowhere", lambda: attenuated(synapses={"AMPA": 1.0}), ["AMPA", "No compartment", "give"]),
    ("not held there", lambda: attenuated(distances={"dend": 5.0}), ["'dend'", "'CurrentSynapse'"]),
    ("distance of unknown", lambda: attenuated(distances={"axon": 5.0}), ["'axon'", "'soma'"]),
    ("distance negative", lambda: attenuated(distances={"soma": -5.0}), ["'soma'", "at least 0", "-5"]),
    ("distances a list", lambda: attenuated(distances=[5.0]), ["distances", "dict", "[5.0]"]),
    ("attenuation to unknown", lambda: attenuated(at="axon"), ["'axon'", "'soma'"]),
    ("synapse of a population", lambda: attenuated(neuron=population()), ["population", "give"]),
    ("no numbers", lambda: summed(numbers=[]), ["numbers", "empty"]),
    ("numbers a number", lambda: summed(numbers=3), ["numbers", "list", "3"]),
    ("zero inputs", lambda: summed(numbers=[0, 1]), ["numbers", "whole number", "0"]),
    ("interval negative", lambda: summed(interval=-0.1), ["interval", "at least 0", "-0.1"]),
    ("inputs after the end", lambda: summed(numbers=[3], interval=100.0), ["inside the run", "210"]),
    ("no synapse there", lambda: summed(dendrite="dend"), ["'dend'", "'CurrentSynapse'", "Leak"]),
    ("weight a string", lambda: summed(synapses={"CurrentSynapse": "x"}), ["weight", "number", "'x'"]),
    ("no spike", back, ["no spike 0", "'soma'", "larger amplitude"]),
    ("spike negative", lambda: back(spike=-1), ["no spike -1", "change"]),
    ("window negative", lambda: back(window_ms=-1.0), ["window_ms", "positive", "-1"]),
    ("spreads in a population", lambda: back(neuron=population()), ["population", "give"]),
]  # fmt: skip

SAMPLING: list[Case] = [
    ("sd zero", lambda: mc.Normal(0.0), ["Normal.sd", "above 0"]),
    ("sigma negative", lambda: mc.LogNormal(-0.1), ["LogNormal.sigma", "above 0", "-0.1"]),
    ("ends turned round", lambda: mc.Uniform(2.0, 1.0), ["Uniform", "low below high", "(2.0, 1.0)"]),
    ("unknown path", lambda: drawn("soma.AdEx.q", mc.Normal(1.0)), ["'q'", "'tau_w'"]),
    ("outside its bounds", lambda: drawn("soma.c_m", mc.Uniform(-1.0, 1.0)), ["soma.c_m", "above 0"]),
    ("log of a voltage", lambda: drawn("soma.v_init", mc.LogNormal(0.1)),
     ["positive soma.v_init", "use Normal"]),
    ("a class", lambda: drawn("soma.c_m", mc.Normal), ["soma.c_m", "needs", "Normal(sd)"]),
    ("a number", lambda: drawn("soma.c_m", 0.2), ["soma.c_m", "needs", "0.2"]),
    ("none at all", lambda: drawn("soma.c_m", mc.Normal(1.0), n=0), ["number", "1 at least", "0"]),
    ("of a population", lambda: drawn("soma.c_m", mc.Normal(1.0), population()),
     ["soma.c_m", "one number", "got 2"]),
]  # fmt: skip

CASES = [*GEOMETRY, *MORPHOLOGY, *PROTOCOLS, *SAMPLING]
FILES: list[tuple[str, str, list[str]]] = [
    ("no numbers", "1 1 0 0 x 10 -1\n", ["bad.swc", "must be a readable file"]),
    ("no soma", "1 3 10 0 0 1 -1\n2 3 90 0 0 1 1\n", ["bad.swc", "no soma", "give it"]),
    (
        "no diameter",
        "1 1 0 0 0 9 -1\n2 3 10 0 0 0 1\n3 3 90 0 0 1 2\n",
        ["diameter", "positive", "0"],
    ),
]


def check(attempt: Callable[[], object], says: list[str]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  its message is checked below
        attempt()
    message = str(caught.value)
    missing = [words for words in says if words not in message]
    assert not missing, f"{missing} missing in: {message}"
    assert REMEDY.search(message), f"no remedy in: {message}"


@pytest.mark.parametrize(("attempt", "says"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_bad_models(attempt: Callable[[], object], says: list[str]) -> None:
    """Judged against the table: a ValueError with these substrings and a remedy."""
    check(attempt, says)


@pytest.mark.parametrize(("text", "says"), [c[1:] for c in FILES], ids=[c[0] for c in FILES])
def test_bad_files(text: str, says: list[str], tmp_path: Path) -> None:
    """Judged against the table, for files; and for one that is not there."""
    check(lambda: read(text)(tmp_path), says)
    check(lambda: mc.read_morphology(tmp_path / "none.swc"), ["none.swc", "readable file"])
