"""Compartments without capacitance: branch points, whose currents add up to zero."""

import jax
import numpy as np
import pytest
from helpers import METHODS, splitting
from scipy.linalg import expm

import jaxsnn_mc as mc

C = np.array([100.0, 60.0, 30.0, 80.0])
G_LEAK = np.array([10.0, 3.0, 2.0, 5.0])
STAR = np.array([20.0, 7.0, 4.0])  # nS, of compartments 0 to 2 to the branch point, which is 4
EDGE = 6.0  # between compartments 2 and 3
V_LEAK, CURRENT = -65.0, 150.0


def passive(copies: int = 1) -> mc.Neuron:
    """Three compartments at a branch point, with a chain of `copies` compartments behind."""
    more = copies - 1
    pairs = [(0, 4), (1, 4), (2, 4), (2, 3), *((4 + k if k else 3, 5 + k) for k in range(more))]
    held = [i for i in range(5 + more) if i != 4]
    leak = mc.Leak(np.append(G_LEAK, np.full(more, 1.0)), V_LEAK)
    c_m = np.concatenate([C, [0.0], np.full(more, 10.0)])
    g = np.concatenate([STAR, [EDGE], np.full(more, 2.0)])
    return mc.Neuron.from_arrays(c_m, pairs, g, [(leak, held)], V_LEAK)


def exact(neuron: mc.Neuron, t: float) -> np.ndarray:
    """Voltages (mV) after `t` (ms) of a current into compartment 0: the branch point eliminated by a
    Schur complement, then a matrix exponential."""
    n = len(neuron.c_m)
    laplacian = np.zeros((n, n))
    for k, g in enumerate(np.asarray(neuron.g)):
        i, j = (neuron.tree.index(name) for name in neuron.tree.ends(k))
        laplacian[[i, j, i, j], [i, j, j, i]] += [g, g, -g, -g]
    there = np.arange(n) != 4
    a = laplacian + np.diag(np.insert(np.asarray(neuron.mechanisms[0].g_leak), 4, 0.0))
    up, row = a[np.ix_(there, [4])], a[4, there]
    reduced = a[np.ix_(there, there)] - up @ row[None] / a[4, 4]
    c_m = np.asarray(neuron.c_m)[there]
    drive = np.zeros(n - 1)
    drive[0] = CURRENT
    matrix = np.zeros((n, n))
    matrix[:-1, :-1], matrix[:-1, -1] = -reduced / c_m[:, None], drive / c_m
    v = (expm(matrix * t) @ np.append(np.zeros(n - 1), 1.0))[:-1]
    return V_LEAK + np.insert(v, 4, -row @ v / a[4, 4])


@pytest.mark.parametrize("copies", [1, 40], ids=["unrolled", "looped"])
@pytest.mark.parametrize("method", METHODS, ids=["euler", "splitting"])
def test_passive_star(method: mc.StepMethod, copies: int) -> None:
    """Judged against the matrix exponential: errors fall at the method's order."""
    neuron, there = passive(copies), np.arange(4 + copies) != 4
    true = exact(neuron, 10.0)
    errors = []
    for dt in (0.1, 0.05):
        s = mc.simulate(
            neuron, [mc.StepCurrent("0", CURRENT)], t_max=10.0, dt=dt, method=method, record=()
        )
        error = np.abs(np.asarray(s.state.v) - true)
        errors.append((error[there].max(), error[4]))
    order = 2 if method is splitting else 1
    (first, _), (second, point) = errors
    assert 0.9 * 2**order <= first / second <= 1.1 * 2**order
    assert second < (1e-4 if method is splitting else 0.02)
    assert point < 0.05  # with the splitting half a step behind


def test_splitting_does_not_ring() -> None:
    """Judged against Kirchhoff's law: a branch point lies between its neighbours also in the steps
    after a reset, half a step behind at most."""
    soma = mc.Compartment(100.0, [mc.LIF(10.0, V_LEAK, t_ref=2.0)])
    leaf = mc.Compartment(20.0, [mc.Leak(2.0, V_LEAK)])
    neuron = mc.Neuron(
        {"soma": soma, "a": leaf, "b": leaf, "point": mc.Compartment(0.0, v_init=V_LEAK)},
        [("soma", "point", 10.0), ("point", "a", 5.0), ("point", "b", 3.0)],
    )
    s = mc.simulate(neuron, [mc.StepCurrent("soma", 400.0)], t_max=50.0, dt=0.05, method=splitting)
    assert np.asarray(s.counts).sum() > 3
    v = {name: np.asarray(s[name]) for name in neuron.names}
    middle = (10.0 * v["soma"] + 5.0 * v["a"] + 3.0 * v["b"]) / 18.0
    apart = np.abs(v["point"] - middle)
    quiet = np.abs(np.diff(v["soma"], prepend=V_LEAK)) < 1.0
    assert apart[quiet].max() < 0.3


def test_gradient() -> None:
    """Judged against central differences of the matrix exponential, by all couplings."""

    def end(g):
        neuron = mc.Neuron.from_arrays(
            passive().c_m, [(0, 4), (1, 4), (2, 4), (2, 3)], g, [(leak, range(4))], V_LEAK
        )
        run = mc.simulate(
            neuron, [mc.StepCurrent("0", CURRENT)], t_max=10.0, dt=0.05, method=splitting, record=()
        )
        return run.state.v[3]

    leak = mc.Leak(G_LEAK, V_LEAK)
    g = np.append(STAR, EDGE)
    ours = np.asarray(jax.grad(end)(g))
    for k in range(4):
        sides = []
        for h in (1e-4, -1e-4):
            changed = g.copy()
            changed[k] += h
            neuron = passive()
            object.__setattr__(neuron, "g", jax.numpy.asarray(changed))
            sides.append(exact(neuron, 10.0)[3])
        assert ours[k] == pytest.approx((sides[0] - sides[1]) / 2e-4, rel=2e-3)


@pytest.mark.parametrize(
    "build",
    [
        lambda: mc.Neuron({"soma": mc.Compartment(0.0, v_init=V_LEAK)}),
        lambda: mc.Neuron.from_arrays([1.0, 0.0], [(0, 1)], 1.0, [mc.Leak(1.0, V_LEAK)]),
        lambda: mc.Neuron.from_arrays(
            [1.0, 0.0, 0.0], [(0, 1), (1, 2)], 1.0, [(mc.Leak(1.0, V_LEAK), [0])]
        ),
        lambda: mc.Neuron.from_arrays([1.0, 0.0], [(0, 1)], 0.0, [(mc.Leak(1.0, V_LEAK), [0])]),
    ],
    ids=["alone", "with a mechanism", "beside another", "not coupled"],
)
def test_refused(build) -> None:
    """Judged against the table: where it would have no voltage, or a mechanism."""
    with pytest.raises(ValueError, match=r"c_m of .* must be above 0 \(pF\), got 0"):
        build()
