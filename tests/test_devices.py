"""A population over several devices, in a fresh process with four: the same as on one."""

import os
import subprocess
import sys

PROGRAM = """
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

jax.config.update("jax_num_cpu_devices", 4)
import jaxsnn_mc as mc

soma = mc.LIF(g_leak=10.0, v_leak=-65.0, v_th=-50.0, v_reset=-65.0, t_ref=2.0)
tuft = mc.Compartment(50.0, [mc.Leak(5.0, -65.0), mc.CurrentSynapse(5.0)])
neuron = mc.Neuron({"soma": mc.Compartment(100.0, [soma]), "tuft": tuft}, [("soma", "tuft", 5.0)])
train = mc.SpikeTrain("tuft", [1.0, 2.5, 7.3], 50.0)  # shared by all neurons


def run(amplitudes, mesh, g_leak=5.0):
    changed = neuron.set({"tuft.Leak.g_leak": g_leak})
    inputs = [mc.StepCurrent("soma", amplitudes), train]
    return mc.simulate(changed, inputs, t_max=20.0, dt=0.1, method=mc.Splitting(), mesh=mesh)


def same(a, b):
    return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


mesh = jax.make_mesh((4,), ("neurons",))
for size in (3, 130):
    amplitudes = jnp.linspace(150.0, 600.0, size)
    alone, divided = run(amplitudes, None), run(amplitudes, mesh)
    print("same", same(alone, divided), int(divided.counts.sum()) > size)
    print("devices", len(divided["soma"].sharding.device_set))

amplitudes = jnp.linspace(150.0, 600.0, 64)
alone = run(amplitudes, None)
square = jax.make_mesh((2, 2), ("hosts", "cores"), axis_types=(AxisType.Auto,) * 2)
print("same", same(alone, run(amplitudes, square)))
for axis_type in (AxisType.Auto, AxisType.Explicit):
    over = jax.make_mesh((4,), ("neurons",), axis_types=(axis_type,))
    lying = jax.device_put(amplitudes, NamedSharding(over, PartitionSpec("neurons")))
    print("same", same(alone, run(lying, over)))


def loss(g_leak, mesh):
    return jnp.mean(run(amplitudes, mesh, g_leak)["soma"] ** 2)


for derivative in (jax.grad(loss), jax.jacfwd(loss)):
    print("gradients", derivative(5.0, None), derivative(5.0, mesh))
"""


def test_as_on_one_device():
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**environment, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    same = [words[1:] for words in lines if words[0] == "same"]
    assert same == [["True", "True"]] * 2 + [["True"]] * 3
    assert [words[1] for words in lines if words[0] == "devices"] == ["4"] * 2
    gradients = [[float(x) for x in words[1:]] for words in lines if words[0] == "gradients"]
    for one, four in gradients:
        assert one != 0.0
        assert abs(four - one) < 1e-12 * abs(one)
    assert len(gradients) == 2
