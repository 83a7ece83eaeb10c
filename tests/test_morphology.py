"""Morphologies from SWC files, whole and reduced, judged against cable theory and dense solves."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import jaxsnn_mc as mc
from jaxsnn_mc import passive
from jaxsnn_mc.morphology import Segments

LEAK, RESISTIVITY = 40.0, 150.0  # uS/cm2, ohm cm
Row = Sequence[float]


def write(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("\n".join(" ".join(f"{x:g}" for x in row) for row in rows) + "\n")
    return path


def neuron(cell: Segments) -> mc.Neuron:
    return mc.Neuron.from_arrays(
        **cell.arrays(axial_resistivity=RESISTIVITY),
        mechanisms=[mc.Leak(cell.conductance(LEAK), -65.0)],
    )


def soma_resistance(cell: Segments) -> float:
    return float(passive.input_resistances(neuron(cell))[0])


def infinite(diameter: float) -> tuple[float, float]:
    """The length constant (um) and the input conductance (nS) of a half-infinite cylinder."""
    lam = 1e4 * math.sqrt(1e-4 * diameter / (4.0 * LEAK * 1e-6 * RESISTIVITY))
    return lam, math.pi * diameter * lam * LEAK * 1e-5


SOMA = (1, 1, 0, 0, 0, 8, -1)
SOMA_LEAK = 4 * math.pi * 64 * LEAK * 1e-5


def rall(path: Path) -> tuple[Path, float]:
    """A soma with a cylinder that divides in two by Rall's 3/2 law, 0.4 length constants each; its
    exact input resistance, that of a sealed cylinder of 0.8 beside the soma."""
    d, child = 2.0, 2.0 / 2 ** (2 / 3)
    fork = 8.0 + 0.4 * infinite(d)[0]
    tip = 0.4 * infinite(child)[0]
    rows = [SOMA, (2, 4, 8, 0, 0, d / 2, 1), (3, 4, fork, 0, 0, d / 2, 2)]
    for side in (-1, 1):  # both start at the fork, with their own diameter
        k = len(rows) + 1
        rows.append((k, 4, fork, side * 1e-4, 0, child / 2, 3))
        rows.append((k + 1, 4, fork, side * tip, 0, child / 2, k))
    return write(path, rows), 1e3 / (SOMA_LEAK + infinite(d)[1] * math.tanh(0.8))


def random_rows(seed: int) -> list[tuple]:
    """A random asymmetric cell with one apical and three basal stems, tapered, densely sampled."""
    rng = np.random.default_rng(seed)
    rows: list[tuple] = [SOMA]

    def grow(kind, at, direction, d, left, parent):
        length = min(left, rng.uniform(0.15, 0.45) * left + 20)
        n = max(2, int(length / 8))
        for k in range(n):
            direction = direction + 0.15 * rng.normal(size=3)
            direction = direction / np.linalg.norm(direction)
            at = at + direction * length / n
            rows.append(
                (len(rows) + 1, kind, *at, max(0.3, d * (1 - 0.25 * (k + 1) / n)) / 2, parent)
            )
            parent = len(rows)
        if left - length > 25:
            part = rng.uniform(0.5, 0.9)
            for share in (part, 1 - 0.6 * part):
                turned = direction + 0.5 * rng.normal(size=3)
                rest = (left - length) * rng.uniform(0.6, 1.0)
                grow(kind, at, turned, max(0.3, d * share), rest, parent)

    for kind, d, length in ((4, 3.0, 900.0), (3, 1.5, 250.0), (3, 1.5, 250.0), (3, 1.2, 300.0)):
        u = rng.normal(size=3)
        u /= np.linalg.norm(u)
        rows.append((len(rows) + 1, kind, *(8 * u), d / 2, 1))
        grow(kind, 8 * u, u, d, length, len(rows))
    return rows


def dense_soma_resistance(rows: Sequence[Row]) -> tuple[float, float]:
    """The area (um2) and the soma's input resistance (MOhm) of a random cell straight from the rows of
    its file: a node at every point, half of each frustum to either end, and a dense solve."""
    n = len(rows)
    g, area = np.zeros((n, n)), np.zeros(n)
    area[0] = 4 * math.pi * rows[0][5] ** 2
    for k in range(1, n):
        p = int(rows[k][6]) - 1
        if p == 0:  # the first point of a stem sits on the soma
            g[[0, k], [0, k]] += 1e9
            g[[0, k], [k, 0]] -= 1e9
            continue
        length = math.dist(rows[k][2:5], rows[p][2:5])
        a, b = rows[k][5], rows[p][5]
        area[[k, p]] += 0.5 * math.pi * (a + b) * math.hypot(length, a - b)
        along = 1e5 * math.pi * a * b / (RESISTIVITY * length)  # nS
        g[[p, k], [p, k]] += along
        g[[p, k], [k, p]] -= along
    g += np.diag(area * LEAK * 1e-5)
    return area.sum(), 1e3 * np.linalg.solve(g, np.eye(n)[0])[0]


@pytest.fixture(scope="module")
def cell(tmp_path_factory) -> tuple[list[tuple], mc.Morphology]:
    rows = random_rows(3)
    path = tmp_path_factory.mktemp("swc") / "cell.swc"
    path.write_text("\n".join(" ".join(map(str, row)) for row in rows) + "\n")
    return rows, mc.read_morphology(path)


def test_sealed_cable(tmp_path: Path) -> None:
    """Judged against the closed form of a soma with a sealed cylinder, G_soma + G_inf tanh(L): of
    second order in the pieces' length."""
    path = write(tmp_path / "a.swc", [SOMA, (2, 3, 8, 0, 0, 1, 1), (3, 3, 908, 0, 0, 1, 2)])
    lam, conductance = infinite(2.0)
    exact = 1e3 / (SOMA_LEAK + conductance * math.tanh(900.0 / lam))
    read = mc.read_morphology(path)
    assert read.soma_area == pytest.approx(4 * math.pi * 64, rel=1e-6)
    errors = [abs(soma_resistance(read.cut(h)) / exact - 1) for h in (90.0, 45.0)]
    assert errors[0] < 1e-2
    assert errors[1] < 0.3 * errors[0]
    fine = read.cut(90.0)
    assert fine.distance[-1] == pytest.approx(900.0)
    assert fine.area.sum() == pytest.approx(read.soma_area + math.pi * 2.0 * 900.0, rel=1e-9)


