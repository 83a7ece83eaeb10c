"""Readouts of runs with and without spikes, and losses against numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsnn_mc as mc
from jaxsnn_mc import losses, readouts

LIF = mc.LIF(10.0, -65.0, v_th=-50.0, v_reset=-70.0, t_ref=2.0)
NEURON = mc.Neuron({"soma": mc.Compartment(100.0, [LIF])})
WIDE = mc.Surrogate(mc.arctan(0.1))


def run(amplitude, rule=None, t_max=30.0):
    current = [mc.StepCurrent("soma", amplitude)]
    return mc.simulate(NEURON, current, t_max=t_max, dt=0.1, method=mc.Splitting(), spike_rule=rule)


def closed_form(amplitude, k):
    """The k-th spike time (ms) of the LIF at a constant current (pA)."""
    v_inf = -65.0 + amplitude / 10.0
    first, again = (10.0 * np.log((v_inf - v) / (v_inf + 50.0)) for v in (-65.0, -70.0))
    return first + k * (2.0 + again)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_spike_time(k):
    """The k-th spike and its derivative, against the closed form and its central difference."""
    time, slope = jax.value_and_grad(lambda i: readouts.spike_time(run(i), k=k))(400.0)
    assert time == pytest.approx(closed_form(400.0, k), abs=2e-3)
    exact = (closed_form(400.01, k) - closed_form(399.99, k)) / 0.02
    assert slope == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize(("amplitude", "k"), [(100.0, 0), (400.0, 9)])
@pytest.mark.parametrize("missing", [None, 77.0])
def test_missing_spike(amplitude, k, missing):
    """Where there is no k-th spike: the end of the run or `missing`, with a derivative of zero."""
    time, slope = jax.value_and_grad(lambda i: readouts.spike_time(run(i), k=k, missing=missing))(
        amplitude
    )
    assert time == (30.0 if missing is None else missing)
    assert slope == 0.0


def test_missing_spikes_of_a_population():
    """Neurons with and without spikes side by side: each as on its own."""
    amplitudes = jnp.array([100.0, 400.0, 800.0])

    def times(i):
        return readouts.spike_time(run(i), "soma", k=1)

    together = jax.jacrev(times)(amplitudes)
    assert times(amplitudes)[0] == 30.0
    for k, i in enumerate(amplitudes):
        time, slope = jax.value_and_grad(times)(i)
        assert times(amplitudes)[k] == pytest.approx(float(time), rel=1e-9)
        assert together[k, k] == pytest.approx(float(slope), rel=1e-9)
    np.testing.assert_array_equal(together - jnp.diag(jnp.diag(together)), 0.0)


def test_soft_spike_time():
    """With one spike, its step; with two, their mean; without, the end, drawn earlier by current."""
    alone = run(400.0, WIDE, t_max=10.0)
    assert alone.counts[0] == 1
    step = np.floor(float(alone.spikes()[0]) / 0.1)
    assert readouts.soft_spike_time(alone) == pytest.approx(0.1 * (step + 0.5), abs=1e-9)
    two = run(400.0, WIDE, t_max=15.0)
    mean = 0.1 * (np.floor(np.asarray(two.spike_times()) / 0.1) + 0.5).mean()
    assert two.counts[0] == 2
    assert readouts.soft_spike_time(two, "soma") == pytest.approx(mean, abs=1e-9)
    for missing in (None, 45.0):
        time, slope = jax.value_and_grad(
            lambda i, m=missing: readouts.soft_spike_time(run(i, WIDE), missing=m)
        )(100.0)
        assert time == (30.0 if missing is None else missing)
        assert np.isfinite(slope)
        assert slope < 0.0
    narrow = mc.Surrogate(mc.triangle())
    assert jax.grad(lambda i: readouts.soft_spike_time(run(i, narrow)))(100.0) == 0.0


def test_count_and_rate():
    """Counts and rates (Hz) of a run, and derivatives upwards with the current."""
    for read, scale in ((readouts.spike_count, 1.0), (readouts.rate, 1e3 / 30.0)):
        value, slope = jax.value_and_grad(lambda i, r=read: r(run(i, WIDE)))(400.0)
        assert value == pytest.approx(scale * int(run(400.0).counts[0]))
        assert slope > 0.0


def test_readouts_refuse():
    """k below zero or beyond the run's room, and a spike train without a Surrogate."""
    solution = run(400.0)
    with pytest.raises(ValueError, match="from 0"):
        readouts.spike_time(solution, k=-1)
    with pytest.raises(ValueError, match="room"):
        readouts.spike_time(solution, k=10_000)
    for read in (readouts.soft_spike_time, readouts.spike_count, readouts.rate):
        with pytest.raises(ValueError, match="Surrogate"):
            read(solution)
    with pytest.raises(ValueError, match="does not spike"):
        readouts.spike_time(solution, "axon")


