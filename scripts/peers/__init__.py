"""The simulators that the benchmark compares with, all on the same neuron ("Table 1").

A 3-compartment AdEx neuron (soma with apical and basal dendrite), 280 pA into the soma. A peer is
`peer(n_neurons, n_steps, dt, dtype) -> Run`: it builds the simulation and returns what runs and
times it, or raises `Missing` where it cannot. Spike times are the start of the crossing step.
Units: ms, mV, pF, nS, pA, as they are coherent; wall-clock times are in s.
"""

from collections.abc import Callable

from .base import NEURON as NEURON
from .base import PASSIVE as PASSIVE
from .base import Missing as Missing
from .base import Run as Run
from .base import Table1 as Table1
from .brian import brian2_cpp, brian2_cython
from .c_kernel import c_kernel
from .jaxley_cells import jaxley_adex
from .jaxley_cells import jaxley_chain as jaxley_chain
from .torch_newton import torch_gradient as torch_gradient
from .torch_newton import torch_newton

PEERS: dict[str, Callable[..., Run]] = {
    "c_kernel": c_kernel,
    "brian2_cpp": brian2_cpp,
    "brian2_cython": brian2_cython,
    "torch_newton": torch_newton,
    "jaxley_adex": jaxley_adex,
}
