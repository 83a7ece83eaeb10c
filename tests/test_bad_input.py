"""Bad input: each raises a ValueError that names the thing, says what it got and what to do.

Judged against the table below: for each case the substrings its message must contain, besides one
word or phrase of REMEDY. Nothing here may end in another exception or in no exception.
"""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from makers import (
    arrays,
    leak,
    leaky,
    pair,
    population,
    run,
    sampled,
    single,
    solution,
    spikes,
    spiking,
    step,
    tree,
    twins,
)

import jaxsnn_mc as mc

REMEDY = re.compile(
    r"\b(must|needs|give|[Rr]emove|keep|change|lengthen|lower|average|use|[Aa]dd|[Ee]xpected|are an|"
    r"there are|it has|neuron has|is an?|is like|see)\b|\bis \(|like '"
)
nan, inf = float("nan"), float("inf")
Case = tuple[str, Callable[[], object], list[str]]

MESH = jax.make_mesh((1,), ("neurons",))
SD, DT = ("soma", "dend", 1.0), ("dend", "tip", 1.0)

TREE: list[Case] = [
    ("no compartments", lambda: mc.Neuron({}), ["at least one compartment", "none"]),
    ("coupling of unknown", lambda: tree(SD, ("dend", "axon", 1.0)), ["'axon'", "'tip'"]),
    ("cycle", lambda: tree(SD, DT, ("tip", "soma", 1.0)), ["'tip'", "'soma'", "cycle", "remove"]),
    ("disconnected", lambda: tree(SD), ["'tip'", "not connected", "Add a coupling"]),
    ("coupled to itself", lambda: tree(SD, ("dend", "dend", 1.0)), ["'dend'", "itself", "remove"]),
    ("coupled twice", lambda: tree(SD, SD, DT), ["'soma'", "'dend'", "keep one"]),
    ("coupled back", lambda: tree(SD, ("dend", "soma", 1.0), DT), ["'soma'", "'dend'", "keep one"]),
    ("coupling of two", lambda: tree(SD, ("dend", "tip")), ["('dend', 'tip')", "nS"]),
    ("coupling of four", lambda: tree(SD, (*DT, 2.0)), ["('dend', 'tip', 1.0, 2.0)", "nS"]),
    ("coupling is a number", lambda: tree(SD, 3), ["coupling", "3", "nS"]),
    ("name with a dot", lambda: single(leaky(), "so.ma"), ["'so.ma'", "without dots"]),
    ("name is a number", lambda: mc.Neuron({3: leaky()}), ["name", "3", "string"]),  # type: ignore
    ("empty name", lambda: single(leaky(), ""), ["name", "''", "string"]),
    ("no Compartment", lambda: single(mc.Leak(g_leak=1.0, v_leak=0.0)), ["'soma'", "Leak"]),
    ("no Mechanism", lambda: mc.Compartment(1.0, ["Leak"]), ["Mechanism", "'Leak'"]),
    ("mechanisms no list", lambda: mc.Compartment(1.0, leak()), ["mechanisms", "Leak"]),
    ("mechanism class", lambda: mc.Compartment(1.0, [mc.Leak]), ["Mechanism", "Leak"]),
    ("same mechanism twice", lambda: single(mc.Compartment(1.0, [leak(), leak()])),
     ["'soma'", "'Leak'", "twice", "name=..."]),
    ("same name twice", lambda: single(mc.Compartment(1.0, [leak(), mc.LIF(1.0, 0.0, name="Leak")])),
     ["'soma'", "'Leak'", "twice", "name=..."]),
    ("no v_init, no leak", lambda: single(mc.Compartment(1.0)), ["'soma'", "v_leak", "give it v_init"]),
]  # fmt: skip

