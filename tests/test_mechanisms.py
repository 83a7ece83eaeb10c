"""Mechanisms: their declarations, a user's own, and several events in one step."""

import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import METHODS, euler, splitting
from jax import Array
from scipy.integrate import solve_ivp

import jaxsnn_mc as mc
import jaxsnn_mc.mechanism
from jaxsnn_mc import cells
from jaxsnn_mc.mechanism import parameters
from jaxsnn_mc.mechanisms.adex import exponential_current, exponential_flow


def docstring_example() -> type[mc.Mechanism]:
    """The class that the interface's docstring shows: its indented block, executed."""
    lines = (jaxsnn_mc.mechanism.__doc__ or "").splitlines()
    code = "\n".join(line for line in lines if not line or line.startswith("    "))
    names = {"mc": mc, "jax": jax, "jnp": jnp, "Array": Array}
    exec(textwrap.dedent(code), names)
    return names["MType"]


def m_type_exact(t_max):
    """Voltages (2,) after t_max by SciPy."""

    def rhs(_, y):
        v, u, n = y
        inf = 1 / (1 + np.exp(-(v + 35) / 10))
        dv = (10 * (-65 - v) + 20 * n * (-90 - v) + 8 * (u - v) + 600) / 100
        return [dv, (5 * (-65 - u) + 8 * (v - u)) / 60, (inf - n) / 20]

    start = [-65.0, -65.0, 1 / (1 + np.exp(3.0))]
    return solve_ivp(rhs, (0, t_max), start, rtol=1e-11, atol=1e-11).y[:2, -1]


@pytest.mark.parametrize(("method", "order"), [(euler, 1), (splitting, 2)])
def test_a_users_own_mechanism(method, order):
    """The docstring's example, non-linear, at the method's order against SciPy."""
    own = docstring_example()(g_max=20.0, tau=20.0)
    neuron = mc.Neuron(
        {
            "soma": mc.Compartment(100.0, [mc.Leak(10.0, -65.0), own]),
            "dendrite": mc.Compartment(60.0, [mc.Leak(5.0, -65.0)]),
        },
        [("soma", "dendrite", 8.0)],
    )
    exact = m_type_exact(20.0)
    inputs = [mc.StepCurrent("soma", 600.0)]
    errors = [
        np.abs(mc.simulate(neuron, inputs, t_max=20.0, dt=dt, method=method).state.v - exact).max()
        for dt in (0.2, 0.1)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)
    assert errors[1] < (0.05 if order == 1 else 5e-4)


@pytest.mark.parametrize("cls", [mc.AdEx, mc.LIF, mc.Leak, mc.CurrentSynapse])
def test_linear_mechanisms_are_linear(cls):
    """Newton evaluates the current of a mechanism that declares itself linear only once."""
    given = {name: 10.0 for name in ("g_leak", "v_leak") if name in parameters(cls_example(cls))}
    mechanism = cls(**given)
    v = jnp.linspace(-80.0, 20.0, 5)
    second = jax.vmap(jax.grad(jax.grad(lambda v: mechanism.current(mechanism.init(v), v))))(v)
    assert mechanism.linear
    np.testing.assert_array_equal(second, 0.0)


def cls_example(cls):
    return cls() if cls is mc.CurrentSynapse else cls(g_leak=1.0, v_leak=-65.0)


def test_declared_once():
    """Unit and bounds of each parameter stand in its declaration."""
    declared = parameters(mc.AdEx(g_leak=1.0))
    assert declared["tau_w"] == {"unit": "ms", "low": 0.0, "high": np.inf, "exclusive": True}
    assert {p["unit"] for p in declared.values()} == {"nS", "mV", "ms", "pA"}


@pytest.mark.parametrize("v", [-75.0, -52.0, -45.0, -41.0])
def test_exponential_flow(v):
    """The exact flow of the exponential, against SciPy, and its time to the peak in closed form."""
    c, g, v_exp, delta, th = 125.0, 10.0, -50.0, 2.0, -40.0

    def flow(h):
        return float(exponential_flow(*map(jnp.asarray, (v, g / c, v_exp, delta, th, h))))

    def u(v):
        return np.exp(-(v - v_exp) / delta)

    to_peak = (u(v) - u(th)) * c / g
    assert flow(to_peak) == pytest.approx(th, abs=1e-9)
    h = 0.7 * min(to_peak, 5.0)
    exact = solve_ivp(
        lambda _, y: g * delta / c * np.exp((y - v_exp) / delta),
        (0, h),
        [v],
        rtol=1e-12,
        atol=1e-12,
    ).y[0, -1]
    assert flow(h) == pytest.approx(exact, abs=1e-9)
    beyond = flow(to_peak + 1.0) - th  # at the rate that it had at the peak
    assert beyond == pytest.approx(g * delta / c / u(th), rel=1e-6)


