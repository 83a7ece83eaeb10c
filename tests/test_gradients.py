"""Gradients of spike times and voltages against the event-locating reference, and always finite."""

from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import METHODS, euler, neuron_and_inputs, splitting
from test_fuzz import extreme, run_all

import jaxsnn_mc as mc

ADEX = ("v_exp", "delta_T", "a", "tau_w", "b", "v_th", "v_reset", "t_ref")
INPUTS = ("amplitude", "start", "times", "weights")


def parameters(problem):
    """The parameters of a problem by our paths; of the inputs, "amplitude", "times.2" and so on."""
    p, (soma,) = problem, problem.spiking
    found = {}
    for i in range(len(p.c_m)):
        kind = "AdEx" if i == soma.compartment else "Leak"
        found |= {f"c{i}.c_m": p.c_m[i], f"c{i}.{kind}.g_leak": p.g_leak[i]}
        found[f"c{i}.{kind}.v_leak"] = p.v_leak[i]
    found |= {f"c{soma.compartment}.AdEx.{name}": getattr(soma, name) for name in ADEX}
    found |= {f"c{i}-c{j}": g for i, j, g in p.couplings}
    found["amplitude"], start = p.steps[0][1:3]
    if start:
        found["start"] = start
    for synapse in p.synapses:
        found[f"c{synapse.compartment}.syn0.tau_syn"] = synapse.tau
        found |= {f"times.{k}": t for k, t in enumerate(synapse.times)}
        found |= {f"weights.{k}": w for k, w in enumerate(synapse.weights)}
    return {path: float(x) for path, x in found.items()}


def vary(problem, path, x):
    """The problem with another value of one parameter. Our AdEx has one v_leak and one g_leak: the
    reference's v_w and g_exp follow."""
    p, soma, words = problem, problem.spiking[0], path.split(".")
    if path in ("amplitude", "start"):
        step = list(p.steps[0])
        step[INPUTS.index(path) + 1] = x
        return replace(p, steps=(tuple(step),))
    if words[0] in ("times", "weights"):
        values = list(getattr(p.synapses[0], words[0]))
        values[int(words[1])] = x
        return replace(p, synapses=(replace(p.synapses[0], **{words[0]: tuple(values)}),))
    if "-" in path:
        return replace(
            p, couplings=tuple((i, j, x if f"c{i}-c{j}" == path else g) for i, j, g in p.couplings)
        )
    i, name = int(words[0][1:]), words[-1]
    if name == "tau_syn":
        return replace(p, synapses=(replace(p.synapses[0], tau=x),))
    if name in ADEX:
        return replace(p, spiking=(replace(soma, **{name: x}),))
    values = getattr(p, name).copy()
    values[i] = x
    if i == soma.compartment and name in ("g_leak", "v_leak"):
        soma = replace(soma, **{{"g_leak": "g_exp", "v_leak": "v_w"}[name]: x})
    return replace(p, spiking=(soma,), **{name: values})


def derivatives(observe, problem, paths):
    """{path: d observe(problem) / d path}: central differences of the reference, extrapolated."""
    result = {}
    for path in paths:
        x = parameters(problem)[path]
        h = 1e-4 * (abs(x) or 1.0)
        coarse, fine = (
            (observe(vary(problem, path, x + d)) - observe(vary(problem, path, x - d))) / (2 * d)
            for d in (h, h / 2)
        )
        result[path] = (4 * fine - coarse) / 3
    return result


def simulated(problem, theta, **kwargs):
    """Our run of a problem with some parameters set to `theta`, by path."""
    neuron, inputs = neuron_and_inputs(problem)
    neuron = neuron.set({k: x for k, x in theta.items() if k.split(".")[0] not in INPUTS})
    values = parameters(problem) | theta
    where, _, _, stop = problem.steps[0]
    inputs[0] = mc.StepCurrent(
        f"c{where}", values["amplitude"], values.get("start"), None if np.isinf(stop) else stop
    )
    if problem.synapses:
        train = (
            jnp.stack([jnp.asarray(values[f"{name}.{k}"]) for k in range(len(synapse.times))])
            for synapse in problem.synapses
            for name in ("times", "weights")
        )
        inputs[1] = mc.SpikeTrain(inputs[1].compartment, *train, "syn0")
    return mc.simulate(neuron, inputs, **kwargs)


def spike_gradients(problem, count, t_max, paths, jac=jax.jacfwd, record=(), **kwargs):
    """{path: d(the first spike times) / d path} of our run."""
    soma = f"c{problem.spiking[0].compartment}"
    theta = {path: parameters(problem)[path] for path in paths}

    def times(theta):
        return simulated(problem, theta, t_max=t_max, record=record, **kwargs).spikes(soma)[:count]

    return jax.jit(jac(times))(theta)


