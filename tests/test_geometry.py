"""Compartments from geometry, and what a passive tree says of itself.

The three published models of Dendrify (Pagkalos, Chavlis and Poirazi, Nat. Commun. 14:131, 2023) are
judged against the figures that Dendrify itself gives for them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsnn_mc as mc
from jaxsnn_mc import passive, units
from jaxsnn_mc.geometry import Cylinder, half_cylinders

Shapes = dict[str, tuple[float, float]]

ONE: Shapes = {"soma": (25, 25), "apical": (250, 2), "basal": (150, 2)}
TWO: Shapes = {"soma": (25, 25), "trunk": (100, 2.5), "prox": (100, 1), "dist": (100, 0.5)}
CA1: Shapes = {
    "soma": (30, 20), "prox": (100, 2), "ob1": (100, 1), "ob2": (100, 1), "med": (150, 1.25),
    "dist1": (150, 0.8), "dist2": (150, 0.8), "bas1": (150, 0.8), "bas2": (150, 0.8),
}  # fmt: skip


def cylinders(shapes: Shapes, leak: float, scale: float, resistivity: float) -> dict[str, Cylinder]:
    """The published compartments: dendrites have spines, the soma has none."""
    return {
        name: Cylinder(
            length, diameter, leak, axial_resistivity=resistivity, scale_factor=scale,
            spine_factor=1.0 if name == "soma" else 1.5,
        )
        for name, (length, diameter) in shapes.items()
    }  # fmt: skip


def passive_neuron(parts: dict[str, Cylinder], couplings: list, v_leak: float = -70.0) -> mc.Neuron:
    return mc.Neuron(
        {n: mc.Compartment(c.c_m, [mc.Leak(c.g_leak, v_leak)]) for n, c in parts.items()}, couplings
    )


def ca1() -> tuple[dict[str, Cylinder], mc.Neuron]:
    c = cylinders(CA1, 40.0, 2.9, 120.0)
    halves = [("prox", "ob1"), ("prox", "ob2"), ("prox", "med"), ("med", "dist1"), ("med", "dist2")]
    couplings = [("soma", "prox", 22.0), ("soma", "bas1", 3.8), ("soma", "bas2", 3.8)]
    couplings += [(a, b, half_cylinders(c[a], c[b])) for a, b in halves]
    return c, passive_neuron(c, couplings, -65.0)


def one_and_two(k: int) -> tuple[dict[str, Cylinder], mc.Neuron]:
    if k == 1:
        c = cylinders(ONE, 50.0, 3.0, 150.0)
        return c, passive_neuron(c, [("soma", "apical", 10.0), ("soma", "basal", 10.0)])
    c = cylinders(TWO, 40.0, 2.8, 150.0)
    return c, passive_neuron(
        c, [("soma", "trunk", 15.0), ("trunk", "prox", 10.0), ("prox", "dist", 4.0)]
    )


@pytest.mark.parametrize(
    ("model", "c_m", "g_leak"),
    [
        (one_and_two(1), [58.905, 70.686, 42.412], [2.9452, 3.5343, 2.1206]),
        (one_and_two(2), [54.978, 32.987, 13.195, 6.597], [2.1991, 1.3195, 0.5278, 0.2639]),
        (ca1(), [54.664, 27.332, *[13.666] * 2, 25.624, *[16.399] * 4],
         [2.1865, 1.0933, *[0.5466] * 2, 1.0249, *[0.6560] * 4]),
    ],
    ids=["1", "2", "ca1"],
)  # fmt: skip
def test_published_compartments(model, c_m: list, g_leak: list) -> None:
    """Judged against Dendrify's capacitances and leaks, to their last digit."""
    _, neuron = model
    np.testing.assert_allclose(neuron.c_m, c_m, atol=5.1e-4)
    leaks = [neuron.get(f"{name}.Leak.g_leak") for name in neuron.names]
    np.testing.assert_allclose(leaks, g_leak, atol=5.1e-5)


def test_published_couplings() -> None:
    """Judged against Dendrify's half-cylinder couplings and dSpike conductances of the CA1 cell."""
    c, neuron = ca1()
    want = {"prox-ob1": 10.4720, "prox-ob2": 10.4720, "prox-med": 10.8182, "med-dist1": 3.9622}
    for path, g in want.items():
        assert float(neuron.get(path)) == pytest.approx(g, abs=5.1e-5)
    dspike = {"prox": 62.832, "ob1": 31.416, "med": 58.905, "dist1": 37.699}
    for name, g in dspike.items():
        got = 10.0 * units.mS_PER_CM2 * c[name].lateral_area
        assert float(got) == pytest.approx(g, abs=5.1e-4)


@pytest.mark.parametrize(
    ("k", "r_in", "taus"),
    [
        (1, [136.871, 148.607, 175.672], [20.0, 4.307, 1.711]),
        (2, [250.37, 252.72, 310.46, 507.75], [25.0, 2.738, 1.188, 0.621]),
    ],
)
def test_published_passive_figures(k: int, r_in: list, taus: list) -> None:
    """Judged against Dendrify's input resistances and time constants, to their last digit."""
    _, neuron = one_and_two(k)
    np.testing.assert_allclose(passive.input_resistances(neuron), r_in, atol=5.1e-3)
    np.testing.assert_allclose(passive.time_constants(neuron), taus, atol=5.1e-4)


