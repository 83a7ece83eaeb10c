"""Small neurons, inputs and runs, to be made wrong in one place (tests/test_bad_input.py)."""

from functools import cache

import numpy as np

import jaxsnn_mc as mc


def leaky(c_m=100.0, g_leak=5.0, v_leak=-65.0, **kwargs) -> mc.Compartment:
    return mc.Compartment(c_m, [mc.Leak(g_leak=g_leak, v_leak=v_leak)], **kwargs)


def spiking(**kwargs) -> mc.Compartment:
    mechanisms = [mc.AdEx(**{"g_leak": 5.0, **kwargs}), mc.CurrentSynapse()]
    return mc.Compartment(100.0, mechanisms)


@cache
def pair() -> mc.Neuron:
    """A spiking soma with a synapse and a passive dendrite, which are coupled, and a tip."""
    compartments = {"soma": spiking(), "dend": leaky(), "tip": leaky()}
    return mc.Neuron(compartments, [("soma", "dend", 10.0), ("dend", "tip", 10.0)])


@cache
def twins() -> mc.Neuron:
    """Two spiking compartments."""
    return mc.Neuron({"left": spiking(), "right": spiking()}, [("left", "right", 1.0)])


def tree(*couplings, **compartments) -> mc.Neuron:
    """A neuron of soma, dend and tip, some replaced, with these couplings."""
    three = {"soma": leaky(), "dend": leaky(), "tip": leaky()}
    return mc.Neuron({**three, **compartments}, couplings)


def single(compartment, name: str = "soma") -> mc.Neuron:
    return mc.Neuron({name: compartment})


def arrays(**kwargs) -> mc.Neuron:
    """A chain of three from arrays, some replaced."""
    leak = mc.Leak(g_leak=5.0, v_leak=-65.0)
    chain = {"c_m": [100.0] * 3, "couplings": [(0, 1), (1, 2)], "g": 10.0, "mechanisms": [leak]}
    return mc.Neuron.from_arrays(**{**chain, **kwargs})


def run(*inputs, neuron: mc.Neuron | None = None, **kwargs) -> mc.Solution:
    """A run of ten steps, some settings replaced."""
    return mc.simulate(neuron or pair(), inputs, **{"t_max": 1.0, "dt": 0.1, **kwargs})


@cache
def solution(record: tuple[str, ...] | None = ("soma",)) -> mc.Solution:
    return run(record=record)


@cache
def population() -> mc.Solution:
    return run(mc.StepCurrent("soma", [0.0, 1.0]))


def step(amplitude=1.0, at: str = "soma", **kwargs) -> mc.StepCurrent:
    return mc.StepCurrent(at, amplitude, **kwargs)


def sampled(n: int = 10, dt: float = 0.1, at: str = "soma") -> mc.SampledCurrent:
    return mc.SampledCurrent(at, np.zeros(n), dt)


def spikes(times=(0.5,), weights=1.0, at: str = "soma", **kwargs) -> mc.SpikeTrain:
    return mc.SpikeTrain(at, times, weights, **kwargs)


def leak(**kwargs) -> mc.Leak:
    return mc.Leak(**{"g_leak": 5.0, "v_leak": -65.0, **kwargs})
