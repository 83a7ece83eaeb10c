"""What the tests of training share: a small neuron, losses that need no simulation, a quiet fit."""

import jax
import numpy as np
import optax

import jaxsnn_mc as mc
from jaxsnn_mc.fit import Fit, fit

TAU_W, G, LEAK = "soma.AdEx.tau_w", "soma-dendrite", "dendrite.Leak.g_leak"
NAMES = [LEAK, G, TAU_W]
TARGET = {TAU_W: 80.0, G: 7.0, LEAK: 1.5}
ADAM = optax.adam(0.3)


def small() -> mc.Neuron:
    return mc.Neuron(
        {
            "soma": mc.Compartment(100.0, [mc.AdEx(10.0)]),
            "dendrite": mc.Compartment(50.0, [mc.Leak(2.0, -65.0)]),
        },
        [("soma", "dendrite", 5.0)],
    )


def distance(neuron: mc.Neuron) -> jax.Array:
    """A loss without a simulation: quick, and lowest at TARGET."""
    return sum(((neuron.get(name) / value - 1.0) ** 2 for name, value in TARGET.items()), 0.0)


def distance_to(neuron: mc.Neuron, tau_w: jax.Array) -> jax.Array:
    return (neuron.get(TAU_W) / tau_w - 1.0) ** 2


def quiet(neuron, loss=distance, trainable=NAMES, optimizer=ADAM, steps=20, **kwargs) -> Fit:
    return fit(
        neuron, loss, trainable, optimizer=optimizer, steps=steps, **({"progress": False} | kwargs)
    )


def assert_same(a: Fit, b: Fit) -> None:
    """Equal to the bit."""
    assert jax.tree.all(
        jax.tree.map(
            np.array_equal, (a.neuron, a.best, a.best_loss), (b.neuron, b.best, b.best_loss)
        )
    )
    assert np.array_equal(a.losses, b.losses, equal_nan=True)
    assert all(np.array_equal(a.history[name], b.history[name]) for name in a.history)
    assert (a.best_step, a.stopped) == (b.best_step, b.stopped)
