"""Bridges to Jaxley: its channels as mechanisms, a neuron as a `jx.Cell`, and a cell as a neuron."""

from .channel import JaxleyChannel as JaxleyChannel
from .from_cell import from_jaxley as from_jaxley
from .to_cell import to_jaxley as to_jaxley