NUMBERS: list[Case] = [
    ("c_m negative", lambda: single(leaky(-1.0)), ["c_m", "'soma'", "at least 0", "pF", "-1"]),
    ("c_m zero", lambda: single(leaky(0.0)), ["c_m", "'soma'", "above 0", "got 0"]),
    ("c_m NaN", lambda: single(leaky(nan)), ["c_m", "'soma'", "finite", "nan"]),
    ("c_m inf", lambda: single(leaky(inf)), ["c_m", "'soma'", "finite", "inf"]),
    ("c_m a string", lambda: leaky("big"), ["c_m", "'big'", "number"]),
    ("c_m None", lambda: leaky(None), ["c_m", "None", "number"]),
    ("g negative", lambda: tree(SD, ("dend", "tip", -2.0)), ["'dend'", "'tip'", "at least 0", "-2"]),
    ("g NaN", lambda: tree(SD, ("dend", "tip", nan)), ["'dend'", "'tip'", "finite", "nan"]),
    ("g a string", lambda: tree(SD, ("dend", "tip", "x")), ["'dend'", "'tip'", "'x'", "number"]),
    ("v_init NaN", lambda: single(leaky(v_init=nan)), ["v_init", "'soma'", "finite", "nan"]),
    ("v_init a string", lambda: leaky(v_init="rest"), ["v_init", "'rest'", "number"]),
    ("g_leak negative", lambda: leak(g_leak=-1.0), ["Leak.g_leak", "at least 0", "nS", "-1"]),
    ("g_leak NaN", lambda: leak(g_leak=nan), ["Leak.g_leak", "finite", "nan"]),
    ("g_leak a string", lambda: leak(g_leak="x"), ["Leak.g_leak", "number", "'x'"]),
    ("v_leak inf", lambda: leak(v_leak=-inf), ["Leak.v_leak", "finite", "-inf"]),
    ("tau_w zero", lambda: spiking(tau_w=0.0), ["AdEx.tau_w", "above 0", "ms", "got 0"]),
    ("tau_w negative", lambda: spiking(tau_w=-5.0), ["AdEx.tau_w", "above 0", "-5"]),
    ("tau_syn zero", lambda: mc.CurrentSynapse(0.0), ["CurrentSynapse.tau_syn", "above 0", "got 0"]),
    ("tau_syn negative", lambda: mc.CurrentSynapse(-1.0), ["CurrentSynapse.tau_syn", "above 0", "-1"]),
    ("delta_T negative", lambda: spiking(delta_T=-2.0), ["AdEx.delta_T", "at least 0", "mV", "-2"]),
    ("t_ref negative", lambda: spiking(t_ref=-1.0), ["AdEx.t_ref", "at least 0", "ms", "-1"]),
    ("LIF t_ref negative", lambda: mc.LIF(5.0, -65.0, t_ref=-1.0), ["LIF.t_ref", "at least 0", "-1"]),
    ("v_reset at v_th", lambda: spiking(v_reset=-40.0), ["AdEx", "v_reset", "below the thr", "got 0"]),
    ("v_reset above v_th", lambda: spiking(v_reset=-35.0),
     ["AdEx", "v_reset", "below the thr", "got -5"]),
    ("LIF v_reset", lambda: mc.LIF(5.0, -65.0, v_reset=-50.0),
     ["LIF", "v_reset", "below the thr", "got 0"]),
]  # fmt: skip

ARRAYS: list[Case] = [
    ("repeated names", lambda: arrays(names=["a", "b", "a"]), ["'a'", "differ", "more than once"]),
    ("too few names", lambda: arrays(names=["a", "b"]), ["3 names", "2"]),
    ("coupling outside", lambda: arrays(couplings=[(0, 1), (1, 3)]), ["(1, 3)", "3 compartments"]),
    ("negative number", lambda: arrays(couplings=[(0, 1), (1, -1)]), ["(1, -1)", "3 compartments"]),
    ("coupling of three", lambda: arrays(couplings=[(0, 1, 2), (1, 2)]), ["(0, 1, 2)", "pair"]),
    ("coupling of a float", lambda: arrays(couplings=[(0, 1), (1, 1.5)]), ["(1, 1.5)", "numbers"]),
    ("array disconnected", lambda: arrays(couplings=[(0, 1)]), ["'2'", "Add a coupling"]),
    ("c_m a scalar", lambda: arrays(c_m=1.0), ["c_m", "array", "scalar"]),
    ("c_m empty", lambda: arrays(c_m=[], couplings=[], mechanisms=[]), ["compartment", "none"]),
    ("one c_m negative", lambda: arrays(c_m=[1.0, -3.0, 1.0]), ["c_m", "'1'", "at least 0", "-3"]),
    ("g of wrong shape", lambda: arrays(g=[1.0] * 3), ["g", "(2,)", "(3,)"]),
    ("one g negative", lambda: arrays(g=[1.0, -1.0]), ["'1'", "'2'", "at least 0", "-1"]),
    ("v_init of wrong shape", lambda: arrays(v_init=[0.0] * 2), ["v_init", "(3,)", "(2,)"]),
    ("parameter of wrong shape", lambda: arrays(mechanisms=[leak(g_leak=[1.0] * 2)]),
     ["Leak.g_leak", "(3,)", "(2,)"]),
    ("parameter of wrong shape on some", lambda: arrays(mechanisms=[(leak(g_leak=[1.0] * 3), [0, 2])]),
     ["Leak.g_leak", "(2,)", "(3,)"]),
    ("mechanism outside", lambda: arrays(mechanisms=[(leak(), [0, 3])]), ["Leak", "0 to 2", "[0, 3]"]),
    ("mechanism at -1", lambda: arrays(mechanisms=[(leak(), [-1])]), ["Leak", "0 to 2", "[-1]"]),
    ("mechanism twice", lambda: arrays(mechanisms=[(leak(), [1, 1])]), ["Leak", "different", "[1, 1]"]),
    ("mechanism nowhere", lambda: arrays(mechanisms=[(leak(), [])]), ["Leak", "0 to 2", "[]"]),
    ("mechanism again", lambda: arrays(mechanisms=[leak(), (leak(), [1])]),
     ["'1'", "'Leak'", "twice", "name=..."]),
    ("not a mechanism", lambda: arrays(mechanisms=["Leak"]), ["Mechanism", "'Leak'"]),
]  # fmt: skip

