"""Our channels as citizens of Jaxley: the features of its own channel tests, and its 1.0.0 branch."""

import copy
import importlib.util
import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxley as jx
import jaxsnn_mc.channels
import numpy as np
import pytest
from channel_cells import drive
from jaxley.channels import HH, Channel, Leak
from jaxley.connect import connect
from jaxley.integrate import build_init_and_step_fn
from jaxley.synapses.synapse import Synapse
from jaxsnn_mc.channels import AdEx, Fire, spike_times

DT = 0.025
BOTH = pytest.mark.parametrize("channel", [AdEx, Fire])


def cell_with(channel, record: bool = True) -> jx.Cell:
    """Two branches of two leaky compartments; the channel in the first compartment."""
    cell = jx.Cell(jx.Branch(jx.Compartment(), ncomp=2), parents=[-1, 0])
    cell.insert(Leak())
    cell.branch(0).comp(0).insert(channel)
    cell.set("length", 50.0)
    if record:
        for state in ("v", f"{channel.name}_since"):
            cell.branch(0).comp(0).record(state, verbose=False)
    return cell


def kick(cell: jx.Cell, amplitude: float = 0.04, n_steps: int = 800):
    return cell.branch(0).comp(0).data_stimulate(jnp.full(n_steps, amplitude))


def times(cell: jx.Cell, **kwargs):
    rec = jx.integrate(cell, data_stimuli=kick(cell), delta_t=DT, **kwargs)
    return np.asarray(spike_times(rec[1], DT))


@BOTH
def test_set_and_record(channel) -> None:
    """Judged against Jaxley's table: all parameters and states are there under their names, as floats,
    can be set, and recorded where inserted; a compartment without the channel has none."""
    one = channel()
    cell = cell_with(one, record=False)
    for name, value in {**one.channel_params, **one.channel_states}.items():
        assert isinstance(value, float)
        cell.branch(0).set(name, 0.5)
        assert (cell.nodes[name][:1] == 0.5).all()
        assert np.isnan(cell.nodes[name][1:]).all()
        cell.branch(0).set(name, value)
    for state in [*one.channel_states, one.current_name]:
        cell.branch(0).comp(0).record(state, verbose=False)
    rec = jx.integrate(cell, data_stimuli=kick(cell, n_steps=40), delta_t=DT)
    assert rec.shape == (len(one.channel_states) + 1, 41)
    assert np.isfinite(rec).all()


@BOTH
def test_names(channel) -> None:
    """Judged against a run under the usual name: the same, with the name given at the start or
    changed; and two names in one cell keep their own parameters and states."""
    usual = times(cell_with(channel()))
    assert len(usual) >= 1
    for one in (channel(name="Own"), channel().change_name("Own")):
        assert {"Own_v_th", "Own_t_ref"} <= one.channel_params.keys()
        assert "Own_spikes" in one.channel_states
        np.testing.assert_array_equal(times(cell_with(one)), usual)
    cell = cell_with(channel())
    cell.branch(1).insert(channel().change_name("Other"))
    cell.branch(1).set("Other_v_th", 1000.0)
    cell.branch(1).comp(1).record("Other_spikes", verbose=False)
    cell.branch(0).comp(0).record(f"{channel.__name__}_spikes", verbose=False)
    _, _, other, one = jx.integrate(cell, data_stimuli=kick(cell), delta_t=DT)
    assert one.sum() >= 1
    assert other.sum() == 0


@BOTH
def test_delete(channel) -> None:
    """Judged against a cell that never had the channel: the same voltage, no column left."""
    bare = jx.Cell(jx.Branch(jx.Compartment(), ncomp=2), parents=[-1, 0])
    bare.insert(Leak())
    bare.set("length", 50.0)
    cell = cell_with(channel(), record=False)
    cell.delete(channel())
    assert not [name for name in cell.nodes.columns if "spikes" in name]
    v = []
    for one in (bare, cell):
        one.branch(0).comp(0).record("v", verbose=False)
        v.append(jx.integrate(one, data_stimuli=kick(one, n_steps=80), delta_t=DT))
    np.testing.assert_array_equal(*v)


