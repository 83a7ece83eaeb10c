"""Bridges to Jaxley: its channels as mechanisms, a neuron as a `jx.Cell`, and a cell as a neuron."""

from .channel import JaxleyChannel as JaxleyChannel
