"""Placement on neuron circuits, and the list of constraints, judged by tests/bss2_checker.py."""

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from bss2_checker import legal

import jaxsnn_mc as mc
from jaxsnn_mc.bss2 import Chip, Circuit, Mapping, Placement, Refusal, check, place
from jaxsnn_mc.bss2.wiring import wiring_violations

MAPPING = Mapping(mV_per_lsb=0.25, v_zero=355, pF_per_lsb=2.0, pA_per_lsb=20.0)


def tree(parents, mechanisms=None) -> mc.Neuron:
    """Compartments "0", "1", ..., the (i + 1)-th a child of parents[i]."""
    couplings = [(int(p), i + 1) for i, p in enumerate(parents)]
    mechanisms = mechanisms or [mc.Leak(5.0, -65.0)]
    return mc.Neuron.from_arrays(np.full(len(couplings) + 1, 100.0), couplings, 5.0, mechanisms)


def edges(neuron):
    return [neuron.tree.ends(edge) for edge in range(neuron.tree.size - 1)]


def random_trees(number):
    rng = np.random.default_rng(7)
    for k in range(number):
        n, reach = int(rng.integers(2, 41)), [40, 4, 2][k % 3]
        yield [int(rng.integers(max(0, i - reach), i)) for i in range(1, n)]


NAMED = {
    "pair": [0],
    "chain": list(range(127)),
    "star with 7 neighbours": [0] * 7,
    "star with 100 neighbours": [0] * 100,
    "pyramidal, 15": [0, 0, 0, 3, 4, 5, 5, 6, 6, 4, 3, 1, 2, 2],
    "Purkinje-like, 19": [0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 10],
    "pyramidal, 29": [0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 9, 10, 11, 12, 13, 13, 14, 14, 15, 15, 11, 12, 10,
                      9, 16, 17, 18, 19],
}  # fmt: skip


def test_random_trees() -> None:
    """200 seeded trees of 2 to 40 compartments: the judge agrees with every placement."""
    for parents in random_trees(200):
        neuron = tree(parents)
        placement = place(neuron)  # a Refusal would fail the test: none of these needs one
        assert legal(placement.circuits, edges(neuron))
        assert not wiring_violations(placement.circuits, edges(neuron))
        assert placement.columns <= 128


@pytest.mark.parametrize("name", NAMED)
def test_named_trees(name) -> None:
    neuron = tree(NAMED[name])
    assert legal(place(neuron).circuits, edges(neuron))


def test_more_circuits() -> None:
    """Compartments that need several circuits for their synapses get them, on seeded trees."""
    rng = np.random.default_rng(0)
    for parents in random_trees(30):
        neuron = tree(parents[:20])
        needs = {name: int(rng.integers(1, 4)) for name in neuron.names}
        placement = place(neuron, needs)
        assert legal(placement.circuits, edges(neuron))
        assert all(len(placement.of(name)) >= number for name, number in needs.items())