def test_delete_beside_a_channel_with_a_shared_state() -> None:
    """The smallest example of a limit of Jaxley 0.14: to delete AdEx takes the state `Fire_spikes`
    from Fire as well. (`Module.delete` would have to keep the states of the remaining channels as
    it keeps their parameters.) Inserting Fire again brings it back."""
    cell = cell_with(AdEx(), record=False)
    cell.branch(1).insert(Fire())
    cell.delete(AdEx())
    assert "Fire_spikes" not in cell.nodes.columns
    cell.branch(1).insert(Fire())
    cell.branch(1).comp(0).record("Fire_spikes", verbose=False)
    assert np.isfinite(jx.integrate(cell, data_stimuli=kick(cell, n_steps=4), delta_t=DT)).all()


def test_groups_and_parts() -> None:
    """Judged against the parts: a channel inserted and set through a group is in its compartments."""
    cell = cell_with(Fire())
    cell.branch(1).add_to_group("tuft")
    cell.tuft.insert(AdEx())
    cell.tuft.set("AdEx_b", 2e-3)
    assert list(cell.nodes["AdEx"]) == [False, False, True, True]
    assert (cell.nodes["AdEx_b"][2:] == 2e-3).all()
    assert len(times(cell)) >= 1


@BOTH
def test_trainable_under_transformations(channel) -> None:
    """Judged against single runs: jit, vmap and grad of a trained parameter, and its value put
    in by data_set."""
    name = f"{channel.__name__}_v_reset"
    cell = cell_with(channel())
    cell.branch(0).comp(0).make_trainable(name, verbose=False)
    data = kick(cell)

    def mean(params, param_state=None):
        rec = jx.integrate(cell, params, param_state=param_state, data_stimuli=data, delta_t=DT)
        return rec[0].mean()

    resets = jnp.array([[-70.0], [-66.0]])
    batch = jax.jit(jax.vmap(lambda x: jax.value_and_grad(mean)([{name: x}])))(resets)
    single = jax.jit(jax.value_and_grad(mean))
    for k, reset in enumerate(resets):
        value, grad = single([{name: reset}])
        np.testing.assert_allclose(batch[0][k], value, rtol=1e-8)
        np.testing.assert_allclose(batch[1][0][name][k], grad[0][name], rtol=1e-6)
        assert grad[0][name] > 0
    cell.delete_trainables()
    param_state = cell.branch(0).comp(0).data_set(name, -66.0, None)
    np.testing.assert_allclose(mean([], param_state), batch[0][1], rtol=1e-8)


@BOTH
def test_copies(channel) -> None:
    """Judged against the original: pickled, deep-copied, and inserted through copies of a cell, the
    channel is the same."""
    assert pickle.loads(pickle.dumps(channel())).channel_params == channel().channel_params
    cell = cell_with(channel())
    copies = [pickle.loads(pickle.dumps(cell)), copy.deepcopy(cell)]
    usual = times(cell)
    for one in copies:
        np.testing.assert_array_equal(times(one), usual)


@BOTH
def test_restart(channel) -> None:
    """Judged against a run in one piece: restarted inside its refractory period from all_states, and
    stepped by build_init_and_step_fn, it is bitwise the same."""
    cell = cell_with(channel())
    cell.branch(0).set(f"{channel.__name__}_t_ref", 2.013)
    whole = jx.integrate(cell, data_stimuli=kick(cell), delta_t=DT)
    first = float(spike_times(whole[1], DT)[0])
    n = int(first / DT) + 20

    begin, states = jx.integrate(
        cell, data_stimuli=kick(cell, n_steps=n), delta_t=DT, return_states=True
    )
    rest = jx.integrate(
        cell, data_stimuli=kick(cell, n_steps=800 - n), delta_t=DT, all_states=states
    )
    np.testing.assert_array_equal(np.concatenate([begin, rest[:, 1:]], axis=1), whole)

    cell.branch(0).comp(0).stimulate(jnp.full(800, 0.04), verbose=False)
    cell.to_jax()
    init, step = build_init_and_step_fn(cell, voltage_solver="jaxley.dhs.cpu")
    states, params = init([], delta_t=DT)
    step, v = jax.jit(step), [states["v"][0]]
    for k in range(800):
        now = {key: value[:, k] for key, value in cell.externals.items()}
        states = step(states, params, now, cell.external_inds, delta_t=DT)
        v.append(states["v"][0])
    np.testing.assert_allclose(np.stack(v), whole[0], rtol=1e-12)