RUN: list[Case] = [
    ("dt zero", lambda: run(dt=0.0), ["dt", "positive", "0.0"]),
    ("dt negative", lambda: run(dt=-0.1), ["dt", "positive", "-0.1"]),
    ("dt NaN", lambda: run(dt=nan), ["dt", "positive", "nan"]),
    ("dt a string", lambda: run(dt="0.1"), ["dt", "positive number", "'0.1'"]),
    ("dt too long", lambda: run(dt=2.0), ["dt=2", "t_max=1", "not be longer"]),
    ("dt does not divide", lambda: run(dt=0.3), ["t_max=1", "dt=0.3", "nearest", "0.9"]),
    ("t_max zero", lambda: run(t_max=0.0), ["t_max", "positive", "0.0"]),
    ("t_max negative", lambda: run(t_max=-1.0), ["t_max", "positive", "-1.0"]),
    ("t_max inf", lambda: run(t_max=inf), ["t_max", "positive", "inf"]),
    ("t_max an array", lambda: run(t_max=np.ones(2)), ["t_max", "positive number", "1."]),
    ("record_every does not divide", lambda: run(record_every=3),
     ["record_every", "10 steps", "got 3"]),
    ("record_every zero", lambda: run(record_every=0), ["record_every", "whole number", "got 0"]),
    ("record_every float", lambda: run(record_every=2.0), ["record_every", "whole number", "2.0"]),
    ("max_events 0", lambda: run(max_events=0), ["max_events", "1 at least", "0"]),
    ("max_events float", lambda: run(max_events=1.5), ["max_events", "whole number", "1.5"]),
    ("block 0", lambda: run(block=0), ["block", "1 at least", "0"]),
    ("block float", lambda: run(block=2.5), ["block", "whole number", "2.5"]),
    ("mesh a number", lambda: run(mesh=4), ["mesh", "jax.make_mesh", "4"]),
    ("mesh of no population", lambda: run(mesh=MESH), ["1 device(s)", "population", "batch axis"]),
    ("record unknown", lambda: run(record=["axon"]), ["'axon'", "'soma'"]),
    ("record a string", lambda: run(record="soma"), ["record", "'soma'", "list"]),
    ("record unknown state", lambda: run(record=["soma.AdEx.z"]), ["AdEx", "'z'", "'w'"]),
    ("record no such mechanism", lambda: run(record=["dend.AdEx.w"]), ["'dend'", "'AdEx'", "Leak"]),
    ("record garbage", lambda: run(record=["soma.w"]), ["'soma.w'", "like 'soma.AdEx.w'"]),
    ("record twice", lambda: run(record=["soma", "soma"]), ["record", "differ", "'soma'"]),
    ("record a number", lambda: run(record=[0]), ["record", "0", "compartment"]),
    ("dtype int", lambda: run(dtype=jnp.int32), ["dtype", "float32", "int32"]),
    ("state of another neuron", lambda: run(state=twins().init()), ["state", "(3,)", "(2,)"]),
    ("no neuron", lambda: mc.simulate("soma", t_max=1.0, dt=0.1), ["Neuron", "'soma'"]),  # type: ignore
    ("batch axes", lambda: run(step([1.0] * 2), step([1.0] * 3, "dend")), ["batch", "(2,)", "(3,)"]),
    ("batch axes in a neuron", lambda: run(neuron=single(leaky([1.0] * 2, v_init=[0.0] * 3))),
     ["batch", "2", "3"]),
    ("batch of inputs and neuron",
     lambda: run(step([1.0] * 3), neuron=pair().set({"soma.c_m": [1.0] * 2})),
     ["batch", "(2,)", "(3,)"]),
    ("dt traced", lambda: jax.jit(lambda dt: run(dt=dt))(0.1), ["dt", "plain number", "traced"]),
    ("two batch axes", lambda: run(step(np.ones((2, 2)))), ["batch", "(2, 2)"]),
]  # fmt: skip

