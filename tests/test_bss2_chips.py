"""Emulated chips and training in the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsnn_mc as mc
from jaxsnn_mc import bss2

MAPPING = bss2.Mapping(mV_per_lsb=0.25, v_zero=355, pF_per_lsb=2.0, pA_per_lsb=20.0)
SPIKES = 4


def neuron() -> mc.Neuron:
    adex = mc.AdEx(10.0, v_exp=-55.0, delta_T=3.0, t_ref=5.0)
    one = mc.Neuron({"soma": mc.Compartment(120.0, [adex, mc.CurrentSynapse()]),
                     "dend": mc.Compartment(60.0, [mc.Leak(8.0, -65.0)])},
                    [("soma", "dend", 10.0)])  # fmt: skip
    return bss2.quantize(one, MAPPING)


TRAINS = [mc.SpikeTrain("soma", [2.0, 5.0, 8.0], 700.0)]


def spikes(neuron, inputs):
    run = mc.simulate(neuron, inputs, t_max=30.0, dt=0.1, method=mc.Splitting(), record=())
    return run.spikes("soma")[..., :SPIKES]


def test_deviations() -> None:
    """Of 4000 chips: standard deviations are the named figures (a normal law cut at 3 sigma has 0.987
    of its own), and t_ref, which is digital, does not deviate."""
    one, figures = neuron(), bss2.Figures()
    keys = jax.random.split(jax.random.key(0), 4000)
    chips = jax.vmap(lambda key: bss2.emulate(one, key, MAPPING))(keys)
    cut = 0.9866
    for path, sigma in {
        "soma.AdEx.v_leak": 0.25, "soma.AdEx.v_th": 0.5, "soma.AdEx.v_exp": 2.5,
    }.items():  # fmt: skip
        off = chips.get(path) - one.get(path)
        assert float(off.std()) == pytest.approx(sigma * cut, rel=0.05)
    for path, sigma in {"soma.c_m": 0.02, "soma.AdEx.b": 0.25, "soma-dend": 0.1}.items():
        ratio = one.get(path) / chips.get(path) if "-" in path else chips.get(path) / one.get(path)
        assert float(ratio.std()) == pytest.approx(sigma * cut, rel=0.05)
    np.testing.assert_array_equal(chips.get("soma.AdEx.t_ref"), one.get("soma.AdEx.t_ref"))
    quiet = figures._replace(**dict.fromkeys(figures._fields, 0.0))
    for a, b in zip(jax.tree.leaves(bss2.emulate(one, keys[0], MAPPING, figures=quiet)),
                    jax.tree.leaves(one), strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_key_is_a_chip() -> None:
    """The same key deviates the same way, whatever the numbers; trials differ in potentials alone."""
    one, key = neuron(), jax.random.key(3)
    other = one.set({"soma.AdEx.b": one.get("soma.AdEx.b") / 2})
    ratios = [bss2.emulate(n, key, MAPPING).get("soma.AdEx.b") / n.get("soma.AdEx.b")
              for n in (one, bss2.quantize(other, MAPPING))]  # fmt: skip
    np.testing.assert_allclose(ratios[0], ratios[1])
    trials = [bss2.emulate(one, key, MAPPING, trial=jax.random.key(k)) for k in (0, 1)]
    assert trials[0].get("soma.AdEx.v_leak") != trials[1].get("soma.AdEx.v_leak")
    assert trials[0].get("soma.AdEx.b") == trials[1].get("soma.AdEx.b")


def test_passive_circuits() -> None:
    """Each further circuit of a compartment adds 3 LSB."""
    one, quiet = neuron(), bss2.Figures(*[0.0] * 12)._replace(passive=3.0)
    placement = bss2.place(one, {"soma": 3})
    chip = bss2.emulate(one, jax.random.key(0), MAPPING, figures=quiet, placement=placement)
    np.testing.assert_allclose(chip.c_m - one.c_m, [2 * 3 * 2.0, 0.0])


def test_weights() -> None:
    """Equal weights deviate alike: by half an LSB at most, times the gain of the compartment."""
    quiet = bss2.Figures(gain=0.0)
    train = mc.SpikeTrain("soma", [1.0, 2.0, 3.0, 4.0], [400.0, 400.0, -400.0, 0.0])
    (chip,) = bss2.emulate_inputs([train], jax.random.key(0), MAPPING, figures=quiet)
    off = np.asarray(chip.weights - train.weights)
    assert off[0] == off[1] != 0.0 == off[3]
    assert np.all(np.abs(off) <= 10.0)
    (chip,) = bss2.emulate_inputs([train], jax.random.key(0), MAPPING,
                                  figures=bss2.Figures(weight=0.0))  # fmt: skip
    np.testing.assert_allclose(
        chip.weights / 400.0, chip.weights[0] / 400.0 * np.array([1, 1, -1, 0])
    )


def test_substitute() -> None:
    """Values of the one, derivatives of the other, where both have a spike."""
    measured = jnp.array([1.0, 2.0, jnp.inf, 4.0])

    def run(x):
        return bss2.substitute(measured, jnp.array([10.0, jnp.inf, 30.0, 40.0]) * x)

    value, slope = jax.jvp(run, (1.0,), (1.0,))
    np.testing.assert_array_equal(value, measured)
    np.testing.assert_array_equal(slope, [10.0, 0.0, 0.0, 40.0])
    late = lambda x: bss2.substitute(measured, jnp.full(4, 10.0) * x, missing=50.0)  # noqa: E731
    np.testing.assert_array_equal(late(1.0), [1.0, 2.0, 50.0, 4.0])
    np.testing.assert_array_equal(jax.jacfwd(late)(1.0), [10.0] * 4)
    with pytest.raises(ValueError, match="as many spike times"):
        bss2.substitute(jnp.zeros(3), jnp.zeros(2))


def test_external_backend() -> None:
    """A function outside of JAX serves as the chip, under jit and grad."""
    seen = []

    def chip(neuron, inputs):
        seen.append(float(neuron.c_m[0]))
        return np.array([7.0, 9.0])

    loop = bss2.in_the_loop(bss2.External(chip, 2), lambda n, i: n.c_m * 2.0)
    value, slope = jax.value_and_grad(
        jax.jit(lambda c: loop(neuron().set({"soma.c_m": c}), TRAINS).sum()))(100.0)  # fmt: skip
    assert (float(value), float(slope)) == (16.0, 2.0)
    assert set(seen) == {100.0}
    bad = bss2.in_the_loop(bss2.External(lambda n, i: np.zeros(3), 2), lambda n, i: n.c_m)
    with pytest.raises(Exception, match="2 spike times"):
        jax.block_until_ready(bad(neuron(), TRAINS))


def test_in_the_loop() -> None:
    """Weights trained on an emulated chip: its first spike comes at least 5 times closer than with the
    weights that are right for the model."""
    one, key = neuron(), jax.random.key(1)
    target = spikes(one, TRAINS)[0]
    chip = bss2.EmulatedChip(spikes, key, MAPPING)
    ideal = lambda n, i: spikes(n, bss2.quantize_inputs(i, MAPPING))  # noqa: E731
    loop = bss2.in_the_loop(chip, ideal)
    transferred = abs(float(chip(one, TRAINS)[0] - target))

    def loss(inputs):
        return (loop(one, inputs)[0] - target) ** 2

    done = mc.fit(TRAINS, loss, lambda i: i[0].weights, optimizer=optax.adam(20.0), steps=30,
                  progress=False)  # fmt: skip
    assert transferred > 0.1
    assert done.best_loss**0.5 < transferred / 5.0
