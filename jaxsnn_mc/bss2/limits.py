"""What each number of a neuron and of its inputs must keep to: constraints C12 to C16."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping as Dict
from collections.abc import Sequence

import numpy as np

from ..inputs import Input, SpikeTrain
from ..mechanisms import CurrentSynapse
from ..neuron import Neuron
from .mapping import POTENTIALS, Mapping
from .ranges import RANGES, WEIGHT_MAX
from .settings import FIRING, HELD, LEAKY, carriers, grid, missing
from .wiring import Violation


@dataclasses.dataclass(frozen=True)
class Chip:
    """What all neurons of a chip share (LSB): the strengths of excitatory and inhibitory inputs and the
    bias of the synapses' DAC. By default calix's."""

    i_synin_gm_E: int = 500
    i_synin_gm_I: int = 500
    synapse_dac_bias: int = 600


def mechanisms(neuron: Neuron) -> list[Violation]:
    """Mechanisms that a circuit has not, and several leaks in a compartment."""
    found, leaks, synapses = [], defaultdict(int), defaultdict(int)
    kinds = ", ".join(kind.__name__ for kind in HELD)
    for mechanism, where in zip(neuron.mechanisms, neuron.placements, strict=True):
        if (lacking := missing(mechanism)) is not None:
            found.append(
                Violation(
                    "mechanism",
                    f"the chip has no {lacking}",
                    repr(neuron.names[where[0]]),
                    kinds,
                    "Leave it out or replace it.",
                )
            )
        for i in where:
            leaks[neuron.names[i]] += isinstance(mechanism, LEAKY)
            synapses[neuron.names[i]] += isinstance(mechanism, CurrentSynapse)
    for name, number in leaks.items():
        if number > 1:
            found.append(
                Violation(
                    "mechanism",
                    f"{number} mechanisms have a leak",
                    repr(name),
                    "one leak a circuit",
                    "Add their conductances in one of them.",
                )
            )
        if synapses[name] > 1:
            found.append(
                Violation(
                    "mechanism",
                    f"{synapses[name]} synapses",
                    repr(name),
                    "one, which takes weights of both signs",
                    "Give all its trains to one.",
                )
            )
    return found


def capacitances(neuron: Neuron, mapping: Mapping) -> list[Violation]:
    lsb = np.asarray(neuron.c_m, np.float64) / mapping.pF_per_lsb
    top = RANGES["capacitance"].lsb[1]
    return [
        Violation(
            "C12",
            f"c_m is {x:.4g} LSB",
            repr(name),
            f"1 to {top} LSB (2.2 pF on the chip)",
            "Change c_m, or the mapping's pF_per_lsb.",
        )
        for name, x in zip(neuron.names, lsb, strict=True)
        if not 0.5 <= x < top + 0.5
    ]


def ranges(neuron: Neuron) -> list[Violation]:
    """C13: time constants (ms)."""
    found: list[Violation] = []

    def limit(key: str, t: float, where: str) -> None:
        low, high = RANGES[key].biological or (0.0, math.inf)
        if not low * (1 - 1e-6) <= t <= high * (1 + 1e-6):
            found.append(
                Violation(
                    "C13",
                    f"{key} is {t:.4g} ms",
                    where,
                    f"{low:g} to {high:g} ms",
                    "Change it, or quantize, which saturates.",
                )
            )

    leaky = set()
    c_m, g = np.asarray(neuron.c_m), np.asarray(neuron.g)
    with np.errstate(divide="ignore"):
        for mechanism, where in zip(neuron.mechanisms, neuron.placements, strict=True):
            for k, i in enumerate(where):
                name = f"{neuron.names[i]}.{mechanism.key}"
                if isinstance(mechanism, LEAKY):
                    leaky.add(i)
                    limit("tau_mem", float(c_m[i] / np.asarray(mechanism.g_leak)[..., k]), name)
                for key in ("tau_syn", "t_ref"):
                    if hasattr(mechanism, key):
                        limit(key, float(np.asarray(getattr(mechanism, key))[..., k]), name)
        for edge, i in enumerate(carriers(neuron)):
            limit("tau_icc", float(c_m[i] / g[edge]), "-".join(neuron.tree.ends(edge)))
    for i, name in enumerate(neuron.names):
        if i not in leaky:
            limit("tau_mem", math.inf, repr(name))
    return found


def potentials(neuron: Neuron, mapping: Mapping) -> list[Violation]:
    """C13: potentials, in CADC LSB."""
    found = []
    for mechanism, where in zip(neuron.mechanisms, neuron.placements, strict=True):
        for name, key in POTENTIALS.items():
            low, high = RANGES[key].hardware or (0.0, 0.0)
            for i, v in zip(
                where, np.ravel(np.asarray(getattr(mechanism, name, []))), strict=False
            ):
                if not low - 0.5 <= (lsb := mapping.cadc(float(v))) <= high + 0.5:
                    path = f"{neuron.names[i]}.{mechanism.key}.{name}"
                    found.append(
                        Violation(
                            "C13",
                            f"{v:g} mV is {lsb:.4g} CADC LSB",
                            path,
                            f"{low:g} to {high:g} LSB",
                            "Change it or the mapping.",
                        )
                    )
    return found


def clocks(neuron: Neuron, mapping: Mapping) -> list[Violation]:
    """C15: the refractory clocks, of which there are two."""
    scales = sorted(clock_scales(neuron, mapping))
    if len(scales) <= 2:
        return []
    return [
        Violation(
            "C15",
            f"t_ref need clocks of the scales {scales}",
            "the neuron",
            "two clocks, and at most 254 of their cycles",
            "Bring the t_ref closer together.",
        )
    ]


def clock_scales(neuron: Neuron, mapping: Mapping) -> set[int]:
    """The scales of the clocks that the refractory times need."""
    scales = set()
    for mechanism in neuron.mechanisms:
        if isinstance(mechanism, FIRING):
            t_ref = mechanism.t_ref
            _, factor = grid("t_ref", mapping, t_ref).encode(t_ref)
            scales |= {int(s) for s in np.ravel(np.log2(np.asarray(factor)))}
    return scales


def weights(inputs: Sequence[Input], mapping: Mapping) -> list[Violation]:
    """C16: weights; and inputs that are no spike trains."""
    found = []
    for i, one in enumerate(inputs):
        if not isinstance(one, SpikeTrain):
            found.append(
                Violation(
                    "input",
                    f"a {type(one).__name__}",
                    f"inputs[{i}]",
                    "spike trains",
                    "Drive the neuron by spikes.",
                )
            )
        else:
            lsb = np.asarray(one.weights, np.float64) / mapping.pA_per_lsb
            whole = np.abs(lsb - np.round(lsb)) <= 1e-4
            bad = ~whole | (np.abs(np.round(lsb)) > WEIGHT_MAX)
            if np.any(bad):
                found.append(
                    Violation(
                        "C16",
                        f"a weight is {np.ravel(lsb[bad])[0]:.5g} LSB",
                        f"inputs[{i}] into {one.compartment!r}",
                        f"whole, 0 to {WEIGHT_MAX}, with the sign of a row",
                        "quantize_inputs, or another pA_per_lsb.",
                    )
                )
    return found


def globals(chip: Chip | Dict[str, Chip] | None) -> list[Violation]:
    """C14: settings of the whole chip; C13: their ranges."""
    chips = [] if chip is None else [chip] if isinstance(chip, Chip) else list(chip.values())
    found = []
    for field in dataclasses.fields(Chip):
        values = {getattr(one, field.name) for one in chips}
        low, high = RANGES[field.name.removesuffix("_E").removesuffix("_I")].hardware or (0, 0)
        if len(values) > 1:
            found.append(
                Violation(
                    "C14",
                    f"{field.name} is {sorted(values)}",
                    "the chip",
                    "one value for all",
                    "Choose one, and scale the weights.",
                )
            )
        for value in sorted(values):
            if not low <= value <= high:
                found.append(
                    Violation(
                        "C13",
                        f"{field.name} is {value}",
                        "the chip",
                        f"{low:g} to {high:g} LSB",
                        "Choose one in the range.",
                    )
                )
    return found