def errors(ours, exact, problem):
    """The relative errors (path, ...), each relative to its exact value or to 1 % of the largest
    scaled derivative (|theta d / d theta|) of the same spike or voltage, over |theta|."""
    theta = np.array([abs(parameters(problem)[path]) or 1.0 for path in exact])
    a, b = (np.stack([np.asarray(x[path]) for path in exact]) for x in (ours, exact))
    scale = theta.reshape(-1, *[1] * (a.ndim - 1))
    a, b = a * scale, b * scale
    return np.abs(a - b) / np.maximum(np.abs(b), 0.01 * np.abs(b).max(axis=0))


def report(what, error, exact):
    path = list(exact)[np.unravel_index(error.argmax(), error.shape)[0]]
    print(f"{what}: median {np.median(error):.2e}, worst {error.max():.2e} ({path})")


@lru_cache
def table_1_truth():
    def times(problem):
        return reference.solve(problem, 800.0).spikes[0]

    return derivatives(times, reference.table1(), parameters(reference.table1()))


@pytest.mark.parametrize(("dt", "median", "worst"), [(0.1, 0.002, 0.02), (0.025, 0.002, 0.005)])
def test_spike_times_of_table_1(dt, median, worst):
    """All 20 parameters, spikes 1 to 5 of 800 ms, splitting: differences of the reference."""
    exact = table_1_truth()
    ours = spike_gradients(reference.table1(), 5, 800.0, exact, method=splitting, dt=dt)
    error = errors(ours, exact, reference.table1())
    report(f"Table 1, splitting, dt={dt}", error, exact)
    assert error.shape == (20, 5)
    assert np.median(error) <= median
    assert error.max() <= worst


@pytest.mark.slow
def test_order_of_implicit_euler_gradients():
    """Differences of the reference. The last part h of a step is a step of its own, which leaves an
    error of about K (dt - 2 h), common to all parameters: so the largest one over places in the step
    (currents that shift the spike by a fraction of dt) halves with dt, not each error."""
    problem, paths = reference.table1(), ("amplitude", "c0.AdEx.tau_w", "c1.c_m", "c0-c1")
    exact = derivatives(lambda p: reference.solve(p, 30.0).spikes[0][:1], problem, paths)
    largest = []
    for dt in (0.02, 0.01):

        def time(theta, dt=dt):
            run = simulated(problem, theta, t_max=30.0, dt=dt, method=euler, record=())
            return run.spikes()[:1]

        gradient, found = jax.jit(jax.jacfwd(time)), []
        for shift in np.arange(8) / 8:
            theta = {path: parameters(problem)[path] for path in paths}
            theta["amplitude"] += shift * dt / abs(exact["amplitude"][0])
            found.append(errors(gradient(theta), exact, problem))
        largest.append(np.max(found, axis=0)[:, 0])
    print("largest errors of spike 1", largest, "ratio", largest[0] / largest[1])
    assert np.all(np.abs(largest[0] / largest[1] - 2.0) < 0.5)


TREES = [pytest.param(seed, marks=() if seed < 2 else pytest.mark.slow) for seed in range(20)]


@pytest.mark.parametrize("seed", TREES)
def test_spike_times_of_random_trees(seed, request):
    """Random trees of 2 to 12 compartments, input spikes' times and weights included (with --slow all
    parameters, else some of them): differences of the reference."""
    rng = np.random.default_rng(500 + seed)
    problem = reference.random_problem(rng, int(rng.integers(2, 13)))
    soma, t_max = problem.spiking[0].compartment, 180.0
    count = len(reference.solve(problem, t_max).spikes[soma])
    paths = list(parameters(problem))
    if not request.config.getoption("--slow"):
        always = [p for p in paths if p.split(".")[0] in INPUTS or f"c{soma}." in p]
        others = [p for p in paths if p not in always]
        paths = always + list(rng.choice(others, min(6, len(others)), replace=False))

    exact = derivatives(lambda p: reference.solve(p, t_max).spikes[soma][:count], problem, paths)
    ours = spike_gradients(problem, count, t_max, paths, method=splitting, dt=0.05)
    error = errors(ours, exact, problem)
    report(
        f"{len(problem.c_m)} compartments, {count} spikes, {len(paths)} parameters", error, exact
    )
    assert error.max() <= 0.02


