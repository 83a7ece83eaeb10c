"""`simulate` as a user meets it: batches, transformations, records, precision, resuming."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import METHODS, euler, neuron_and_inputs, splitting

import jaxsnn_mc as mc

TABLE_1, _ = neuron_and_inputs(reference.table1())


def run(neuron=TABLE_1, amplitude=400.0, method=splitting, t_max=60.0, dt=0.1, **kwargs):
    inputs = [mc.StepCurrent("c0", amplitude)]
    return mc.simulate(neuron, inputs, t_max=t_max, dt=dt, method=method, **kwargs)


@pytest.mark.parametrize("method", METHODS)
def test_a_population_is_its_neurons(method):
    """A population in blocks (one of them partial), vmap and a loop: the same to rounding."""
    tau_w = jnp.linspace(20.0, 200.0, 7)
    amplitude = jnp.linspace(300.0, 900.0, 7)
    population = TABLE_1.set({"c0.AdEx.tau_w": tau_w})
    together = run(population, amplitude, method, block=3)
    mapped = jax.vmap(lambda tau, i: run(TABLE_1.set({"c0.AdEx.tau_w": tau}), i, method).spikes())(
        tau_w, amplitude
    )
    assert together.voltages is not None
    for k in range(7):
        alone = run(TABLE_1.set({"c0.AdEx.tau_w": tau_w[k]}), amplitude[k], method)
        assert alone.voltages is not None
        assert together.counts[k] == alone.counts
        np.testing.assert_allclose(together.spike_times()[k], alone.spike_times(), atol=1e-9)
        np.testing.assert_allclose(mapped[k][: alone.counts[0]], alone.spike_times(), atol=1e-9)
        np.testing.assert_allclose(together.voltages[k], alone.voltages, atol=1e-8)
    assert len({int(c) for c in together.counts[:, 0]}) > 2  # they do differ


def test_batched_inputs_and_state():
    """Batches over spike trains and over initial states, each against single runs."""
    neuron, _ = neuron_and_inputs(reference.table2(t_max=50.0))
    where, synapse = next(
        (n, m.key) for m, w in zip(neuron.mechanisms, neuron.placements, strict=True)
        for n in [neuron.names[w[0]]] if isinstance(m, mc.CurrentSynapse)
    )  # fmt: skip
    times = jnp.array([[5.0, 9.3], [7.77, jnp.inf], [20.0, 21.0]])
    together = mc.simulate(
        neuron, [mc.SpikeTrain(where, times, 1500.0, synapse)], t_max=40.0, dt=0.1
    )
    for k in range(3):
        one = mc.SpikeTrain(where, times[k], 1500.0, synapse)
        alone = mc.simulate(neuron, [one], t_max=40.0, dt=0.1)
        np.testing.assert_allclose(together.voltages[k], alone.voltages, atol=1e-8)
    states = jax.tree.map(lambda x: jnp.stack([x, x + 1.0]), neuron.init())
    both = mc.simulate(neuron, state=states, t_max=5.0, dt=0.1)
    np.testing.assert_allclose(both.voltages[1, 0], neuron.v_init + 1.0)


def test_under_jit_nothing_is_retraced():
    """One compilation serves all parameter values."""
    traced = []

    @jax.jit
    def first_spike(tau_w):
        traced.append(tau_w)
        return run(TABLE_1.set({"c0.AdEx.tau_w": tau_w})).spikes()[0]

    times = [float(first_spike(tau_w)) for tau_w in (50.0, 100.0, 150.0)]
    assert len(traced) == 1
    assert len(set(times)) == 3
    assert times[1] == pytest.approx(run().spike_times()[0], abs=1e-9)


def test_both_vmaps_nested():
    """vmap over parameters of a vmap over inputs."""
    grid = jax.vmap(
        lambda tau: jax.vmap(
            lambda i: run(TABLE_1.set({"c0.AdEx.tau_w": tau}), i, record=()).counts[0]
        )(jnp.array([200.0, 500.0, 800.0]))
    )(jnp.array([30.0, 100.0]))
    for a, tau in enumerate((30.0, 100.0)):
        for b, i in enumerate((200.0, 500.0, 800.0)):
            assert grid[a, b] == run(TABLE_1.set({"c0.AdEx.tau_w": tau}), i, record=()).counts[0]


def test_records():
    """Chosen voltages and states, every few steps, are the full record's."""
    full = run(record=[*TABLE_1.names, "c0.AdEx.w", "c0.AdEx.refractory"])
    some = run(record=["c0.AdEx.w", "c2"], record_every=5)
    np.testing.assert_array_equal(some.ts, full.ts[::5])
    for name in ("c0.AdEx.w", "c2"):
        np.testing.assert_allclose(some[name], full[name][::5], rtol=1e-10)
    assert run(record=()).voltages is None
    np.testing.assert_allclose(run(record=()).spike_times(), full.spike_times(), rtol=1e-12)
    held = np.asarray(full["c0.AdEx.refractory"]) > 0
    assert held.any()
    assert np.all(np.asarray(full["c0"])[held] == -70.0)  # frozen, to the bit