def test_rall(tmp_path: Path) -> None:
    """Judged against Rall's equivalent cylinder, which both the whole tree and the reduction are."""
    path, exact = rall(tmp_path / "rall.swc")
    read = mc.read_morphology(path)
    whole, reduced = read.cut(10.0), read.reduced(41)
    assert soma_resistance(whole) == pytest.approx(exact, rel=5e-4)
    assert soma_resistance(reduced) == pytest.approx(exact, rel=5e-4)
    assert reduced.area.sum() == pytest.approx(whole.area.sum(), rel=1e-9)
    assert set(reduced.kinds) == {"soma", "apical"}


def test_whole_against_dense(cell) -> None:
    """Judged against a dense solve of the file's rows, written independently."""
    rows, read = cell
    area, resistance = dense_soma_resistance(rows)
    whole = read.cut(5.0)
    assert whole.area.sum() == pytest.approx(area, rel=1e-6)
    assert soma_resistance(whole) == pytest.approx(resistance, rel=1e-3)
    assert soma_resistance(read.cut(50.0)) == pytest.approx(resistance, rel=5e-3)
    assert whole.kinds.count("soma") == 1
    assert set(whole.kinds) == {"soma", "apical", "basal"}
    assert len(set(whole.names)) == len(whole.names)


def test_reduced_against_dense(cell) -> None:
    """Judged against the same: the area to rounding, the input resistance as `reduction` says; and
    against Rayleigh's law, by which short-circuits lower it."""
    rows, read = cell
    area, resistance = dense_soma_resistance(rows)
    for number, error in ((3, 0.1), (5, 0.02), (9, 0.007), (100, 0.012)):
        reduced = read.reduced(number)
        assert len(reduced.names) == number
        assert reduced.area.sum() == pytest.approx(area, rel=1e-6)
        assert soma_resistance(reduced) == pytest.approx(resistance, rel=error)
    assert soma_resistance(read.reduced(100)) < resistance


