"""The tree builder: any numbering of the compartments describes the same neuron."""

import time
from collections.abc import Callable

import numpy as np
import pytest

import jaxsnn_mc as mc
from jaxsnn_mc.tree import build_tree

PARENT = (-1, 0, 1, 1, 0, 4, 5, 4)
NAMES = tuple("abcdefgh")
PAIRS = [(NAMES[p], NAMES[i]) for i, p in enumerate(PARENT) if p >= 0]


def chain(n: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(n - 1)]


def relabelled(seed: int) -> mc.Neuron:
    """The same passive tree; but for seed 0, with all orders and directions shuffled."""
    c_m = dict(zip(NAMES, np.linspace(50.0, 200.0, 8), strict=True))
    g_leak = dict(zip(NAMES, np.linspace(9.0, 2.0, 8), strict=True))
    v_leak = dict(zip(NAMES, np.linspace(-80.0, -50.0, 8), strict=True))
    couplings = [(a, b, 3.0 + 2.0 * k) for k, (a, b) in enumerate(PAIRS)]
    names = list(NAMES)
    if seed:
        rng = np.random.default_rng(seed)
        rng.shuffle(names)
        couplings = [couplings[k] for k in rng.permutation(len(couplings))]
        flip = rng.random(len(couplings)) < 0.5
        couplings = [
            (b, a, g) if f else (a, b, g) for f, (a, b, g) in zip(flip, couplings, strict=True)
        ]
    return mc.Neuron(
        {n: mc.Compartment(c_m[n], [mc.Leak(g_leak[n], v_leak[n])], v_init=-65.0) for n in names},
        couplings,
    )


def voltages(neuron: mc.Neuron) -> dict[str, np.ndarray]:
    solution = mc.simulate(neuron, [mc.StepCurrent("g", 300.0, 1.0, 6.0)], t_max=10.0, dt=0.05)
    return {name: np.asarray(solution[name]) for name in NAMES}


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return voltages(relabelled(0))


@pytest.mark.parametrize("seed", range(1, 6))
def test_any_numbering(seed: int, reference: dict[str, np.ndarray]) -> None:
    """Judged against the tree in its first order: each name's voltage is the same to 1e-12, with
    compartments and couplings in another order and couplings turned round."""
    neuron = relabelled(seed)
    assert neuron.names != NAMES
    assert np.ptp([v[-1] for v in reference.values()]) > 1.0  # the names differ in voltage
    for name, v in voltages(neuron).items():
        np.testing.assert_allclose(v, reference[name], rtol=1e-12, atol=0.0)


def test_numbering_is_parents_first() -> None:
    """Judged against the couplings: every internal parent comes before its child and is the
    compartment that its edge couples it to; names and root are kept."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 10, 100):
        label = [f"c{i}" for i in rng.permutation(n)]
        pairs = [(label[i], label[int(rng.integers(0, i))]) for i in range(1, n)]
        pairs = [pairs[k] for k in rng.permutation(n - 1)]
        root = int(rng.integers(0, n))
        names = [label[i] for i in rng.permutation(n)]
        tree = build_tree(names, pairs, root)
        assert tree.names == tuple(names)
        assert tree.size == n
        assert tree.order[0] == root
        assert tree.parent[0] == tree.edge[0] == -1
        assert sorted(tree.order) == list(range(n))
        assert sorted(tree.edge[1:]) == list(range(n - 1))
        for i in range(1, n):
            assert 0 <= tree.parent[i] < i
            ends = {names[tree.order[i]], names[tree.order[tree.parent[i]]]}
            assert ends == set(pairs[tree.edge[i]])


@pytest.mark.parametrize("at", [0, 2, 5])
@pytest.mark.parametrize("spiking", [mc.AdEx(g_leak=5.0), mc.LIF(5.0, -65.0)])
def test_root_spikes(at: int, spiking: mc.Mechanism) -> None:
    """Judged against the docs: elimination ends at the first spiking compartment."""
    leak = mc.Leak(g_leak=5.0, v_leak=-65.0)
    neuron = mc.Neuron.from_arrays([100.0] * 6, chain(6), 1.0, [leak, (spiking, [at])])
    assert neuron.tree.order[0] == at
    held = [[leak, spiking] if i == at else [leak] for i in range(6)]
    compartments = {str(i): mc.Compartment(100.0, mechanisms) for i, mechanisms in enumerate(held)}
    couplings = [(str(i), str(j), 1.0) for i, j in chain(6)]
    assert mc.Neuron(compartments, couplings).tree == neuron.tree


def test_numbers_stay_with_names() -> None:
    """Judged against what was given: `get` by name, whatever the internal order."""
    neuron = relabelled(3)
    for k, (a, b) in enumerate(PAIRS):
        assert float(neuron.get(f"{a}-{b}")) == float(neuron.get(f"{b}-{a}")) == 3.0 + 2.0 * k
    for name, c_m in zip(NAMES, np.linspace(50.0, 200.0, 8), strict=True):
        assert float(neuron.get(f"{name}.c_m")) == c_m


def test_one_compartment() -> None:
    """Judged against the closed form of backward Euler, v_leak + (v_0 - v_leak) / (1 + h g / C)^k."""
    neuron = mc.Neuron({"only": mc.Compartment(100.0, [mc.Leak(10.0, -70.0)], v_init=-50.0)})
    assert neuron.tree.parent == (-1,)
    v = mc.simulate(neuron, t_max=5.0, dt=0.1)["only"]
    np.testing.assert_allclose(v, -70.0 + 20.0 / 1.01 ** np.arange(51), rtol=1e-13)


def build(n: int, pairs: list[tuple[int, int]]) -> None:
    build_tree([str(i) for i in range(n)], [(str(i), str(j)) for i, j in pairs])


def from_arrays(n: int, pairs: list[tuple[int, int]]) -> None:
    mc.Neuron.from_arrays([100.0] * n, pairs, 1.0, [mc.Leak(5.0, -65.0)])


def from_compartments(n: int, pairs: list[tuple[int, int]]) -> None:
    one = mc.Compartment(100.0, [mc.Leak(5.0, -65.0)])
    mc.Neuron({str(i): one for i in range(n)}, [(str(i), str(j), 1.0) for i, j in pairs])


@pytest.mark.parametrize("make", [build, from_arrays, from_compartments])
def test_large_trees_are_built_fast(make: Callable[[int, list], None]) -> None:
    """Judged against the clock: trees of 2,000 compartments, a chain and a star, within 2 s each."""
    n = 2000
    for pairs in (chain(n), [(0, i) for i in range(1, n)]):
        start = time.perf_counter()
        make(n, pairs)
        assert time.perf_counter() - start < 2.0


def test_large_broken_trees_are_refused_fast() -> None:
    """Judged against the clock: an error in a tree of 2,000 takes no longer than the tree."""
    names = [str(i) for i in range(2000)]
    start = time.perf_counter()
    with pytest.raises(ValueError, match="not connected"):
        build_tree(names, [(names[0], names[1])])
    with pytest.raises(ValueError, match="more than once"):
        build_tree([*names, *names], [])
    assert time.perf_counter() - start < 2.0