def test_voltages_after_a_reset():
    """dV / d theta of all compartments 3 and 20 ms after spike 2: differences of the reference."""
    problem, dt, ts = reference.table1(), 0.1, np.array([132.4, 149.4])
    paths = [
        "amplitude",
        "c0.AdEx.tau_w",
        "c0.AdEx.a",
        "c0.AdEx.b",
        "c0.AdEx.v_reset",
        "c0.AdEx.t_ref",
    ]
    paths += ["c0.AdEx.delta_T", "c0.c_m", "c1.c_m", "c2.Leak.g_leak", "c0-c1"]
    exact = derivatives(lambda p: reference.solve(p, 150.0, ts).v, problem, paths)
    theta = {path: parameters(problem)[path] for path in paths}

    def voltages(theta):
        run = simulated(problem, theta, t_max=150.0, dt=dt, method=splitting)
        return run.voltages[np.round(ts / dt).astype(int)]

    error = errors(jax.jacfwd(voltages)(theta), exact, problem)
    report("dV/dtheta after spike 2", error, exact)
    assert error.shape == (len(paths), 2, 3)
    assert np.median(error) <= 0.002
    assert error.max() <= 0.02


@pytest.mark.parametrize("mapped", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
def test_reverse_is_forward_mode(method, mapped):
    """Spike times, voltages and final states under jit, and vmap: reverse against forward mode."""
    problem = reference.table1()
    theta = {path: jnp.asarray(x) for path, x in parameters(problem).items()}
    theta["amplitude"] = jnp.asarray(600.0)

    def outputs(theta):
        run = simulated(problem, theta, t_max=40.0, dt=0.1, method=method, record_every=100)
        assert run.voltages is not None
        states = jnp.stack([x[0] for x in jax.tree.leaves(run.state.mechanisms)])
        return jnp.concatenate([run.spikes()[:2], run.voltages[1:].ravel(), states])

    def matrix(jac, theta):
        return np.stack([np.asarray(x) for x in jax.tree.leaves(jax.jit(jac)(theta))])

    forward, reverse = jax.jacfwd(outputs), jax.jacrev(outputs)
    if mapped:
        batch = jax.tree.map(lambda x: x * jnp.array([1.0, 1.01, 0.98]), theta)
        exact = np.stack(
            [matrix(forward, jax.tree.map(lambda x, k=k: x[k], batch)) for k in range(3)], axis=1
        )
        ours = matrix(jax.vmap(reverse), batch)
    else:
        exact, ours = matrix(forward, theta), matrix(reverse, theta)
    scale = np.abs(exact).max(axis=-1, keepdims=True)
    assert np.isfinite(exact).all()
    assert (scale > 0).all()
    print("largest difference", np.abs((ours - exact) / scale).max())
    np.testing.assert_allclose(ours / scale, exact / scale, rtol=1e-9, atol=1e-10)


FUZZED = ("c0.AdEx.tau_w", "c0.c_m", "c1.c_m", "c0.AdEx.delta_T", "c0-c1")


def fuzzed_gradients(neuron, amplitude, scale, method):
    """The gradients (B,) of each run's spike times and mean voltage."""

    @jax.jit
    @jax.grad
    def gradients(theta):
        amplitude, values = theta
        run = run_all(neuron.set(values), amplitude, scale, method)
        times = run.spikes()
        there = jnp.isfinite(times)
        times = jnp.where(there, jnp.where(there, times, 0.0), 0.0)
        return times.sum() + run.voltages.mean(axis=(1, 2)).sum()

    shape = amplitude.shape
    values = {path: jnp.broadcast_to(neuron.get(path), shape) for path in FUZZED}
    result, by_path = gradients((amplitude, values))
    return {"amplitude": result, **by_path}


def check_finite(count, seed, method, dtype):
    gradients = fuzzed_gradients(*extreme(count, seed, dtype), method)
    bad = {path: np.flatnonzero(~np.isfinite(g)).tolist() for path, g in gradients.items()}
    assert not any(bad.values()), {path: (len(b), b[:5]) for path, b in bad.items()}
    assert all(np.any(np.asarray(g) != 0.0) for g in gradients.values())


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
def test_always_finite(method, dtype):
    """1,000 extreme runs (test_fuzz) of each method in each precision: no NaN, no infinity."""
    check_finite(1000, 11, method, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("method", METHODS)
def test_always_finite_in_many_runs(method, dtype):
    """5,000 more of each."""
    check_finite(5000, 12, method, dtype)


def test_memory_grows_with_the_square_root_of_the_steps():
    """What XLA allots to a gradient over 1e5 and 1e6 steps: less than 10^0.6 times as much."""

    neuron, inputs = neuron_and_inputs(reference.table1())
    options = {"dt": 0.1, "method": splitting, "record": ()}

    def end(neuron, n_steps):
        return mc.simulate(neuron, inputs, t_max=0.1 * n_steps, **options).state.v[0]

    used = []
    for n_steps in (100_000, 1_000_000):
        compiled = jax.jit(jax.grad(lambda n, k=n_steps: end(n, k))).lower(neuron).compile()
        used.append(compiled.memory_analysis().temp_size_in_bytes)
    assert used[0] > 1e4
    assert used[1] < 10**0.6 * used[0]