def test_published_attenuation_and_ca1() -> None:
    """Judged against Dendrify's transfer to the soma (model 2) and passive limits (CA1)."""
    _, two = one_and_two(2)
    to_soma = passive.attenuations(two)[:, 0]
    np.testing.assert_allclose(to_soma[1:], [0.872, 0.659, 0.378], atol=5.1e-4)
    _, neuron = ca1()
    assert float(passive.input_resistances(neuron)[0]) == pytest.approx(150.67, abs=5e-3)
    assert float(passive.time_constants(neuron)[0]) == pytest.approx(25.0, rel=1e-12)


def random_tree(rng: np.random.Generator, n: int) -> tuple[mc.Neuron, np.ndarray]:
    """A passive tree whose couplings span six decades, and its dense G."""
    parent = [int(rng.integers(0, i)) for i in range(1, n)]
    g = 10.0 ** rng.uniform(-2, 4, n - 1)
    g_leak, c_m = 10.0 ** rng.uniform(-1, 1, n), rng.uniform(5, 50, n)
    matrix = np.diag(g_leak)
    for k, p in enumerate(parent):
        matrix[[k + 1, p], [k + 1, p]] += g[k]
        matrix[[k + 1, p], [p, k + 1]] -= g[k]
    couplings = [(p, k + 1) for k, p in enumerate(parent)]
    return mc.Neuron.from_arrays(c_m, couplings, g, [mc.Leak(g_leak, -65.0)]), matrix


@pytest.mark.parametrize("n", [1, 7, 300])
def test_passive_against_dense(n: int) -> None:
    """Judged against NumPy's dense inverse and eigenvalues of C^-1 G."""
    neuron, matrix = random_tree(np.random.default_rng(n), n)
    inverse = 1e3 * np.linalg.inv(matrix)
    np.testing.assert_allclose(passive.resistances(neuron), inverse, rtol=1e-7)
    np.testing.assert_allclose(passive.input_resistances(neuron), np.diag(inverse), rtol=1e-7)
    modes = np.sort(1.0 / np.linalg.eigvals(matrix / np.asarray(neuron.c_m)[:, None]).real)[::-1]
    np.testing.assert_allclose(passive.time_constants(neuron), modes, rtol=1e-6, atol=1e-9)
    along = -np.log(inverse[:, 0] / np.diag(inverse))
    got = passive.electrotonic_distances(neuron, "0")
    np.testing.assert_allclose(got, along, rtol=1e-6, atol=1e-8)


def test_sealed_cable() -> None:
    """Judged against cable theory: a sealed cable of length L = l / lambda has the input resistance
    R_inf coth(L) at its end, and attenuates by 1 / cosh(L) towards it."""
    n = 400
    one = Cylinder(1000.0 / n, 2.0, 50.0, axial_resistivity=150.0)
    whole = Cylinder(1000.0, 2.0, 50.0, axial_resistivity=150.0)
    g = half_cylinders(one, one)
    assert float(g) == pytest.approx(float(one.axial_conductance))
    chain = [(i, i + 1) for i in range(n - 1)]
    neuron = mc.Neuron.from_arrays([float(one.c_m)] * n, chain, g, [mc.Leak(one.g_leak, -65.0)])
    length = float(whole.electrotonic_length)
    lam = 1e4 * np.sqrt(2e-4 / (4.0 * 50e-6 * 150.0))  # um: sqrt(d R_m / (4 R_i))
    assert length == pytest.approx(1000.0 / lam, rel=1e-12)
    infinite = float(whole.axial_resistance) / length  # MOhm: r_i lambda
    end = float(passive.input_resistances(neuron)[0]) + float(one.axial_resistance) / 2
    assert end == pytest.approx(infinite / np.tanh(length), rel=1e-4)
    from_the_end = float(passive.attenuations(neuron)[0, -1])
    assert from_the_end == pytest.approx(1.0 / np.cosh(length), rel=2e-3)
    assert float(whole.time_constant) == pytest.approx(20.0, rel=1e-12)


def test_populations_and_gradients() -> None:
    """Judged against one neuron at a time, and against central differences."""
    _, neuron = one_and_two(2)
    leaks = jnp.array([0.2, 0.3])
    many = neuron.set({"dist.Leak.g_leak": leaks})

    def measures(g):
        one = neuron.set({"dist.Leak.g_leak": g})
        return passive.input_resistances(one)[0], passive.time_constants(one)[1]

    for k, g in enumerate(leaks):
        r, tau = measures(g)
        assert float(passive.input_resistances(many)[k, 0]) == pytest.approx(float(r))
        assert float(passive.time_constants(many)[k, 1]) == pytest.approx(float(tau))
    for i in range(2):
        slope = jax.grad(lambda g, i=i: measures(g)[i])(0.25)
        central = (float(measures(0.251)[i]) - float(measures(0.249)[i])) / 0.002
        assert float(slope) == pytest.approx(central, rel=1e-4)


def test_geometry_is_differentiable() -> None:
    """Judged against the closed form: g by half-cylinders goes as diameter squared."""

    def coupling(d):
        c = Cylinder(100.0, d, 40.0, axial_resistivity=150.0)
        return half_cylinders(c, c)

    assert float(jax.grad(coupling)(2.0)) == pytest.approx(float(coupling(2.0)), rel=1e-12)


def test_active_slopes() -> None:
    """Judged against the slope of the AdEx current at rest, leak minus exponential."""
    adex = mc.AdEx(g_leak=10.0, v_leak=-65.0, v_exp=-60.0, delta_T=2.0)
    neuron = mc.Neuron({"soma": mc.Compartment(100.0, [adex])})
    slope = 10.0 * (1.0 - np.exp(-2.5))
    assert float(passive.input_resistances(neuron)[0]) == pytest.approx(1e3 / slope, rel=1e-12)
