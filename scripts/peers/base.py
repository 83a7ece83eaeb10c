"""What all peers share: the neuron, and what a built simulation is. Units: ms, mV, pF, nS, pA."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


class Missing(Exception):
    """This peer cannot run here; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Run:
    """A simulation that is built and ready to be timed."""

    name: str
    call: Callable[[], float]  # simulate once -> s, the simulation alone
    setup_s: float  # build, trace and compile (s)
    spikes: np.ndarray  # of neuron 0 (ms)
    parts: dict[str, float] = field(default_factory=dict)  # what the time went into (s)
    voltage: float = math.nan  # of the recorded compartment at the end (mV)
    note: str = ""
    gradient: np.ndarray | None = None  # by NEURON's numbers but t_ref, in their order
    error: float = math.nan  # where the run knows it itself


@dataclass(frozen=True)
class Table1:
    """The neuron; per compartment: soma, apical, basal."""

    c_m: tuple[float, float, float] = (125.0, 100.0, 50.0)
    g_leak: tuple[float, float, float] = (10.0, 2.0, 5.0)
    g_axial: tuple[float, float] = (5.0, 5.0)  # soma-apical, soma-basal
    v_leak: float = -65.0
    v_exp: float = -50.0
    delta_T: float = 2.0
    a: float = 4.0
    tau_w: float = 100.0
    b: float = 100.0
    v_th: float = -40.0
    v_reset: float = -70.0
    t_ref: float = 5.0
    current: float = 280.0


NEURON = Table1()


@dataclass(frozen=True)
class Passive:
    """A passive tree, the same in all its compartments; the current flows into compartment 0."""

    c_m: float = 10.0
    g_leak: float = 1.0
    g_axial: float = 30.0
    v_leak: float = -65.0
    current: float = 100.0


PASSIVE = Passive()