def trains(seed):
    rng = np.random.default_rng(seed)
    return (np.sort(rng.uniform(0.0, 100.0, int(rng.integers(0, 8)))) for _ in range(2))


def padded(times, n):
    return jnp.concatenate([jnp.asarray(times), jnp.full(n, jnp.inf)])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tau", [3.0, 10.0])
def test_van_rossum(seed, tau):
    """Seeded trains, padded or not, against numerical integration of the filtered trains: on a fine
    grid up to each spike (between two spikes the difference is smooth)."""
    a, b = trains(seed)
    edges = np.unique(np.concatenate([[0.0], a, b, [100.0 + 30.0 * tau]]))
    area = 0.0
    for start, stop in itertools.pairwise(edges):
        t, dt = np.linspace(start, stop, 20_001, retstep=True)
        middle = t[:-1] + dt / 2
        f = sum(
            sign * (np.exp(-(middle - s) / tau) if s <= start else 0.0 * middle)
            for sign, train in ((1.0, a), (-1.0, b))
            for s in train
        )
        area += np.sum(f**2 * np.ones_like(middle)) * dt
    value = losses.van_rossum(padded(a, 3), padded(b, 1), tau)
    assert value == pytest.approx(area / tau, rel=1e-6, abs=1e-12)
    assert losses.van_rossum(padded(a, 0), padded(b, 5), tau) == pytest.approx(
        float(value), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(8))
def test_van_rossum_gradient(seed):
    """Against central differences; zero for the padding."""
    a, b = trains(seed)
    x = padded(a, 2)
    gradient = np.asarray(jax.grad(losses.van_rossum)(x, padded(b, 1)))
    assert np.all(gradient[len(a) :] == 0.0)
    for k in range(len(a)):
        step = 1e-5 * np.eye(len(x))[k]
        up, down = (losses.van_rossum(x + s, padded(b, 1)) for s in (step, -step))
        assert gradient[k] == pytest.approx(float(up - down) / 2e-5, abs=1e-8)


def test_van_rossum_of_equal_trains():
    """Zero with a finite gradient for equal trains, n / 2 for n spikes far from all, and batches."""
    a = jnp.array([[3.0, 20.0, jnp.inf], [5.0, 500.0, 5000.0]])
    np.testing.assert_allclose(losses.van_rossum(a, a), [0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(
        jax.grad(lambda x: losses.van_rossum(x, a).sum())(a), 0.0, atol=1e-12
    )
    none = jnp.full((2, 1), jnp.inf)
    one = losses.van_rossum(a, none)
    np.testing.assert_allclose(one, [1.0 + np.exp(-1.7), 1.5], rtol=1e-12)
    np.testing.assert_allclose([losses.van_rossum(x, none[0]) for x in a], one, rtol=1e-12)


@pytest.mark.parametrize(
    "loss", [losses.squared_spike_time, losses.squared_voltage, losses.squared_rate]
)
def test_squared(loss):
    """Unreduced squares, against numpy; other shapes are refused, also ones that would broadcast."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4))
    np.testing.assert_allclose(loss(jnp.asarray(a), jnp.asarray(b)), (a - b) ** 2, rtol=1e-12)
    slope = jax.grad(lambda a: loss(a, b).sum())(jnp.asarray(a))
    np.testing.assert_allclose(slope, 2 * (a - b), rtol=1e-12)
    for other in (b[0], b[:1], b[..., None], 0.0):
        with pytest.raises(ValueError, match="shape"):
            loss(jnp.asarray(a), jnp.asarray(other))


def test_van_rossum_refuses():
    """Batch axes that differ, and a tau that is not positive."""
    a = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match="batch"):
        losses.van_rossum(a, a[0])
    for tau in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="tau"):
            losses.van_rossum(a, a, tau)