def test_large_cells_run(cell) -> None:
    """Judged against the coarse cut, which has a twentieth of the compartments: 2,000 compartments
    are stable at steps far above c_m / g, and charge alike."""
    _, read = cell
    traces = []
    for h in (2.0, 40.0):
        run = neuron(read.cut(h))
        step = mc.StepCurrent("soma", 100.0, start=1.0)
        traces.append(mc.simulate(run, [step], t_max=40.0, dt=0.1, record=["soma"])["soma"])
        assert len(run.names) > (1900 if h == 2.0 else 50)
    assert np.all(np.isfinite(traces[0]))
    rise = np.asarray(traces[0]) + 65.0
    assert rise[-1] > 20.0
    np.testing.assert_allclose(np.asarray(traces[1]) + 65.0, rise, atol=5e-3 * rise[-1])


def test_d_lambda(cell) -> None:
    """Judged against the rule's closed form, in cm, s and F, and against the longest piece."""
    rule = mc.d_lambda_rule(axial_resistivity=150.0, specific_capacitance=1.0)
    exact = 0.1 * math.sqrt(2e-4 / (4 * math.pi * 100.0 * 150.0 * 1e-6)) * 1e4
    assert rule(2.0) == pytest.approx(exact, rel=1e-12)
    _, read = cell
    steps = read.cut(rule)
    parents = {b: a for a, b in steps.couplings}
    longest = max(steps.distance[b] - steps.distance[a] for b, a in parents.items())
    assert longest <= rule(3.0) + 1e-9


def test_kinds_spines_and_points(tmp_path: Path) -> None:
    """Judged against the file, row by row: an axon of a single point starts at the soma's centre."""
    rows = [SOMA, (2, 3, 8, 0, 0, 1, 1), (3, 3, 58, 0, 0, 1, 2), (4, 2, 0, -30, 0, 0.5, 1),
            (5, 6, 0, 8, 0, 1, 1), (6, 6, 0, 18, 0, 1, 5)]  # fmt: skip
    cut = mc.read_morphology(write(tmp_path / "b.swc", rows)).cut(25.0)
    assert sorted(cut.names) == ["axon_0", "axon_1", "basal_0", "basal_1", "soma", "type6_0"]
    axon = cut.area[np.array(cut.where("axon"))].sum()
    assert axon == pytest.approx(math.pi * 1.0 * 30.0, rel=1e-6)
    spined = cut.with_spines(2.0)
    basal = np.array(cut.where("basal"))
    np.testing.assert_allclose(spined.area[basal], 2.0 * cut.area[basal])
    assert spined.area.sum() - cut.area.sum() == pytest.approx(cut.area[basal].sum())
    np.testing.assert_allclose(cut.conductance(40.0, "basal"), cut.area[basal] * 4e-4, rtol=1e-6)
    synapse = mc.CurrentSynapse(5.0)
    built = mc.Neuron.from_arrays(
        **cut.arrays(axial_resistivity=150.0),
        mechanisms=[mc.Leak(cut.conductance(40.0), -65.0), (synapse, cut.where("basal"))],
    )
    assert built.find("basal_1", "CurrentSynapse")[1] == 1


def test_without_morphio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged against the docs: the error says what to install."""
    monkeypatch.setitem(sys.modules, "morphio", None)
    with pytest.raises(ImportError, match=r"jaxsnn_mc\[morphology\]"):
        mc.read_morphology("cell.swc")