def test_init_states() -> None:
    """Judged against the steady state: after init_states w = a (v - v_leak), no spike is remembered,
    and the current at the fixed point of the voltage is zero."""
    cell = cell_with(AdEx())
    cell.branch(0).set("v", -60.0)
    cell.init_states(DT)
    nodes = cell.nodes
    np.testing.assert_allclose(nodes["AdEx_w"][:1], 4e-5 * 5.0)
    assert (nodes["AdEx_since"][:1] == 1e9).all()
    cell = cell_with(Fire())
    cell.branch(0).set("Fire_since", 0.0)
    cell.init_states(DT)
    assert (cell.nodes["Fire_since"][:1] == 1e9).all()


def test_clamp_and_voltage_solvers() -> None:
    """Judged against the usual run: another linear solver gives the same times; a clamped voltage
    above threshold keeps the channel firing, finitely."""
    cell = cell_with(AdEx())
    usual = times(cell)
    np.testing.assert_allclose(times(cell, voltage_solver="jax.sparse"), usual, rtol=1e-7)
    cell.branch(0).comp(0).clamp("v", jnp.full(80, -30.0), verbose=False)
    rec = jx.integrate(cell, data_stimuli=kick(cell, n_steps=80), delta_t=DT)
    assert np.isfinite(rec).all()


def test_memory_saving() -> None:
    """Judged against the usual gradient: that with checkpoint_lengths."""
    cell = cell_with(AdEx())
    cell.branch(0).comp(0).make_trainable("AdEx_g_leak", verbose=False)

    def mean(params, lengths):
        rec = jx.integrate(
            cell, params, data_stimuli=kick(cell), delta_t=DT, checkpoint_lengths=lengths
        )
        return rec[0].mean()

    grads = [jax.grad(mean)(cell.get_parameters(), lengths) for lengths in (None, [40, 20])]
    np.testing.assert_allclose(*[g[0]["AdEx_g_leak"] for g in grads], rtol=1e-9)


class Counter(Synapse):
    """Counts the steps in which it sees the presynaptic voltage above -45 mV."""

    def __init__(self, name=None):
        super().__init__(name)
        self.synapse_params = {}
        self.synapse_states = {"Counter_seen": 0.0}

    def update_states(self, states, delta_t, pre_voltage, post_voltage, params):
        return {"Counter_seen": states["Counter_seen"] + (pre_voltage >= -45.0)}

    def compute_current(self, states, pre_voltage, post_voltage, params):
        return jnp.zeros_like(post_voltage)


def test_network() -> None:
    """Judged against single cells: in a network each cell spikes as alone; and a synapse sees each
    spike, once (here with steps that never stop between -45 mV and the threshold)."""
    cells = [cell_with(Fire()), cell_with(AdEx())]
    alone = [times(cell) for cell in cells]
    for cell in cells:
        cell.delete_recordings()
    net = jx.Network(cells)
    net.cell(0).branch(0).set("Fire_v_th", -45.0)
    connect(net.cell(0).branch(0).comp(0), net.cell(1).branch(1).comp(0), Counter())
    net.cell(0).branch(0).comp(0).record("Fire_since", verbose=False)
    net.cell(1).branch(0).comp(0).record("AdEx_since", verbose=False)
    net.record("Counter_seen", verbose=False)
    net.cell(0).branch(0).set("Fire_v_th", -50.0)
    data = net.cell(0).branch(0).comp(0).data_stimulate(jnp.full(800, 0.04))
    data = net.cell(1).branch(0).comp(0).data_stimulate(jnp.full(800, 0.04), data_stimuli=data)
    since, other, seen = jx.integrate(net, data_stimuli=data, delta_t=DT)
    np.testing.assert_allclose(spike_times(since, DT), alone[0], rtol=1e-7)
    np.testing.assert_allclose(spike_times(other, DT), alone[1], rtol=1e-7)
    assert seen[-1] == 0  # -50 mV is below what the counter counts

    net.cell(0).branch(0).set("Fire_v_th", -45.0)
    since, _, seen = jx.integrate(net, data_stimuli=data, delta_t=DT)
    assert seen[-1] == len(spike_times(since, DT)) >= 1


