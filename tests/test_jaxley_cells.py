"""Neurons as Jaxley cells and back."""

import pickle
from itertools import pairwise

import jax.numpy as jnp
import jaxley as jx
import numpy as np
import pytest
from helpers import euler
from jaxley.channels import HH, K, Km, Leak, Na
from jaxley.connect import connect
from jaxley.pumps import CaPump
from jaxley.synapses import IonotropicSynapse
from jaxsnn_mc.channels import Fire, spike_times

import jaxsnn_mc as mc
from jaxsnn_mc.jaxley import JaxleyChannel, from_jaxley, to_jaxley
from jaxsnn_mc.mechanism import parameters

RNG = np.random.default_rng(3)


def passive(c_m: float = 50.0, g_leak: float = 5.0) -> mc.Compartment:
    return mc.Compartment(c_m, [mc.Leak(g_leak, -65.0)])


def table1() -> mc.Neuron:
    soma = mc.AdEx(10.0, -65.0, -50.0, 2.0, 4.0, 100.0, 100.0, -40.0, -70.0, 5.0)
    compartments = {
        "soma": mc.Compartment(125.0, [soma]),
        "apical": passive(100.0, 2.0),
        "basal": passive(),
    }
    return mc.Neuron(compartments, [("soma", "apical", 5.0), ("soma", "basal", 7.0)])


def chain() -> mc.Neuron:
    """Ten compartments in no order, with couplings over three decades."""
    names = [f"c{i}" for i in RNG.permutation(10)]
    couplings = [(a, b, 10 ** RNG.uniform(-1, 2)) for a, b in pairwise(names)]
    return mc.Neuron({name: passive(RNG.uniform(5, 200)) for name in sorted(names)}, couplings)


def star() -> mc.Neuron:
    """A soma with three neighbours, of which one has three; LIF, HH and a second leak."""
    hh = [JaxleyChannel(HH(), 2000.0, HH_gNa=0.1), JaxleyChannel(Km(), 2000.0)]
    compartments = {
        "soma": mc.Compartment(
            125.0, [mc.LIF(10.0, -65.0, t_ref=2.0), mc.Leak(1.0, -60.0, name="more")]
        ),
        "a": passive(),
        "b": passive(20.0),
        "c": mc.Compartment(20.0, hh, v_init=-65.0),
        "d": passive(30.0),
        "e": passive(10.0),
        "tip": mc.Compartment(30.0, [mc.LIF(3.0, -65.0, name="second")]),
    }
    couplings = [("soma", "a", 5.0), ("soma", "b", 6.0), ("soma", "c", 7.0), ("c", "d", 3.0)]
    return mc.Neuron(compartments, [*couplings, ("c", "e", 4.0), ("e", "tip", 2.0)])


def numbers(neuron: mc.Neuron) -> dict[str, float]:
    """All numbers of a neuron by their paths."""
    paths = [f"{name}.{what}" for name in neuron.names for what in ("c_m", "v_init")]
    for mechanism, where in zip(neuron.mechanisms, neuron.placements, strict=True):
        paths += [
            f"{neuron.names[i]}.{mechanism.key}.{p}" for i in where for p in parameters(mechanism)
        ]
    result = {path: float(neuron.get(path)) for path in paths}
    for k in range(len(neuron.g)):
        result["-".join(sorted(neuron.tree.ends(k)))] = float(neuron.g[k])
    return result


@pytest.mark.parametrize("make", [table1, chain, star])
def test_round_trip(make) -> None:
    """Judged against the neuron itself: the same numbers to 1e-12, also after pickling the cell."""
    neuron = make()
    cell = to_jaxley(neuron)
    for one in (cell, pickle.loads(pickle.dumps(cell))):
        before, after = numbers(neuron), numbers(from_jaxley(one))
        assert before.keys() == after.keys()
        for path, value in before.items():
            assert after[path] == pytest.approx(value, rel=1e-12), path