@pytest.mark.parametrize("method", METHODS)
def test_resuming(method):
    """Two halves, the second from the state of the first, are the whole."""
    whole = run(method=method, t_max=80.0)
    first = run(method=method, t_max=31.0)
    second = run(method=method, t_max=49.0, state=first.state)
    times = np.concatenate([first.spike_times(), second.spike_times() + 31.0])
    np.testing.assert_allclose(times, whole.spike_times(), atol=1e-9)
    np.testing.assert_allclose(second.state.v, whole.state.v, atol=1e-9)


def test_dtypes():
    """Results have the dtype asked for; the default is the neuron's."""
    for dtype in (jnp.float32, jnp.float64):
        solution = run(dtype=dtype, record=["c0"])
        assert solution["c0"].dtype == solution.spikes().dtype == solution.state.v.dtype == dtype
    assert run()["c0"].dtype == jnp.float64


def test_solution():
    """Counts, rates, tables and datasets say the same as the arrays."""
    one = run(record=["c0", "c1", "c0.AdEx.w"])
    assert one.counts[0] == len(one.spike_times())
    assert one.rates("c0") == pytest.approx(1e3 * len(one.spike_times()) / 60.0)
    table = one.to_pandas()
    assert list(table.columns) == ["c0", "c1", "c0.AdEx.w"]
    np.testing.assert_array_equal(table["c1"].to_numpy(), one["c1"])
    data = one.to_xarray()
    np.testing.assert_array_equal(data.v.sel(compartment="c1"), one["c1"])
    assert data.v.attrs["units"] == "mV"
    many = run(TABLE_1, jnp.array([300.0, 900.0]), record=["c0"])
    assert many.to_xarray().v.dims == ("neuron", "time", "compartment")
    assert [len(t) for t in many.spike_times()] == list(many.counts[:, 0])
    assert "units" in many.to_xarray().spike_times.attrs


def test_spikes_are_not_lost_at_high_rates():
    """Many spikes in a chunk: all listed, or the shortage is reported (closed form count)."""
    lif = mc.LIF(10.0, -65.0, v_th=-50.0, v_reset=-66.0, t_ref=0.0)
    neuron = mc.Neuron({"soma": mc.Compartment(100.0, [lif])})
    inputs = [mc.StepCurrent("soma", 1.8e3)]
    tau, top = 10.0, -65.0 + 180.0
    again = tau * np.log((top + 66.0) / (top + 50.0))  # just below 1 ms
    solution = mc.simulate(neuron, inputs, t_max=500.0, dt=0.05, method=splitting, record=())
    assert len(solution.spike_times()) == int(solution.counts[0])
    assert int(solution.counts[0]) == pytest.approx(500.0 / again, abs=1.5)
    with pytest.warns(RuntimeWarning):
        faster = mc.simulate(
            neuron, [mc.StepCurrent("soma", 2e4)], t_max=50.0, dt=0.05, method=splitting, record=()
        )
    assert len(faster.spike_times()) < int(faster.counts[0])


def test_plot(tmp_path):
    """A figure with one axis for each record, and units."""
    import matplotlib as mpl

    mpl.use("Agg")
    figure = run(record=["c0", "c1", "c0.AdEx.w"]).plot()
    assert [axis.get_ylabel() for axis in figure.axes] == ["c0 (mV)", "c1 (mV)", "c0.AdEx.w"]
    assert figure.axes[-1].get_xlabel() == "time (ms)"
    figure.savefig(tmp_path / "plot.png")


def test_euler_is_the_default():
    """Without a method, implicit Euler."""
    default = mc.simulate(TABLE_1, [mc.StepCurrent("c0", 400.0)], t_max=30.0)
    chosen = run(method=euler, t_max=30.0, dt=0.01)
    np.testing.assert_array_equal(default["c0"], chosen["c0"])


@pytest.mark.parametrize(
    "wrong", [{"method": "euler"}, {"method": mc.Splitting}, {"spike_rule": 1}]
)
def test_no_method_or_rule(wrong):
    """What is no step method or spike rule is refused by name."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        mc.simulate(TABLE_1, t_max=1.0, **wrong)
