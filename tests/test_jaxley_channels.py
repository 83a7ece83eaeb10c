"""Jaxley's channels as mechanisms, judged against `jx.integrate` and SciPy."""

import jax
import jax.numpy as jnp
import jaxley as jx
import numpy as np
import pytest
import swc
from helpers import METHODS, euler, splitting
from jaxley.channels import HH, CaL, CaT, Channel, Fire, Izhikevich, K, Km, Leak, Na, Rate
from jaxley.channels.non_capacitive.adex import AdEx
from jaxley.pumps import CaPump
from jaxley.solver_gate import exponential_euler
from scipy.integrate import solve_ivp

import jaxsnn_mc as mc
from jaxsnn_mc.jaxley import JaxleyChannel, from_jaxley

AREA = 1000.0  # um2: at 1 uF/cm2 a capacitance of 10 pF
CURRENT = 150.0  # pA


class Pool(Channel):
    """Calcium that the currents called i_Ca fill: a state that others read."""

    def __init__(self, name: str | None = None):
        self.current_is_in_mA_per_cm2 = True
        super().__init__(name)
        self.channel_params = {f"{self._name}_tau": 20.0}
        self.channel_states = {"CaCon": 0.1}
        self.current_name = "i_Pool"

    def update_states(self, states, dt, v, params):
        filled = 0.1 - 50.0 * states["i_Ca"]
        return {
            "CaCon": exponential_euler(states["CaCon"], dt, filled, params[f"{self._name}_tau"])
        }

    def compute_current(self, states, v, params):
        return jnp.zeros((1,))


class KCa(Channel):
    """Potassium that calcium opens."""

    def __init__(self, name: str | None = None):
        self.current_is_in_mA_per_cm2 = True
        super().__init__(name)
        self.channel_params = {f"{self._name}_gKCa": 1e-3, "eK": -90.0}
        self.channel_states = {"CaCon": 0.1}
        self.current_name = "i_K"

    def update_states(self, states, dt, v, params):
        return {}

    def compute_current(self, states, v, params):
        return params[f"{self._name}_gKCa"] * states["CaCon"] * (v - params["eK"])


class Shaped(Leak):
    """A leak that grows with the capacitance."""

    def update_states(self, states, dt, v, params):
        return {"Shaped_c": params["capacitance"] + jnp.zeros_like(v)}

    def __init__(self, name: str | None = None):
        super().__init__(name)
        self.channel_states = {"Shaped_c": 1.0}

    def compute_current(self, states, v, params):
        return 1e-4 * states["Shaped_c"] * (v + 70.0)


def compartment(channels: list[Channel]) -> jx.Compartment:
    comp = jx.Compartment()
    comp.set("length", 20.0)
    comp.set("radius", AREA / (2 * np.pi * 20.0))
    comp.set("v", -65.0)
    for channel in channels:
        comp.insert(channel)
    comp.init_states()
    return comp


def single(*mechanisms: mc.Mechanism) -> mc.Neuron:
    return mc.Neuron({"soma": mc.Compartment(0.01 * AREA, mechanisms, v_init=-65.0)})


def integrate(cell, where, t_max: float, dt: float, current: float) -> np.ndarray:
    """Jaxley's voltage (T,) of the first compartment of `where`, from a step of `current` (pA)."""
    n = round(t_max / dt)
    where.record("v", verbose=False)
    stimulus = jnp.full(n, 1e-3 * current)

    def run(stimulus):
        return jx.integrate(cell, data_stimuli=where.data_stimulate(stimulus), delta_t=dt)

    v = jax.jit(run)(stimulus)
    cell.delete_recordings()
    return np.asarray(v)[0, : n + 1]


SETS = {
    "HH": [HH()],
    "Pospischil": [Leak(), Na(), K(), Km(), CaL(), CaT()],
    "shared calcium": [Leak(), Na(), K(), CaL(), Pool(), KCa()],
}


