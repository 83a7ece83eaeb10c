"""Protocols: what an experimenter does to a cell, and the numbers read from it, one a file.

Each is one call of `simulate`, is differentiable, and returns an object with numbers and a `plot`:

    step = mc.protocols.step_response(neuron, "soma", -10.0)
    step.input_resistance, step.sag_ratio, step.time_constant, step.attenuation("dist")
    step.plot()
"""

from .back_propagation import BackPropagation as BackPropagation
from .back_propagation import back_propagation as back_propagation
from .f_i import FICurve as FICurve
from .f_i import f_i_curve as f_i_curve
from .input_output import InputOutput as InputOutput
from .input_output import input_output as input_output
from .step import StepResponse as StepResponse
from .step import step_response as step_response
from .synaptic import SynapticAttenuation as SynapticAttenuation
from .synaptic import synaptic_attenuation as synaptic_attenuation
