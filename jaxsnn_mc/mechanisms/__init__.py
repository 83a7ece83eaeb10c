"""The mechanisms that come with the package, one family a file."""

from .adaptive import AdaptiveLIF as AdaptiveLIF
from .adex import AdEx as AdEx
from .cadif import CAdIF as CAdIF
from .channels import IM as IM
from .channels import Calcium as Calcium
from .channels import Channel as Channel
from .channels import Ih as Ih
from .channels import Potassium as Potassium
from .channels import Sodium as Sodium
from .dspikes import CalciumPulse as CalciumPulse
from .dspikes import CalciumSpike as CalciumSpike
from .dspikes import DendriticPulse as DendriticPulse
from .dspikes import DendriticSpike as DendriticSpike
from .dspikes import SodiumPulse as SodiumPulse
from .dspikes import SodiumSpike as SodiumSpike
from .leak import Leak as Leak
from .lif import LIF as LIF
from .receptors import AMPA as AMPA
from .receptors import GABA as GABA
from .receptors import NMDA as NMDA
from .receptors import Receptor as Receptor
from .synapse import CurrentSynapse as CurrentSynapse