INPUTS: list[Case] = [
    ("no Input", lambda: run("current"), ["StepCurrent", "'current'"]),
    ("input class", lambda: run(mc.StepCurrent), ["StepCurrent", "class"]),
    ("a lone input", lambda: mc.simulate(pair(), step(), t_max=1.0, dt=0.1),
     ["inputs", "list", "StepC"]),
    ("current into unknown", lambda: run(step(at="axon")), ["'axon'", "'soma'"]),
    ("samples into unknown", lambda: run(sampled(at="axon")), ["'axon'", "'soma'"]),
    ("spikes into unknown", lambda: run(spikes(at="axon")), ["'axon'", "'soma'"]),
    ("start < 0", lambda: run(step(start=-1.0)), ["start", "'soma'", "0 to 1", "-1", "change"]),
    ("start at t_max", lambda: run(step(start=1.0)), ["start", "'soma'", "0 to 1", "got 1", "change"]),
    ("start NaN", lambda: run(step(start=nan)), ["start", "'soma'", "0 to 1", "nan"]),
    ("stop > t_max", lambda: run(step(stop=1.5)), ["stop", "'soma'", "0 to 1", "1.5", "lengthen"]),
    ("stop at start", lambda: run(step(start=0.5, stop=0.5)), ["stop", "'soma'", "after", "0.5"]),
    ("stop < start", lambda: run(step(start=0.5, stop=0.25)),
     ["stop", "'soma'", "after", "0.5", "0.25"]),
    ("stop at 0", lambda: run(step(stop=0.0)), ["stop", "'soma'", "after", "got 0"]),
    ("amplitude NaN", lambda: step(nan), ["amplitude", "'soma'", "finite", "pA", "nan"]),
    ("amplitude a string", lambda: step("x"), ["amplitude", "number", "'x'"]),
    ("samples too short", lambda: run(sampled(9)), ["'soma'", "0.9 ms", "1 ms", "more samples"]),
    ("samples too fine", lambda: run(sampled(100, 0.01)), ["'soma'", "0.01 ms", "0.1 ms", "average"]),
    ("one sample", lambda: sampled(1), ["'soma'", "2 samples", "(1,)"]),
    ("samples a scalar", lambda: mc.SampledCurrent("soma", 1.0, 0.1), ["'soma'", "2 samples", "()"]),
    ("sample NaN", lambda: mc.SampledCurrent("soma", [0.0, nan], 0.1), ["sample", "'soma'", "nan"]),
    ("samples dt negative", lambda: sampled(dt=-0.1), ["dt", "'soma'", "positive", "-0.1"]),
    ("samples dt inf", lambda: sampled(dt=inf), ["dt", "'soma'", "positive", "inf"]),
    ("samples dt a string", lambda: sampled(dt="x"), ["dt", "positive", "'x'"]),
    ("spike < 0", lambda: run(spikes([0.5, -0.5])), ["time", "'soma'", "0 to 1", "-0.5", "change"]),
    ("spike at t_max", lambda: run(spikes([0.5, 1.0])),
     ["time", "'soma'", "0 to 1", "got 1", "change"]),
    ("spike NaN", lambda: run(spikes([nan])), ["time", "'soma'", "0 to 1", "nan"]),
    ("spike at -inf", lambda: run(spikes([-inf])), ["time", "'soma'", "0 to 1", "-inf"]),
    ("weights of other length", lambda: spikes([0.1, 0.2], [1.0] * 3),
     ["'soma'", "2 times", "3 weights", "give"]),
    ("times a scalar", lambda: spikes(0.5), ["times", "'soma'", "array", "0.5"]),
    ("times strings", lambda: spikes(["a"]), ["times", "number", "'a'"]),
    ("weight NaN", lambda: spikes(weights=nan), ["weight", "'soma'", "finite", "nan"]),
    ("no synapse there", lambda: run(spikes(at="dend")), ["'dend'", "'CurrentSynapse'", "Leak"]),
    ("spikes into AdEx", lambda: run(spikes(synapse="AdEx")),
     ["soma.AdEx", "no synapse", "CurrentSynapse"]),
]  # fmt: skip

