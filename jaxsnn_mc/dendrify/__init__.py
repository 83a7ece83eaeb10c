"""Coming from Dendrify: its models as neurons, their noise as inputs."""

from .from_model import from_dendrify as from_dendrify
from .from_model import noise_currents as noise_currents