def test_one_writer_of_the_voltage() -> None:
    """The smallest example of a limit of Jaxley 0.14: of two channels that write v in one compartment
    the last inserted wins. (To compose, it would have to hand each the voltage that the one before
    wrote.) With a channel that does not write, such as HH, order makes no difference."""
    spikes = []
    for order in ([HH(), Fire()], [Fire(), HH()]):
        branch = jx.Branch(jx.Compartment(), ncomp=1)
        for one in order:
            branch.insert(one)
        branch.set("Fire_v_th", 0.0)
        branch.record("Fire_since", verbose=False)
        rec = jx.integrate(branch, data_stimuli=drive(branch, 1e-2, 400), delta_t=DT)
        spikes.append(np.asarray(spike_times(rec[0], DT)))
    assert len(spikes[0]) >= 1
    np.testing.assert_allclose(*spikes, rtol=1e-9)


class Coming(Channel):
    """Jaxley's base class with the methods' signatures of its 1.0.0 branch."""

    def init_params(self, states, params, voltage, delta_t):
        return {}

    def init_state(self, states, params, voltage, delta_t):
        return {}

    def update_states(self, states, params, voltage, delta_t):
        raise NotImplementedError

    def compute_current(self, states, params, voltage, delta_t):
        raise NotImplementedError


@pytest.fixture
def coming(monkeypatch):
    """The package of our channels, imported afresh where Jaxley has the coming base class."""
    monkeypatch.setattr("jaxley.channels.Channel", Coming)
    path, name = Path(jaxsnn_mc.channels.__file__), "channels_of_1_0_0"
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    yield module
    for loaded in [key for key in sys.modules if key.startswith(name)]:
        sys.modules.pop(loaded)


@BOTH
def test_coming_interface(coming, channel) -> None:
    """Judged against jx.integrate with 0.14's interface: one compartment stepped by implicit Euler
    through 1.0.0's, vmapped, so that all values are scalars, to 1e-6 mV."""
    branch = jx.Branch(jx.Compartment(), ncomp=1)
    branch.insert(channel())
    branch.set("v", -60.0)
    branch.record("v", verbose=False)
    expected = jx.integrate(branch, data_stimuli=drive(branch, 3e-3, 400), delta_t=DT)[0]

    new = getattr(coming, channel.__name__)()
    params = {**new.channel_params, "capacitance": 1.0, "radius": 1.0, "length": 10.0}
    params = {key: jnp.full(2, value) for key, value in params.items()}
    states = {key: jnp.full(2, value) for key, value in new.channel_states.items()}
    v = jnp.full(2, -60.0)
    assert jax.vmap(lambda s, p, v: new.init_state(s, p, v, DT))(states, params, v)

    def one(states, params, v):
        states = {**states, **new.update_states(states, params, v, DT)}
        v = states.pop("v")
        i, i_above = (new.compute_current(states, params, v + d, DT) for d in (0.0, 1e-3))
        slope = (i_above - i) / 1e-3
        return states, v + (3e-3 - i) / (1e-3 / DT + slope)

    def step(carry, _):
        states, v = jax.vmap(one)(carry[0], params, carry[1])
        return (states, v), v

    _, found = jax.lax.scan(step, (states, v), length=400)
    assert (np.diff(found[:, 0]) < -15.0).any()  # there is a spike in it
    np.testing.assert_allclose(found[:, 0], expected[1:], rtol=0.0, atol=1e-6)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
