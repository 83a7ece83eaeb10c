"""The mechanisms that come with the package, one family a file."""

from .adex import AdEx as AdEx
from .leak import Leak as Leak
from .lif import LIF as LIF
from .synapse import CurrentSynapse as CurrentSynapse
