"""The BrainScaleS-2 target: what the chip can hold, emulated chips, and files for its software.

`Mapping` relates the neuron's units to the chip's; `quantize` puts a neuron on values that it can hold;
`check` lists what it cannot; `place` lays out the compartments; `export` and `load` write and read;
`emulate` and `in_the_loop` are for training. There was no hardware: what is emulated is called so, and
what nobody could verify is marked [U].
"""

from .check import check as check
from .check import needed as needed
from .emulate import Figures as Figures
from .emulate import emulate as emulate
from .emulate import emulate_inputs as emulate_inputs
from .export import Target as Target
from .export import export as export
from .export import load as load
from .limits import Chip as Chip
from .loop import Backend as Backend
from .loop import EmulatedChip as EmulatedChip
from .loop import External as External
from .loop import in_the_loop as in_the_loop
from .loop import substitute as substitute
from .mapping import Mapping as Mapping
from .place import Placement as Placement
from .place import Refusal as Refusal
from .place import place as place
from .quantize import Report as Report
from .quantize import quantize as quantize
from .quantize import quantize_inputs as quantize_inputs
from .quantize import report as report
from .ranges import RANGES as RANGES
from .ranges import markdown as markdown
from .wiring import Circuit as Circuit
from .wiring import Violation as Violation
