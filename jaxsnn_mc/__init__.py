"""Differentiable simulation of multi-compartment spiking neurons in JAX.

The data flows one way: compartments and couplings make a `Neuron`; mechanisms placed on it give
currents, states and events; a step method integrates the flow between events; `simulate` scans it
and returns a `Solution`. Units throughout: ms, mV, pF, nS, pA.
"""

from ._xla import set_xla_options

set_xla_options()  # before anything starts JAX's backend

from . import bss2 as bss2  # noqa: E402
from . import losses as losses  # noqa: E402
from . import passive as passive  # noqa: E402
from . import presets as presets  # noqa: E402
from . import protocols as protocols  # noqa: E402
from . import readouts as readouts  # noqa: E402
from . import units as units  # noqa: E402
from .fit import Fit as Fit  # noqa: E402
from .fit import fit as fit  # noqa: E402
from .fit import random_starts as random_starts  # noqa: E402
from .geometry import Cylinder as Cylinder  # noqa: E402
from .geometry import half_cylinders as half_cylinders  # noqa: E402
from .inputs import SampledCurrent as SampledCurrent  # noqa: E402
from .inputs import SpikeTrain as SpikeTrain  # noqa: E402
from .inputs import StepCurrent as StepCurrent  # noqa: E402
from .mechanism import Mechanism as Mechanism  # noqa: E402
from .mechanism import parameter as parameter  # noqa: E402
from .mechanisms import AMPA as AMPA  # noqa: E402
from .mechanisms import GABA as GABA  # noqa: E402
from .mechanisms import IM as IM  # noqa: E402
from .mechanisms import LIF as LIF  # noqa: E402
from .mechanisms import NMDA as NMDA  # noqa: E402
from .mechanisms import AdaptiveLIF as AdaptiveLIF  # noqa: E402
from .mechanisms import AdEx as AdEx  # noqa: E402
from .mechanisms import CAdIF as CAdIF  # noqa: E402
from .mechanisms import Calcium as Calcium  # noqa: E402
from .mechanisms import CalciumPulse as CalciumPulse  # noqa: E402
from .mechanisms import CalciumSpike as CalciumSpike  # noqa: E402
from .mechanisms import Channel as Channel  # noqa: E402
from .mechanisms import CurrentSynapse as CurrentSynapse  # noqa: E402
from .mechanisms import DendriticPulse as DendriticPulse  # noqa: E402
from .mechanisms import DendriticSpike as DendriticSpike  # noqa: E402
from .mechanisms import Ih as Ih  # noqa: E402
from .mechanisms import Leak as Leak  # noqa: E402
from .mechanisms import Potassium as Potassium  # noqa: E402
from .mechanisms import Receptor as Receptor  # noqa: E402
from .mechanisms import Sodium as Sodium  # noqa: E402
from .mechanisms import SodiumPulse as SodiumPulse  # noqa: E402
from .mechanisms import SodiumSpike as SodiumSpike  # noqa: E402
from .methods import ImplicitEuler as ImplicitEuler  # noqa: E402
from .methods import Splitting as Splitting  # noqa: E402
from .methods import StepMethod as StepMethod  # noqa: E402
from .morphology import Morphology as Morphology  # noqa: E402
from .morphology import d_lambda_rule as d_lambda_rule  # noqa: E402
from .morphology import read_morphology as read_morphology  # noqa: E402
from .neuron import Compartment as Compartment  # noqa: E402
from .neuron import Neuron as Neuron  # noqa: E402
from .neuron import NeuronState as NeuronState  # noqa: E402
from .noise import NoiseCurrent as NoiseCurrent  # noqa: E402
from .sampling import LogNormal as LogNormal  # noqa: E402
from .sampling import Normal as Normal  # noqa: E402
from .sampling import Uniform as Uniform  # noqa: E402
from .sampling import sample as sample  # noqa: E402
from .simulate import simulate as simulate  # noqa: E402
from .solution import Diagnostics as Diagnostics  # noqa: E402
from .solution import Solution as Solution  # noqa: E402
from .spike_rules import Exact as Exact  # noqa: E402
from .spike_rules import SpikeRule as SpikeRule  # noqa: E402
from .spike_rules import Surrogate as Surrogate  # noqa: E402
from .spike_rules import arctan as arctan  # noqa: E402
from .spike_rules import sigmoid as sigmoid  # noqa: E402
from .spike_rules import superspike as superspike  # noqa: E402
from .spike_rules import triangle as triangle  # noqa: E402

__version__ = "0.1.0"