PATHS: list[Case] = [
    ("get unknown compartment", lambda: pair().get("axon.c_m"), ["'axon'", "'soma'"]),
    ("get unknown mechanism", lambda: pair().get("soma.HH.g"), ["'soma'", "'HH'", "AdEx"]),
    ("get unknown parameter", lambda: pair().get("soma.AdEx.q"), ["AdEx", "'q'", "'tau_w'"]),
    ("get unknown property", lambda: pair().get("soma.d_m"), ["'soma.d_m'", "'soma.c_m'"]),
    ("get uncoupled pair", lambda: pair().get("soma-tip"), ["'soma'", "'tip'", "not coupled"]),
    ("get pair with unknown", lambda: pair().get("soma-axon"), ["'soma-axon'", "a path is like"]),
    ("get compartment", lambda: pair().get("soma"), ["'soma'", "a path is like"]),
    ("get garbage", lambda: pair().get("a.b.c.d"), ["'a.b.c.d'", "a path is like"]),
    ("get empty", lambda: pair().get(""), ["''", "a path is like"]),
    ("set unknown parameter", lambda: pair().set({"soma.AdEx.q": 1.0}), ["AdEx", "'q'", "'tau_w'"]),
    ("set tau_w zero", lambda: pair().set({"soma.AdEx.tau_w": 0.0}),
     ["AdEx.tau_w", "above 0", "got 0"]),
    ("set one of two", lambda: twins().set({"right.AdEx.tau_w": -7.0}),
     ["AdEx.tau_w", "above 0", "-7"]),
    ("set c_m negative", lambda: pair().set({"dend.c_m": -1.0}), ["c_m", "'dend'", "at least 0", "-1"]),
    ("set g negative", lambda: pair().set({"tip-dend": -1.0}), ["'dend'", "'tip'", "at least 0", "-1"]),
    ("set v_init NaN", lambda: pair().set({"tip.v_init": nan}), ["v_init", "'tip'", "finite", "nan"]),
    ("set v_reset", lambda: pair().set({"soma.AdEx.v_reset": 0.0}),
     ["AdEx", "v_reset", "below", "-40"]),
    ("set a string", lambda: pair().set({"soma.c_m": "x"}), ["soma.c_m", "number", "'x'"]),
    ("set batches that disagree", lambda: pair().set({"soma.c_m": [1.0] * 2, "dend.c_m": [1.0] * 3}),
     ["dend.c_m", "2", "3"]),
]  # fmt: skip

SOLUTION: list[Case] = [
    ("voltage not recorded", lambda: solution()["dend"], ["'dend'", "not recorded", "'soma'"]),
    ("state not recorded", lambda: solution()["soma.AdEx.w"],
     ["'soma.AdEx.w'", "not recorded", "'soma'"]),
    ("source unknown", lambda: solution().spike_times("axon"), ["'axon'", "soma.AdEx"]),
    ("source does not spike", lambda: solution().spike_times("dend"),
     ["'dend'", "not spike", "soma.AdEx"]),
    ("rates of no source", lambda: solution().rates("dend"), ["'dend'", "not spike", "soma.AdEx"]),
    ("ambiguous source", lambda: run(neuron=twins()).spikes(),
     ["not unique", "left.AdEx", "right.AdEx"]),
    ("plot of nothing", lambda: solution(()).plot(), ["Nothing", "record"]),
    ("plot of unrecorded", lambda: solution().plot(records=["tip"]),
     ["'tip'", "not recorded", "'soma'"]),
    ("plot of no such neuron", lambda: population().plot(neuron=2), ["neuron", "2"]),
    ("to_pandas of a population", lambda: population().to_pandas(), ["to_pandas", "2", "to_xarray"]),
]  # fmt: skip

CASES = [*TREE, *NUMBERS, *ARRAYS, *RUN, *INPUTS, *PATHS, *SOLUTION]


@pytest.mark.parametrize(("attempt", "says"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_bad_input(attempt: Callable[[], object], says: list[str]) -> None:
    """Judged against the table: a ValueError with these substrings and a remedy."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  its message is checked below
        attempt()
    message = str(caught.value)
    missing = [words for words in says if words not in message]
    assert not missing, f"{missing} missing in: {message}"
    assert REMEDY.search(message), f"no remedy in: {message}"


def test_cases_are_distinct() -> None:
    """Judged against itself: every case has a name of its own."""
    assert len({case[0] for case in CASES}) == len(CASES) >= 55
