"""Gradients through our channels' spikes in Jaxley, against the exact ones and closed forms."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import jaxley as jx
import numpy as np
import optax
import pytest
import reference
from channel_cells import cell_of, drive, leaky, per_area, soma, stimuli
from jaxsnn_mc.channels import AdEx, Fire, spike_times
from jaxsnn_mc.channels.surrogates import KINDS, emitted, surrogate_parameters

from jaxsnn_mc import spike_rules

DT, T_MAX = 0.01, 135.0
TABLE1 = reference.table1()
SOMA = TABLE1.spiking[0]
TRAINED = ("tau_w", "a", "b", "v_exp", "v_th", "t_ref", "v_reset")


def with_value(name: str, value: float) -> reference.Problem:
    """Table 1 with another parameter of the soma, or another current (pA)."""
    if name == "current":
        return dataclasses.replace(TABLE1, steps=((0, value, 0.0, np.inf),))
    changed = dataclasses.replace(SOMA, **{name: value})
    return dataclasses.replace(TABLE1, spiking=(changed,))


@cache
def first_two(names: tuple[str, ...]):
    """A function of trainable parameters and the current (pA): the first two spike times (ms)."""
    cell = cell_of(TABLE1)
    for name in names:
        soma(cell).make_trainable(f"AdEx_{name}", verbose=False)
    data = stimuli(cell, TABLE1, T_MAX, DT)

    def times(params, current):
        scaled = (data[0], [x * (current / 280.0) for x in data[1]], *data[2:])
        rec = jx.integrate(cell, params, data_stimuli=scaled, delta_t=DT)
        return spike_times(rec[0], DT, 2)

    return times, cell.get_parameters()


def test_of_spike_times() -> None:
    """Judged against central differences of the exact solution: all derivatives of two spike times
    within 1 %; and forward mode against reverse mode."""
    times, params = first_two(TRAINED)
    backward = jax.jit(jax.jacrev(times, argnums=(0, 1)))(params, 280.0)
    values = per_area(TABLE1)
    for name, found in zip(TRAINED, backward[0], strict=True):
        exact = reference.sensitivity(
            lambda x, name=name: with_value(name, x), getattr(SOMA, name), T_MAX, 0
        )
        unit = values[name] / getattr(SOMA, name)
        np.testing.assert_allclose(found[f"AdEx_{name}"][:, 0] * unit, exact, rtol=0.01, atol=1e-9)
    exact = reference.sensitivity(lambda x: with_value("current", x), 280.0, T_MAX, 0)
    np.testing.assert_allclose(backward[1], exact, rtol=0.01)

    forward = jax.jit(jax.jacfwd(times, argnums=(0, 1)))(params, 280.0)
    for a, b in zip(jax.tree.leaves(forward), jax.tree.leaves(backward), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("k", [0, 1])
def test_training_tau_w(k) -> None:
    """Judged against the truth: from 50 ms, Newton on the exact k-th spike time of tau_w = 100 ms
    finds it within 1 % in 20 steps, and in far fewer."""
    times, _ = first_two(("tau_w",))
    target = reference.solve(TABLE1, T_MAX).spikes[0][k]
    value_and_slope = jax.jit(jax.value_and_grad(lambda p: times([{"AdEx_tau_w": p}], 280.0)[k]))
    tau_w = jnp.array([50.0])
    for _ in range(6):
        time, slope = value_and_slope(tau_w)
        tau_w = tau_w - (time - target) / slope
    np.testing.assert_allclose(tau_w, 100.0, rtol=0.01)


def test_training_with_adam() -> None:
    """Judged against the truth: Adam, too, on the second spike time, in 20 steps."""
    times, _ = first_two(("tau_w",))
    target = reference.solve(TABLE1, T_MAX).spikes[0][1]
    step = jax.jit(
        jax.value_and_grad(lambda p: (times([{"AdEx_tau_w": p}], 280.0)[1] - target) ** 2)
    )
    optimizer = optax.adam(optax.exponential_decay(20.0, 20, 0.02), b1=0.5, b2=0.9)
    tau_w = jnp.array([50.0])
    state = optimizer.init(tau_w)
    for _ in range(20):
        updates, state = optimizer.update(step(tau_w)[1], state)
        tau_w = optax.apply_updates(tau_w, updates)
    np.testing.assert_allclose(tau_w, 100.0, rtol=0.01)


def test_of_a_lif_neuron() -> None:
    """Judged against the closed form of a LIF neuron's spike times, t_k = t_1 + k (t_ref + T), by
    jax.grad, for the threshold, the reset and the period."""
    branch, dt = leaky(), 0.025
    names = ("Fire_v_th", "Fire_v_reset", "Fire_t_ref")
    for name in names:
        branch.make_trainable(name, verbose=False)
    data = drive(branch, 2e-3, 3200)

    def simulated(p):
        params = [{name: p[i][None]} for i, name in enumerate(names)]
        rec = jx.integrate(branch, params, data_stimuli=data, delta_t=dt, solver="crank_nicolson")
        return spike_times(rec[0], dt, 4)

    def closed(p):
        v_th, v_reset, t_ref = p
        first = 10.0 * jnp.log(20.0 / (-45.0 - v_th))
        return first + (t_ref + 10.0 * jnp.log((-45.0 - v_reset) / (-45.0 - v_th))) * jnp.arange(4)

    p = jnp.array([-50.0, -70.0, 2.013])
    found = jax.jit(jax.jacrev(simulated))(p)
    np.testing.assert_allclose(found, jax.jacrev(closed)(p), rtol=2e-3, atol=1e-9)


def test_recorded_voltage() -> None:
    """Judged against the exact solution's own differences: the derivative by tau_w of the mean
    voltage of soma and dendrite over 60 ms, jump and refractory period within, to 5 %."""
    cell = cell_of(TABLE1)
    cell.branch(0).comp(0).record("v", verbose=False)
    soma(cell).make_trainable("AdEx_v_exp", verbose=False)
    data = stimuli(cell, TABLE1, 60.0, DT)

    def mean(v_exp):
        rec = jx.integrate(cell, [{"AdEx_v_exp": v_exp}], data_stimuli=data, delta_t=DT)
        return rec[1:].mean(axis=1)

    found = jax.jit(jax.jacfwd(mean))(jnp.array([-50.0]))[:, 0]
    grid = np.arange(0.0, 60.0, 0.0005) + 0.00025
    means = [
        reference.solve(with_value("v_exp", -50.0 + h), 60.0, grid).v.mean(axis=0)[:2]
        for h in (0.01, -0.01)
    ]
    np.testing.assert_allclose(found, (means[0] - means[1]) / 0.02, rtol=0.05)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_shape_of_the_surrogate(kind) -> None:
    """Judged against the solver's shapes: the derivative of an emitted spike by the margin."""
    p = surrogate_parameters(kind, 2.0)
    shape = getattr(spike_rules, kind)(0.5 if kind == "triangle" else 2.0)
    for margin in (-0.3, 0.0, 0.2, 5.0):
        for fired in (0.0, 1.0):
            value, slope = jax.value_and_grad(lambda m, f=fired: emitted(jnp.asarray(f), m, p))(
                margin
            )
            assert value == fired
            np.testing.assert_allclose(slope, shape(jnp.array(margin)))


