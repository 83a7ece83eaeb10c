"""Channels for Jaxley: `cell.insert(AdEx())`. Their physics is the solver's own."""

from .adex import AdEx as AdEx
from .fire import Fire as Fire
from .recording import spike_times as spike_times