def conductances(cell: jx.Cell) -> np.ndarray:
    """The couplings (N, N) that Jaxley itself works out, in nS, its branch points eliminated."""
    cell.to_jax()
    params = cell.get_all_parameters([])
    axial = np.asarray(params["axial_conductances"]["v"])
    table, n = cell._comp_edges, len(cell.nodes)
    c_m = np.asarray(cell.nodes["capacitance"] * cell.nodes["area"]) / 100.0
    size = n + len(cell._branchpoints)
    g = np.zeros((size, size))
    for row, (source, sink, kind) in enumerate(
        zip(table["source"], table["sink"], table["type"], strict=True)
    ):
        if kind in (0, 1, 2):
            g[source, sink] = axial[row] * c_m[sink]
            if kind != 0:
                g[sink, source] = g[source, sink]
    laplacian = np.diag(g.sum(axis=1)) - g
    if size > n:
        inner = laplacian[n:, n:]
        laplacian = laplacian[:n, :n] - laplacian[:n, n:] @ np.linalg.solve(
            inner, laplacian[n:, :n]
        )
    return np.diag(np.diag(laplacian)) - laplacian


@pytest.mark.parametrize(("make", "rtol"), [(table1, 1e-12), (chain, 1e-12), (star, 1e-8)])
def test_couplings(make, rtol: float) -> None:
    """Judged against the axial conductances that Jaxley works out: chains to 1e-12; beside a
    compartment with three neighbours the couplings of the others are below epsilon = 1e-7."""
    neuron = make()
    cell = to_jaxley(neuron)
    names = list(from_jaxley(cell).names)
    theirs, ours = conductances(cell), np.zeros((len(names),) * 2)
    for k in range(len(neuron.g)):
        i, j = (names.index(name) for name in neuron.tree.ends(k))
        ours[i, j] = ours[j, i] = float(neuron.g[k])
    there = ours > 0
    np.testing.assert_allclose(theirs[there], ours[there], rtol=rtol)
    unwanted = np.abs(theirs[~there & ~np.eye(len(names), dtype=bool)])
    assert unwanted.max() <= (1e-10 if rtol == 1e-12 else 1e-7 * ours.max())


def test_spikes() -> None:
    """Judged against our own solver at a fine step: Table 1's neuron, run by `jx.integrate`."""
    cell, dt = to_jaxley(table1()), 0.01
    cell.soma.stimulate(jnp.full(20_000, 0.28), verbose=False)
    cell.soma.record("AdEx_since", verbose=False)
    theirs = spike_times(jx.integrate(cell, delta_t=dt)[0], dt)
    inputs = [mc.StepCurrent("soma", 280.0)]
    ours = mc.simulate(table1(), inputs, t_max=200.0, dt=0.02, method=mc.Splitting())
    np.testing.assert_allclose(theirs, ours.spike_times("soma"), atol=0.05)


def test_branch_points() -> None:
    """Judged against `jx.integrate`: a passive cell of Jaxley's with branch points is the same linear
    system, and comes back from a second cell with the same numbers."""
    cell = jx.Cell(jx.Branch(jx.Compartment(), ncomp=2), parents=[-1, 0, 0, 1, 1, 3])
    cell.insert(Leak())
    cell.set("radius", RNG.uniform(0.5, 2.0, 12))
    cell.set("axial_resistivity", RNG.uniform(100, 300, 12))
    neuron = from_jaxley(cell)
    assert neuron.names[12:] == ("branchpoint0", "branchpoint1")  # a third has two neighbours only
    at = cell.branch(0).comp(0)
    at.record("v", verbose=False)
    at.stimulate(jnp.full(200, 0.02), verbose=False)
    theirs = np.asarray(jx.integrate(cell, delta_t=0.05))[0, :201]
    inputs = [mc.StepCurrent("0", 20.0)]
    ours = mc.simulate(neuron, inputs, t_max=10.0, dt=0.05, method=euler, record=["0"])
    np.testing.assert_allclose(ours["0"], theirs, atol=1e-6)
    again = from_jaxley(to_jaxley(neuron))
    for field in ("c_m", "g"):
        before, after = (np.sort(np.asarray(getattr(n, field))) for n in (neuron, again))
        np.testing.assert_allclose(after, before, rtol=1e-12)