def test_unknown_surrogate() -> None:
    """Judged against the promise: what is wrong, what it got, what there is."""
    with pytest.raises(ValueError, match=r"must be one of none, sigmoid, .* got 'relu'"):
        AdEx(surrogate="relu")
    with pytest.raises(ValueError, match=r"beta must be above 0 \(1/mV\), got -1"):
        Fire(surrogate="sigmoid", beta=-1.0)


@pytest.mark.parametrize("channel", [AdEx, Fire])
def test_surrogate_acts_on_the_emitted_spike_only(channel) -> None:
    """Judged against the run without: all values are bitwise the same, and so are the derivatives of
    voltage and clock; only that of the emitted spikes is there. Without it, it is zero."""
    name, found = channel.__name__, {}
    branch = jx.Branch(jx.Compartment(), ncomp=1)
    if channel is Fire:
        branch.insert(jx.channels.Leak())
    branch.insert(channel())
    branch.make_trainable(f"{name}_v_reset", verbose=False)
    branch.make_trainable(f"{name}_surrogate", verbose=False)
    branch.set(f"{name}_surrogate_beta", 2.0)
    for state in ("v", f"{name}_since", f"{name}_spikes", "Fire_spikes"):
        branch.record(state, verbose=False)
    data = drive(branch, 3e-3, 1600)

    def sums(v_reset, kind):
        params = [{f"{name}_v_reset": v_reset[None]}, {f"{name}_surrogate": kind[None]}]
        rec = jx.integrate(branch, params, data_stimuli=data, delta_t=0.025)
        return jnp.where(rec < 1e8, rec, 0.0).sum(axis=1), rec

    run = jax.jit(jax.jacfwd(sums, has_aux=True))
    for kind in KINDS:
        number = jnp.asarray(surrogate_parameters(kind, 1.0)["surrogate"])
        found[kind] = run(jnp.array(-70.0), number)
    slopes, values = found["none"]
    assert values[2].sum() >= 2
    assert slopes[2] == 0.0
    for kind in KINDS[1:]:
        np.testing.assert_array_equal(found[kind][1], values)
        np.testing.assert_array_equal(found[kind][0][:2], slopes[:2])
        np.testing.assert_array_equal(found[kind][0][2], found[kind][0][3])
        assert np.isfinite(found[kind][0]).all()
        assert found[kind][0][2] > 0.0  # a higher reset brings more spikes