@pytest.mark.parametrize(
    ("parents", "reason"),
    [
        ([0] * 130, "131 columns"),
        (list(range(260)), "261 compartments"),
        ([(i - 1) // 2 for i in range(1, 31)], "branches too often"),
    ],
)
def test_refusals(parents, reason) -> None:
    with pytest.raises(Refusal, match=reason):
        place(tree(parents))


@pytest.mark.parametrize("seed", range(3))
def test_judges_agree_on_broken_wiring(seed) -> None:
    """Random single switches flipped: package and judge find the same ones illegal."""
    rng = np.random.default_rng(seed)
    verdicts = []
    for parents in list(random_trees(40))[seed::3]:
        neuron = tree(parents)
        circuits = list(place(neuron).circuits)
        i = int(rng.integers(len(circuits)))
        switch = Circuit._fields[int(rng.integers(3, 8))]
        circuits[i] = circuits[i]._replace(**{switch: not getattr(circuits[i], switch)})
        found = wiring_violations(circuits, edges(neuron))
        assert legal(circuits, edges(neuron)) == (not found)
        verdicts.append(bool(found))
    assert any(verdicts)


SOMA = Circuit(0, 0, "0", connect_soma=True, connect_soma_right=True)
LEFT = Circuit(0, 1, "1", enable_conductance=True, connect_soma_right=True)
LAST = Circuit(0, 2, "2", enable_conductance=True)
WIRINGS = {
    "C1": [c._replace(column=c.column + 126) for c in (SOMA, LEFT, LAST)],
    "C2": [SOMA, LEFT, LAST, Circuit(0, 1, "1")],
    "C3": [SOMA, LEFT, LAST, Circuit(1, 5, "1")],
    "C4": [SOMA._replace(connect_vertical=True), LEFT, LAST],
    "C5": [SOMA._replace(enable_conductance=True), LEFT, LAST],
    "C6": [SOMA._replace(connect_right=True),
           Circuit(0, 1, "0", connect_soma=True, connect_soma_right=True),
           LEFT._replace(column=2), LAST._replace(column=3)],
    "C7": [SOMA, LEFT._replace(connect_right=True), LAST],
    "C8": [SOMA, LEFT, LAST._replace(connect_soma_right=True)],
    "C9": [SOMA, LEFT._replace(connect_soma_right=False), LAST._replace(enable_conductance=False)],
    "C18": [SOMA, LEFT._replace(connect_right=True),
            Circuit(0, 2, "1", enable_conductance=True, connect_soma_right=True),
            LAST._replace(column=3)],
}  # fmt: skip


def lif(t_ref):
    return mc.LIF(5.0, -65.0, -50.0, -70.0, t_ref)


def trains(weight, number=1):
    return [mc.SpikeTrain("0", [1.0], weight) for _ in range(number)]


def constraints(neuron, **kwargs):
    return {v.constraint for v in check(neuron, mapping=MAPPING, **kwargs)}


def test_no_violation() -> None:
    wiring = Placement((SOMA, LEFT, LAST))
    neuron = tree([0, 0], [(lif([1.0]), [0]), (mc.Leak(5.0, -65.0), [1, 2]),
                           (mc.CurrentSynapse(), [0])])  # fmt: skip
    assert (
        constraints(neuron, placement=wiring, inputs=trains(20.0), chip=Chip(), madc=["0", "1"])
        == set()
    )


@pytest.mark.parametrize("constraint", WIRINGS)
def test_wiring_constraint(constraint) -> None:
    """Each of these trips its constraint and no other; the judge finds all of them illegal."""
    neuron, circuits = tree([0, 0]), WIRINGS[constraint]
    assert constraints(neuron, placement=Placement(tuple(circuits))) == {constraint}
    assert not legal(circuits, edges(neuron))


@pytest.mark.parametrize(
    ("constraint", "neuron", "kwargs"),
    [
        ("C10", lambda: tree([0] * 130), {}),
        ("C11", lambda: tree([0, 0]), {"inputs": lambda: trains(20.0, 257),
                                       "placement": lambda: Placement((SOMA, LEFT, LAST))}),
        ("C12", lambda: tree([0]).set({"0.c_m": 200.0}), {}),
        ("C13", lambda: tree([0]).set({"0.Leak.g_leak": 1.0}), {}),
        ("C13", lambda: tree([0]).set({"0-1": 0.5}), {}),
        ("C13", lambda: tree([0]).set({"0.Leak.v_leak": -80.0}), {}),
        ("C14", lambda: tree([0]), {"chip": lambda: {"0": Chip(), "1": Chip(i_synin_gm_E=400)}}),
        ("C15", lambda: tree([0, 0], [lif([0.1, 3.0, 30.0])]), {}),
        ("C16", lambda: tree([0]), {"inputs": lambda: trains(30.0)}),
        ("C16", lambda: tree([0]), {"inputs": lambda: trains(-1280.0)}),
        ("C17", lambda: tree([0, 0]), {"madc": lambda: ["0", "2"]}),
        ("C17", lambda: tree([0, 0]), {"madc": lambda: ["0", "1", "2"]}),
        ("input", lambda: tree([0]), {"inputs": lambda: [mc.StepCurrent("0", 1.0)]}),
        ("mechanism", lambda: tree([0], [mc.Leak(5.0, -65.0), lif(1.0)]), {}),
    ],
)  # fmt: skip
def test_constraint(constraint, neuron, kwargs) -> None:
    """Each of these trips its constraint and no other."""
    assert constraints(neuron(), **{k: make() for k, make in kwargs.items()}) == {constraint}


def test_violations_say_what_to_do() -> None:
    (one,) = check(tree([0]).set({"0.c_m": 200.0}), mapping=MAPPING)
    assert str(one) == ("C12 '0': c_m is 100 LSB; allowed: 1 to 63 LSB (2.2 pF on the chip). "
                        "Change c_m, or the mapping's pF_per_lsb.")  # fmt: skip
    with pytest.raises(ValueError, match="population"):
        check(tree([0]).set({"0.c_m": jnp.array([100.0, 90.0])}))


def test_picture() -> None:
    matplotlib.use("Agg")
    figure = place(tree(NAMED["pyramidal, 15"])).draw()
    labels = {text.get_text() for text in figure.axes[0].texts}
    assert {str(i) for i in range(15)} <= labels
