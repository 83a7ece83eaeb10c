"""Ranges, mapping and quantisation for BrainScaleS-2, judged by arithmetic on the settings in NumPy."""

import dataclasses
import math
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxsnn_mc as mc
from jaxsnn_mc import bss2
from jaxsnn_mc.bss2.grid import Grid

MAPPING = bss2.Mapping(mV_per_lsb=0.25, v_zero=355, pF_per_lsb=2.0, pA_per_lsb=20.0)


def neuron(dtype=None, **soma) -> mc.Neuron:
    adex = mc.AdEx(**{"g_leak": 10.0, "v_exp": -55.0, "delta_T": 3.0, "t_ref": 5.0, **soma})
    synapse = mc.CurrentSynapse(tau_syn=5.0)
    one = mc.Neuron(
        {"soma": mc.Compartment(120.0, [adex, synapse]),
         "dend": mc.Compartment(60.0, [mc.Leak(8.0, -65.0)])},
        [("soma", "dend", 30.0)],
    )  # fmt: skip
    return one if dtype is None else jax.tree.map(lambda x: x.astype(dtype), one)


def settings_of(path: str, x: np.ndarray, c_m: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """The value in LSB (of its finest range, or of its logarithm), written from BSS2's table alone."""
    full, name = 63 * 2.0, path.rsplit(".", 1)[-1]
    match name:
        case "c_m":
            return x / 2.0, 63, True
        case "v_leak" | "v_reset" | "v_th" | "v_init":
            top = {"v_th": 220, "v_init": 255}.get(name, 160)
            return x / 0.25 + 355, top, True
        case "g_leak":
            return x / (full / 0.5 / (1022 * 8) / 8), 1022 * 64, False
        case "soma-dend":
            return x / (full / 0.1 / (1022 * 4) / 4), 1022 * 16, False
        case "t_ref":
            return x / 0.008, 254 * 2**15, False
        case "tau_syn":
            return np.log(x / 0.3) / (math.log(100.0) / 1022), 1022, True
        case "tau_w":
            return np.log(x) / (math.log(1000.0) / 1022), 1022, True
        case "v_exp":
            return 70 + (x / 0.25 + 355 - 20) * 2.4, 1022, True
        case "delta_T":
            return x / (0.05 * 0.25), 1022, True
        case "a":
            return x / (full / 0.5 / (1022 * 8)), 1022, True
    return x / (full / 0.5 / (1022 * 8) * 40 * 0.25), 1022, True


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("number", [10_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_many_neurons(dtype, number) -> None:
    """Many random neurons: settings are whole and in range, quantising twice changes no bit, and
    what is not clipped is off by half a step at most."""
    one = neuron(dtype)
    keys = iter(jax.random.split(jax.random.key(0), 100))
    many = jax.tree.map(
        lambda x: x * jax.random.uniform(next(keys), (number, *x.shape), dtype, 0.3, 1.6), one
    )
    quantize = jax.jit(lambda n: bss2.quantize(n, MAPPING))
    once = quantize(many)
    for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(quantize(once)), strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, b)
    slack = {"float64": 1e-9, "float32": 4e-3}[dtype]
    for entry in bss2.report(one, mapping=MAPPING).entries:
        x, q = (np.asarray(n.get(entry.path), np.float64) for n in (many, once))
        c_m = np.asarray(
            once.get(("dend" if "-" in entry.path else entry.path.split(".")[0]) + ".c_m")
        )
        lsb, top, uniform = settings_of(entry.path, q, c_m)
        if "g_leak" in entry.path or "-" in entry.path:
            low, high = (0.5, 60.0) if "g_leak" in entry.path else (0.1, 30.0)
            assert np.all((c_m / q >= low * (1 - 1e-6)) & (c_m / q <= high * (1 + 1e-6)))
        ratio, codes = (2, 254) if "t_ref" in entry.path else (4 if "-" in entry.path else 8, 1022)

        def spacing(n, ratio=ratio, codes=codes, uniform=uniform):
            """That of the finest range that reaches n."""
            over = np.log(np.maximum(n / (codes + slack), 1)) / np.log(ratio)
            return 1.0 if uniform else ratio ** np.ceil(over - 1e-12)

        codes = lsb / spacing(lsb)
        np.testing.assert_allclose(codes, np.round(codes), atol=slack)
        assert np.all(np.abs(lsb) <= top + slack)
        wanted, _, _ = settings_of(entry.path, x, c_m)
        step = spacing(np.maximum(lsb, wanted)) * np.ones_like(lsb)
        inside = (q != q.min()) & (q != q.max())
        if "g_leak" not in entry.path and "-" not in entry.path:
            inside |= np.abs(wanted - lsb) <= 0.5
        else:
            inside &= (c_m / x > low * 1.1) & (c_m / x < high / 1.1)
        off = np.abs(wanted - lsb)[inside] / step[inside]
        assert inside.mean() > 0.1
        assert off.max() <= 0.5 + 2 * slack, (
            entry.path,
            x[inside][off.argmax()],
            q[inside][off.argmax()],
        )


def test_weights() -> None:
    """Half a step at most, 63 LSB at most, of either sign."""
    w = jax.random.uniform(jax.random.key(1), (100_000,), minval=-1500.0, maxval=1500.0)
    train = mc.SpikeTrain("soma", jnp.zeros(100_000), w)
    with pytest.warns(RuntimeWarning, match="saturate"):
        (once,) = bss2.quantize_inputs([train], MAPPING)
    (twice,) = bss2.quantize_inputs([once], MAPPING)
    np.testing.assert_array_equal(once.weights, twice.weights)
    np.testing.assert_array_equal(once.weights, np.clip(np.round(w / 20.0), -63, 63) * 20.0)


def test_chosen_mapping_finds_its_own_values() -> None:
    """Quantising twice without a mapping, which is chosen each time, changes no bit."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        v = rng.uniform(-80, -60, 2)
        one = neuron(
            v_leak=v[0], v_reset=v[1], v_th=rng.uniform(-55, -30), g_leak=rng.uniform(5, 20)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            once = bss2.quantize(one)
            twice = bss2.quantize(once)
        for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(twice), strict=True):
            np.testing.assert_array_equal(a, b)


def test_mapping() -> None:
    """Judged against numbers worked out by hand, and each way and back."""
    one, trains = neuron(), [mc.SpikeTrain("soma", [1.0], -1000.0)]
    mapping = bss2.Mapping.of(one, trains)
    assert mapping == bss2.Mapping(
        0.25, 355, 2.0, 20.0
    )  # all potentials and capacitances lie on it
    np.testing.assert_allclose(mapping.millivolts(mapping.cadc(-61.3)), -61.3)
    np.testing.assert_allclose(mapping.milliseconds(mapping.seconds(7.0)), 7.0)
    assert mapping.seconds(10.0) == pytest.approx(10e-6)
    assert mapping.volts(-65.0) == pytest.approx(0.15 + (95 - 20) * 4.5e-3)
    assert mapping.farads(126.0) == pytest.approx(2.2e-12)
    assert mapping.tau(120.0, 10.0) == pytest.approx(12e-6)
    assert mapping.siemens(10.0) == pytest.approx(mapping.farads(120.0) / 12e-6)
    assert dataclasses.replace(mapping, mV_per_lsb=0.5).cadc(-65.0) == 225
    with pytest.raises(ValueError, match="choose it before"):
        jax.jit(bss2.quantize)(one)
    with pytest.raises(ValueError, match="must be positive"):
        bss2.Mapping(0.0, 1, 1.0)


def test_report() -> None:
    """What is clipped, by how much; the error; the settings of the paper's neuron."""
    report = bss2.report(neuron(v_leak=-80.0, t_ref=0.0), mapping=MAPPING)
    clipped = {entry.path: entry.clipped for entry in report.clipped}
    assert clipped.keys() == {"soma.AdEx.v_leak", "soma.v_init", "soma.AdEx.t_ref"} - {
        "soma.v_init"
    }
    assert clipped["soma.AdEx.v_leak"] == pytest.approx(-80.0 - (-76.25))
    assert clipped["soma.AdEx.t_ref"] == pytest.approx(-0.04)
    entry = report["soma.AdEx.v_exp"]
    assert (entry.lsb, entry.verified, entry.error) == (346, "[U]", 0.0)
    assert "clipped by -3.75" in str(report)
    with pytest.raises(ValueError, match="population"):
        bss2.report(neuron().set({"soma.c_m": jnp.ones(2)}))
    with pytest.warns(RuntimeWarning, match=r"soma\.AdEx\.t_ref"):
        bss2.quantize(neuron(t_ref=0.0), MAPPING)


def test_straight_through() -> None:
    """The derivative of a quantised number by itself is 1, also where it is clipped."""
    for path, value in (("soma.c_m", 77.3), ("soma.AdEx.b", 33.3), ("soma.AdEx.v_th", 10.0)):
        run = lambda x, path=path: bss2.quantize(neuron().set({path: x}), MAPPING).get(path)  # noqa: E731
        assert jax.grad(run)(value) == 1.0
        batched = jax.vmap(run)(jnp.array([value, value]))
        np.testing.assert_array_equal(batched, jnp.stack([jax.jit(run)(value)] * 2))


def test_smooth() -> None:
    """The smooth staircase has the derivative that it shows; it ends as the steps."""
    grid = Grid(2.0, (1, 63))
    x = jnp.array([3.3, 50.7, 97.9])
    check_grads(lambda y: grid.snap(y, 4.0), (x,), order=1, modes=["fwd", "rev"])
    np.testing.assert_allclose(grid.snap(x, 1e-3), x, atol=1e-5)
    np.testing.assert_allclose(grid.snap(x, 200.0), grid.snap(x), atol=1e-6)


def test_in_fit() -> None:
    """Trained for the chip by `project`: the capacitance ends within a step of what the chip needs."""
    target = 77.0  # between 76 and 78

    def loss(n):
        return (n.c_m[0] - target) ** 2

    result = mc.fit(neuron(), loss, ["soma.c_m"], optimizer=optax.adam(2.0), steps=60,
                    project=lambda n: bss2.quantize(n, MAPPING), progress=False)  # fmt: skip
    assert result.best_loss == 1.0
    assert bss2.quantize(result.best, MAPPING).get("soma.c_m") in (76.0, 78.0)


def test_refused() -> None:
    class Other(mc.Leak):
        pass

    with pytest.raises(ValueError, match="has no Other"):
        bss2.quantize(mc.Neuron({"soma": mc.Compartment(100.0, [Other(5.0, -65.0)])}))
    for options, what in (({"frozen": False}, "frozen=False"),
                          ({"v_spike": 20.0, "spike_width": 1.0}, "v_spike")):  # fmt: skip
        lif = mc.LIF(g_leak=5.0, v_leak=-65.0, t_ref=2.0, **options)
        with pytest.raises(ValueError, match=f"has no LIF with {what}"):
            bss2.quantize(mc.Neuron({"soma": mc.Compartment(100.0, [lif])}))


def test_table() -> None:
    """The Markdown beside the table is the one that it gives; what is unverified is marked."""
    text = (Path(bss2.__file__).parent / "ranges.md").read_text()
    assert text.endswith(bss2.markdown())
    assert all(
        bss2.RANGES[key].verified == "[U]" for key in ("v_exp", "delta_T", "tau_w", "a", "b")
    )
    assert bss2.RANGES["tau_mem"].biological == (0.5, 60.0)