@pytest.mark.parametrize("name", SETS)
def test_against_jaxley(name: str) -> None:
    """Judged against `jx.integrate`: with either method the difference halves with dt."""
    comp = compartment(SETS[name])
    neuron = from_jaxley(comp)
    differences = []
    for dt in (0.005, 0.0025):
        theirs = integrate(comp, comp, 15.0, dt, CURRENT)
        assert theirs.max() > 0.0  # there are spikes
        for method in METHODS:
            inputs = [mc.StepCurrent("0", CURRENT)]
            run = mc.simulate(neuron, inputs, t_max=15.0, dt=dt, method=method)
            differences.append(np.abs(np.asarray(run["0"]) - theirs).mean())
    ratios = np.divide(differences[:2], differences[2:])
    np.testing.assert_allclose(ratios, 2.0, atol=0.2)
    assert max(differences) < 1.5


def test_morphology(tmp_path) -> None:
    """An SWC of several hundred compartments with HH and, in the soma, Km: judged as above, and the
    tree by its compartments and branch points."""
    cell = swc.read(tmp_path / "a.swc", ncomp=7)
    cell.insert(HH())
    cell.soma.insert(Km())
    cell.init_states()
    neuron = from_jaxley(cell)
    assert len(cell.nodes) > 300
    assert len(neuron.names) == len(cell.nodes) + len(cell._branchpoints) - 1  # one joins only two
    at = int(cell.soma.nodes.index[0])
    differences = []
    for dt in (0.02, 0.01):
        theirs = integrate(cell, cell.select(nodes=[at]), 10.0, dt, 1500.0)
        assert theirs.max() > 0.0
        inputs = [mc.StepCurrent(neuron.names[at], 1500.0)]
        run = mc.simulate(neuron, inputs, t_max=10.0, dt=dt, record=[neuron.names[at]])
        differences.append(np.abs(np.asarray(run[neuron.names[at]]) - theirs).mean())
    assert 1.8 < differences[0] / differences[1] < 2.2
    assert differences[1] < 0.5


def hodgkin_huxley(g_na: float, t: float) -> float:
    """The voltage (mV) after t (ms), by SciPy; Jaxley's rates and our own equations."""

    def rates(v):
        return [gate(v) for gate in (HH.m_gate, HH.h_gate, HH.n_gate)]

    def slope(_, x):
        v, m, h, n = x
        i = g_na * m**3 * h * (v - 50.0) + 0.036 * n**4 * (v + 77.0) + 0.0003 * (v + 54.3)
        dv = (1e-3 * CURRENT / AREA * 1e5 - 1e3 * i) / 1.0  # uA/cm2 over uF/cm2
        gates = [
            float(a) * (1 - y) - float(b) * y for (a, b), y in zip(rates(v), (m, h, n), strict=True)
        ]
        return [dv, *gates]

    rest = [float(a / (a + b)) for a, b in rates(-65.0)]
    with jax.ensure_compile_time_eval():
        run = solve_ivp(slope, (0.0, t), [-65.0, *rest], rtol=1e-9, atol=1e-9)
    return run.y[0, -1]


def test_gradient() -> None:
    """Judged against central differences of SciPy's solution: the derivative by a conductance, and
    the voltage, of second order with the splitting."""

    def end(g_na, dt=0.01):
        neuron = single(JaxleyChannel(HH(), area=AREA)).set({"soma.HH.HH_gNa": g_na})
        inputs = [mc.StepCurrent("soma", CURRENT)]
        run = mc.simulate(neuron, inputs, t_max=1.5, dt=dt, method=splitting, record=())
        return run.state.v[0]

    true = hodgkin_huxley(0.12, 1.5)
    errors = [abs(float(end(0.12, dt)) - true) for dt in (0.02, 0.01)]
    assert 3.6 < errors[0] / errors[1] < 4.4
    difference = (hodgkin_huxley(0.121, 1.5) - hodgkin_huxley(0.119, 1.5)) / 0.002
    assert float(jax.grad(end)(0.12)) == pytest.approx(difference, rel=2e-3)