def test_capped_exponential():
    """The exponential is itself below the cap, and continues with slope max_slope above (C1)."""
    args = [jnp.asarray(x) for x in (10.0, -50.0, 2.0, 200.0)]
    slope = jax.grad(lambda v: exponential_current(v, *args))
    cap = -50.0 + 2.0 * np.log(200.0 / 10.0)
    for v in (-60.0, cap - 1e-6):
        assert exponential_current(jnp.asarray(v), *args) == pytest.approx(
            20 * np.exp((v + 50) / 2)
        )
    for v in (cap + 1e-6, cap + 100.0):
        assert slope(v) == pytest.approx(200.0, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_delta_T_to_zero_is_a_lif(method):
    """An AdEx with delta_T = 0, a = b = 0 is a LIF with threshold v_exp (closed form)."""
    adex = mc.AdEx(10.0, -65.0, -50.0, 0.0, a=0.0, b=0.0, v_th=0.0, v_reset=-70.0, t_ref=2.0)
    neuron = mc.Neuron({"soma": mc.Compartment(100.0, [adex])})
    run = mc.simulate(neuron, [mc.StepCurrent("soma", 200.0)], t_max=40.0, dt=0.01, method=method)
    first = 10.0 * np.log(20.0 / 5.0)
    again = 2.0 + 10.0 * np.log(25.0 / 5.0)
    np.testing.assert_allclose(run.spike_times(), [first, first + again], atol=0.02)


def test_events_in_one_step_come_in_their_order():
    """Two LIF compartments, uncoupled: all spikes as if each were alone, at a step that holds
    several of them (closed form)."""

    def lif(t_ref):
        return mc.LIF(10.0, -65.0, v_th=-50.0, v_reset=-66.0, t_ref=t_ref)

    neuron = mc.Neuron(
        {"a": mc.Compartment(100.0, [lif(0.3)]), "b": mc.Compartment(80.0, [lif(0.45)])},
        [("a", "b", 0.0)],
    )
    inputs = [mc.StepCurrent("a", 4000.0), mc.StepCurrent("b", 3000.0)]
    run = mc.simulate(neuron, inputs, t_max=10.0, dt=1.0, method=splitting)
    fine = mc.simulate(neuron, inputs, t_max=10.0, dt=0.001, method=splitting)
    assert run.diagnostics.ok
    for name, c, amplitude, t_ref in (("a", 100.0, 4000.0, 0.3), ("b", 80.0, 3000.0, 0.45)):
        tau, top = c / 10.0, -65.0 + amplitude / 10.0
        first = tau * np.log((top + 65.0) / (top + 50.0))
        again = t_ref + tau * np.log((top + 66.0) / (top + 50.0))
        exact = np.arange(first, 10.0, again)
        assert len(run.spike_times(name)) == len(exact) > 10
        np.testing.assert_allclose(run.spike_times(name), exact, atol=2e-3)
        np.testing.assert_allclose(fine.spike_times(name), exact, atol=1e-6)


def test_too_many_events_are_reported():
    """More events in a step than max_events: a warning, and the diagnostics say so."""
    lif = mc.LIF(10.0, -65.0, v_th=-50.0, v_reset=-51.0)
    neuron = mc.Neuron({"soma": mc.Compartment(10.0, [lif])})
    with pytest.warns(RuntimeWarning, match="max_events"):
        run = mc.simulate(
            neuron, [mc.StepCurrent("soma", 1e4)], t_max=5.0, dt=1.0, max_events=2, method=splitting
        )
    assert run.diagnostics.lost_events > 0
    assert not run.diagnostics.ok


def test_unconverged_steps_are_reported():
    """With one Newton iteration a strongly non-linear step does not converge: it is reported with
    its step and compartment."""

    class Cubic(mc.Mechanism):
        def current(self, state, v):
            return -((v + 65.0) ** 3)

    neuron = mc.Neuron(
        {
            "a": mc.Compartment(100.0, [mc.Leak(1.0, -65.0)]),
            "b": mc.Compartment(10.0, [Cubic()], -65.0),
        },
        [("a", "b", 1.0)],
    )
    method = mc.ImplicitEuler(iterations=2, careful_iterations=2)
    inputs = [mc.StepCurrent("b", 5e3, start=2.0)]
    with pytest.warns(RuntimeWarning, match="compartment 'b'"):
        run = mc.simulate(neuron, inputs, t_max=4.0, dt=0.5, method=method)
    assert run.diagnostics.first_step == 4
    assert mc.simulate(neuron, inputs, t_max=4.0, dt=0.5).diagnostics.ok


@pytest.mark.parametrize("method", METHODS)
def test_both_layouts_agree(method, monkeypatch):
    """The same neuron unrolled and stacked: the same voltages, states and spikes."""
    rng = np.random.default_rng(3)
    n = 9
    soma = mc.AdEx(10.0, tau_w=30.0, b=50.0, t_ref=2.0)
    leak = mc.Leak(rng.uniform(1, 5, n - 1), -65.0)
    parents = [int(rng.integers(0, i)) for i in range(1, n)]
    neuron = mc.Neuron.from_arrays(
        rng.uniform(20, 80, n),
        [(p, i) for i, p in enumerate(parents, start=1)],
        rng.uniform(5, 30, n - 1),
        [(leak, [i for i in range(n) if i != 4]), (soma, [4]), (mc.CurrentSynapse(), [2, 7, 5])],
    )
    inputs = [mc.StepCurrent("4", 500.0), mc.SpikeTrain("7", [3.3, 9.1], 800.0)]
    kwargs = {"t_max": 60.0, "dt": 0.1, "method": method}
    record = [*neuron.names, "4.AdEx.w", "7.CurrentSynapse.i"]
    one = mc.simulate(neuron, inputs, record=record, **kwargs)
    monkeypatch.setattr(cells, "UNROLLED_UP_TO", 4)
    jax.clear_caches()
    two = mc.simulate(neuron, inputs, record=record, **kwargs)
    assert len(one.spike_times()) > 2
    np.testing.assert_allclose(one.spike_times(), two.spike_times(), atol=1e-9)
    for name in record:
        np.testing.assert_allclose(one[name], two[name], atol=1e-8)
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(two.state), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


@pytest.mark.parametrize("delta_T", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("method", METHODS)
def test_threshold_far_below_the_upstroke(method, delta_T):
    """With v_th below v_exp the exponential has no say: a LIF with threshold v_th (closed form)."""
    adex = mc.AdEx(10.0, -65.0, -50.0, delta_T, a=0.0, b=0.0, v_th=-52.0, v_reset=-70.0, t_ref=2.0)
    neuron = mc.Neuron({"soma": mc.Compartment(100.0, [adex])})
    run = mc.simulate(neuron, [mc.StepCurrent("soma", 200.0)], t_max=35.0, dt=0.01, method=method)
    first = 10.0 * np.log(20.0 / 7.0)
    again = 2.0 + 10.0 * np.log(25.0 / 7.0)
    np.testing.assert_allclose(run.spike_times(), [first, first + again], atol=0.02)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_upstroke_has_one_slope_at_its_peak(dtype):
    """Within rounding of the time at which the upstroke reaches its peak, where either branch may be
    taken: the closed form's dv/dt there, rate delta_T exp((v_peak - v_exp) / delta_T)."""
    v, rate, v_exp, delta_T, v_peak = -49.0, 0.1, -50.0, 2.0, -40.0
    peak = (np.exp(-(v - v_exp) / delta_T) - np.exp(-(v_peak - v_exp) / delta_T)) / rate
    ulps = np.arange(-200, 201) * float(jnp.finfo(dtype).eps)
    dt = jnp.asarray(peak * (1.0 + ulps), dtype)
    v = jnp.asarray(v, dtype)
    flow = jax.jit(
        jax.vmap(jax.grad(lambda h: exponential_flow(v, rate, v_exp, delta_T, v_peak, h)))
    )
    exact = rate * delta_T * np.exp((v_peak - v_exp) / delta_T)
    rtol = 1e5 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(flow(dt), exact, rtol=rtol)


@pytest.mark.parametrize("above", [5.0, 0.05, 0.005])
def test_slope_at_threshold(above):
    """A LIF with a constant current: its slope at threshold is (v_inf - v_th) / tau, and less than
    GRAZING (v_inf 0.005 mV above the threshold, tau 10 ms) is flagged."""
    neuron = mc.Neuron({"soma": mc.Compartment(100.0, [mc.LIF(10.0, -65.0, t_ref=500.0)])})
    current = 10.0 * (15.0 + above)  # v_th is 15 mV above v_leak
    diagnostics = mc.simulate(
        neuron, [mc.StepCurrent("soma", current)], t_max=120.0, dt=0.1, method=splitting
    ).diagnostics
    assert float(diagnostics.slowest_crossing) == pytest.approx(above / 10.0, rel=1e-2)
    assert bool(diagnostics.grazing) == (above < 0.01)
    assert ("Surrogate" in str(diagnostics)) == (above < 0.01)