def test_leak_beside_fire() -> None:
    """Judged by hand: a leak is an LIF's where `Fire` is, a fire without one has none."""
    cell = jx.Cell(jx.Branch(jx.Compartment(), ncomp=3), parents=[-1])
    cell.branch(0).comp([0, 1]).insert(Leak())
    cell.branch(0).comp([1, 2]).insert(Fire())
    neuron = from_jaxley(cell)
    area = float(cell.nodes["area"][0])
    assert float(neuron.get("0.Leak.g_leak")) == pytest.approx(1e-4 * 10 * area)
    assert float(neuron.get("1.LIF.g_leak")) == pytest.approx(1e-4 * 10 * area)
    assert float(neuron.get("2.LIF.g_leak")) == 0.0


class Own(mc.Mechanism):
    pass


def one(*mechanisms: mc.Mechanism) -> mc.Neuron:
    return mc.Neuron({"soma": mc.Compartment(10.0, mechanisms, v_init=-65.0)})


def changed(change) -> jx.Cell:
    cell = jx.Cell(jx.Branch(jx.Compartment(), ncomp=2), parents=[-1])
    cell.insert(HH())
    change(cell)
    return cell


def network() -> jx.Network:
    net = jx.Network([jx.Cell(), jx.Cell()])
    connect(net.cell(0).branch(0).loc(0.0), net.cell(1).branch(0).loc(0.0), IonotropicSynapse())
    return net


sodium = JaxleyChannel(Na(), 1000.0)
REFUSED = [
    (
        lambda: to_jaxley(one(mc.Leak(1.0, -65.0), mc.CurrentSynapse())),
        ["CurrentSynapse", "'soma'"],
    ),
    (lambda: to_jaxley(one(Own())), ["Own", "'soma'"]),
    (lambda: to_jaxley(table1().set({"soma.c_m": [1.0, 2.0]})), ["population"]),
    (lambda: to_jaxley(table1().set({"soma-apical": 0.0})), ["0 nS", "'apical'"]),
    (lambda: to_jaxley(table1(), epsilon=1.0), ["epsilon", "0.5"]),
    (lambda: to_jaxley("cell"), ["Neuron", "'cell'"]),
    (lambda: to_jaxley(one(sodium, JaxleyChannel(K(), 900.0))), ["one area", "1000", "900"]),
    (
        lambda: to_jaxley(one(sodium, JaxleyChannel(K(), 1000.0, vt=-55.0))),
        ["share vt", "-60", "-55"],
    ),
    (lambda: to_jaxley(one(sodium, JaxleyChannel(Na(), 1000.0, name="b"))), ["two", "'Na'"]),
    (lambda: to_jaxley(one(mc.LIF(1.0, -65.0), mc.Leak(1.0, -65.0))), ["two", "'Leak'"]),
    (
        lambda: to_jaxley(one(mc.LIF(g_leak=1.0, v_leak=-65.0, t_ref=2.0, frozen=False))),
        ["LIF with frozen=False", "'soma'"],
    ),
    (lambda: from_jaxley(network()), ["whole jx.Cell", "Network"]),
    (lambda: from_jaxley(network().cell(0)), ["whole jx.Cell", "View"]),
    (lambda: from_jaxley(changed(lambda c: c.insert(CaPump()))), ["pumps", "CaPump"]),
    (lambda: from_jaxley(changed(lambda c: c.stimulate(jnp.ones(9)))), ["stimuli", "'i'"]),
    (
        lambda: from_jaxley(changed(lambda c: c.make_trainable("HH_gNa"))),
        ["trainables", "'HH_gNa'"],
    ),
]


@pytest.mark.parametrize(("attempt", "says"), REFUSED, ids=[" ".join(s)[:30] for _, s in REFUSED])
def test_refused(attempt, says: list[str]) -> None:
    """Judged against the table: a ValueError with these words."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  its message is checked below
        attempt()
    assert all(words in str(caught.value) for words in says), str(caught.value)


def test_names() -> None:
    """Judged by hand: names are groups where Python and Jaxley allow, otherwise numbers."""
    cell = to_jaxley(
        mc.Neuron({"soma": passive(), "no name": passive()}, [("soma", "no name", 1.0)])
    )
    assert cell.group_names == ["soma"]
    (number,) = set(from_jaxley(cell).names) - {"soma"}
    assert number in "01"