def test_current_and_paths() -> None:
    """Judged by hand: units, paths, records, and which currents are straight lines in v."""
    channel = JaxleyChannel(Leak(), area=AREA, Leak_gLeak=2e-4, Leak_eLeak=-60.0)
    v = jnp.array([-70.0, -50.0])
    np.testing.assert_allclose(channel.current({}, v), 10.0 * AREA * 2e-4 * (-60.0 - v))
    assert [JaxleyChannel(c, AREA).linear for c in (HH(), Na(), Km(), CaT())] == [True] * 3 + [
        False
    ]
    neuron = single(JaxleyChannel(Na(), AREA), JaxleyChannel(Na("Na2"), AREA, name="fast"))
    assert neuron.get("soma.Na.Na_gNa") == 50e-3
    changed = neuron.set({"soma.fast.Na2_gNa": [0.01, 0.02], "soma.Na.area": 900.0})
    np.testing.assert_allclose(changed.get("soma.fast.Na2_gNa"), [0.01, 0.02])
    run = mc.simulate(changed, t_max=1.0, dt=0.1, record=["soma.Na.Na_m"])
    assert run["soma.Na.Na_m"].shape == (2, 11)
    each = mc.simulate(
        neuron.set({"soma.fast.Na2_gNa": 0.02, "soma.Na.area": 900.0}),
        t_max=1.0,
        dt=0.1,
        record=["soma.Na.Na_m"],
    )
    np.testing.assert_allclose(run["soma.Na.Na_m"][1], each["soma.Na.Na_m"], rtol=1e-12)


def test_compartments_of_a_kind_are_one() -> None:
    """Judged by the placement: channels of a class and name are one mechanism, however many."""
    compartments = {
        name: mc.Compartment(10.0, [JaxleyChannel(HH(), 1000.0)], v_init=-65.0) for name in "abc"
    }
    neuron = mc.Neuron(compartments, [("a", "b", 1.0), ("b", "c", 1.0)])
    assert neuron.placements == ((0, 1, 2),)


def test_geometry() -> None:
    """Judged against `jx.integrate` at a small step: a channel that reads the capacitance."""
    comp = compartment([Shaped()])
    comp.set("capacitance", 2.0)
    neuron = from_jaxley(comp)
    assert float(neuron.get("0.Shaped.capacitance")) == 2.0
    theirs = integrate(comp, comp, 5.0, 0.01, 10.0)
    run = mc.simulate(neuron, [mc.StepCurrent("0", 10.0)], t_max=5.0, dt=0.01, method=euler)
    np.testing.assert_allclose(run["0"], theirs, atol=1e-3)


class Alien(KCa):
    def compute_current(self, states, v, params):
        return params["nowhere"] * v


REFUSED = [
    (
        lambda: JaxleyChannel(AdEx(surrogate_warning=False), AREA),
        ["AdEx writes the voltage", "mc.AdEx"],
    ),
    (lambda: JaxleyChannel(Izhikevich(), AREA), ["Izhikevich writes the voltage"]),
    (lambda: JaxleyChannel(Fire(), AREA), ["Fire writes the voltage", "mc.LIF"]),
    (lambda: JaxleyChannel(Rate(), AREA), ["Rate writes the voltage"]),
    (lambda: JaxleyChannel(HH, AREA), ["write HH()"]),
    (lambda: JaxleyChannel(CaPump(), AREA), ["CaPump", "no pump"]),
    (lambda: JaxleyChannel(Pool(), AREA), ["Pool uses", "'i_Ca'", "together"]),
    (lambda: JaxleyChannel(Alien(), AREA), ["Alien reads 'nowhere'"]),
    (lambda: JaxleyChannel(Shaped(), AREA), ["capacitance", "give it"]),
    (lambda: JaxleyChannel(HH(), AREA, HH_gCa=1.0), ["no parameter 'HH_gCa'", "'HH_gNa'"]),
    (lambda: JaxleyChannel(HH(), 0.0), ["area", "above 0", "um2"]),
    (lambda: single(JaxleyChannel(HH(), AREA, HH_gNa=jnp.nan)), ["HH_gNa", "finite"]),
]


@pytest.mark.filterwarnings("ignore:The `.*` channel does not support surrogate gradients")
@pytest.mark.parametrize(("attempt", "says"), REFUSED, ids=[" ".join(s)[:30] for _, s in REFUSED])
def test_refused(attempt, says: list[str]) -> None:
    """Judged against the table: a ValueError with these words."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  its message is checked below
        attempt()
    assert all(words in str(caught.value) for words in says), str(caught.value)
