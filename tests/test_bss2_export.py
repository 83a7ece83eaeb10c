"""Files for the BSS-2 software: there and back, the schema, and numbers worked out by hand."""

import json

import jax
import numpy as np
import pytest

import jaxsnn_mc as mc
from jaxsnn_mc import bss2

ROUND = [0, 0, 1]


def neuron(seed: int = 0, dtype=None) -> mc.Neuron:
    """An AdEx soma with a synapse, three leaky dendrites, one of them with a synapse."""
    rng = np.random.default_rng(seed)
    adex = mc.AdEx(rng.uniform(5, 20, 1), -65.0, -55.0, 3.0, 4.0, rng.uniform(50, 150, 1), b=-30.0,
                   v_th=-40.0, v_reset=-70.0, t_ref=5.0)  # fmt: skip
    places = [(adex, [0]), (mc.Leak(rng.uniform(4, 9, 3), -65.0), [1, 2, 3]),
              (mc.CurrentSynapse(5.0), [0, 2])]  # fmt: skip
    couplings = [(p, i + 1) for i, p in enumerate(ROUND)]
    one = mc.Neuron.from_arrays(rng.uniform(50, 120, 4), couplings, rng.uniform(5, 30, 3), places,
                                names=["soma", "left", "right", "tip"])  # fmt: skip
    return one if dtype is None else jax.tree.map(lambda x: x.astype(dtype), one)


def trains(dtype="float64"):
    times = np.array([1.0, 2.0, np.inf])
    given = [
        mc.SpikeTrain("soma", times, [300.0, -200.0, 100.0]),
        mc.SpikeTrain("right", [3.0], 500.0),
    ]
    return jax.tree.map(lambda x: x.astype(dtype), given)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_there_and_back(dtype, tmp_path) -> None:
    """Seeded neurons come back to the bit, with their structure."""
    for seed in range(6):
        one = neuron(seed, dtype)
        written = bss2.export(one, tmp_path / "n.json", trains(dtype))
        read = bss2.load(tmp_path / "n.json")
        assert jax.tree.structure(read) == jax.tree.structure(written)
        for a, b in zip(jax.tree.leaves(read), jax.tree.leaves(written), strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.asarray(a).dtype == np.asarray(b).dtype
        assert read.mapping == bss2.Mapping.of(one, trains(dtype))
        mapping = read.mapping
        for a, b in zip(jax.tree.leaves(bss2.quantize(one, mapping)), jax.tree.leaves(read.neuron),
                        strict=True):  # fmt: skip
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def content(tmp_path):
    bss2.export(neuron(), tmp_path / "n.json", trains())
    return json.loads((tmp_path / "n.json").read_text())


def test_content(content) -> None:
    """Judged against the formats of the BSS-2 software, by hand."""
    mapping = bss2.Mapping(**content["mapping"])
    soma = bss2.quantize(neuron(), mapping)
    new, old = content["calix"][0]["ccalix-2026-05"], content["calix"][0]["flat-pre-2026-05"]
    tau = float(soma.get("soma.c_m") / soma.get("soma.AdEx.g_leak"))  # ms
    assert new["tau_mem"] == pytest.approx(tau * 1e-6)
    assert old["tau_mem"] == pytest.approx(tau)  # us
    assert new["membrane_capacitance"] == round(float(soma.get("soma.c_m")) / mapping.pF_per_lsb)
    assert new["leak"] == round(-65.0 / mapping.mV_per_lsb + mapping.v_zero)
    grenade = content["grenade"]["parameters"]
    icc = float(soma.get("left.c_m") / soma.get("soma-left")) * 1e-6
    assert grenade["connection.soma...left.conductance"] == pytest.approx(icc)
    assert {key.split(".")[1] for key in grenade if key.startswith("tip.")} == {"leak", "cap"}
    first = content["atomic_neuron_overrides"][0]
    assert first["settings"]["threshold_enable"] is True
    assert first["settings"]["adaptation_invert_b"] is True
    marked = {one["key"]: one for one in first["uncalibrated"]}
    assert len(marked) == 5
    assert not any(one["calibrated"] for one in marked.values())
    assert marked["exponential_v_exp"]["model"]["value"] == pytest.approx(-0.055, abs=1e-4)
    weights = [(p["receptor_type"], p["weight"], p["delay"]) for p in content["projections"]]
    codes = [round(w / mapping.pA_per_lsb) for w in (-200.0, 100.0, 300.0, 500.0)]
    assert [w for _, w, _ in weights] == codes
    assert [receptor for receptor, _, _ in weights] == ["inhibitory"] + ["excitatory"] * 3
    labels = {one["label"]: one for one in content["morphology"]["compartments"]}
    assert labels["soma"]["connect_shared_line"] == [0]
    assert all(len(labels[name]["connect_conductance"]) == 1 for name in ("left", "right", "tip"))
    assert any("[U]" in text for text in content["meta"]["unverified"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=2), "version 2"),
        (lambda c: c["chip"].update(i_synin_gm_E=2000), "schema at chip/i_synin_gm_E"),
        (lambda c: c.pop("mapping"), "mapping"),
        (lambda c: c["calix"][0]["ccalix-2026-05"].update(leak=90), "contradicts itself.*calix"),
        (lambda c: c["model"]["c_m"].__setitem__(0, 33.3), "contradicts itself"),
        (lambda c: c["projections"].pop(), "contradicts itself.*projections"),
    ],
)
def test_bad_files(content, change, message, tmp_path) -> None:
    change(content)
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        bss2.load(tmp_path / "bad.json")


def test_no_json(tmp_path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        bss2.load(tmp_path / "bad.json")


def test_refused(tmp_path) -> None:
    """What the chip cannot hold is not written."""
    with pytest.raises(ValueError, match="StepCurrent"):
        bss2.export(neuron(), tmp_path / "n.json", [mc.StepCurrent("soma", 1.0)])
    assert not (tmp_path / "n.json").exists()


def test_script_imports_nothing_here() -> None:
    """The script for the chip is Python, and needs nothing of this package."""
    text = (bss2.export.__globals__["FOLDER"] / "apply_to_chip.txt").read_text()
    compile(text, "apply_to_chip.py", "exec")
    assert "import jaxsnn_mc" not in text
    assert "[U]" in text
