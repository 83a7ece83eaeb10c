"""Whether the chip can hold a neuron: the list of constraints C1 to C18, and what breaks them.

Sizes are here (C10, C11, C17), numbers in `limits.py` (C12 to C16), switches in `wiring.py`.
"""

import math
from collections import defaultdict
from collections.abc import Mapping as Dict
from collections.abc import Sequence

import jax
import numpy as np

from ..inputs import Input, SpikeTrain
from ..neuron import Neuron
from . import limits
from .limits import Chip
from .mapping import Mapping
from .place import Placement, Refusal, place
from .ranges import CIRCUITS_SYNAPSES, COLUMNS, MOST_COMPARTMENTS, ROWS, WEIGHT_MAX
from .wiring import Violation, wiring_violations


def check(
    neuron: Neuron,
    inputs: Sequence[Input] = (),
    mapping: Mapping | None = None,
    placement: Placement | None = None,
    chip: Chip | Dict[str, Chip] | None = None,
    madc: Sequence[str] = (),
) -> list[Violation]:
    """All constraints of the chip that one neuron of plain numbers breaks; empty if it fits.

    **Arguments:** `mapping`, by default `Mapping.of(neuron, inputs)`; `placement`, by default
    `place(neuron)`; `chip`, or one for each compartment, by name; `madc`, the compartments that the
    fast ADC is to record.

    Raises ValueError for a population.
    """
    if any(x.ndim > 1 for x in jax.tree.leaves(neuron)):
        raise ValueError("check is for one neuron, got a population; take one of it.")
    mapping = Mapping.of(neuron, inputs) if mapping is None else mapping
    found = limits.mechanisms(neuron)
    if found:
        return found
    needs = needed(inputs, mapping)
    if placement is None:
        try:
            placement = place(neuron, needs)
        except Refusal as refusal:
            found.append(
                Violation(
                    refusal.constraint,
                    str(refusal),
                    "the neuron",
                    f"what fits into two rows of {COLUMNS} circuits",
                    "Join compartments.",
                )
            )
    else:
        ends = [neuron.tree.ends(edge) for edge in range(neuron.tree.size - 1)]
        found += _sizes(placement) + wiring_violations(placement.circuits, ends)
        found += _resources(placement, needs)
    found += (
        limits.capacitances(neuron, mapping)
        + limits.ranges(neuron)
        + limits.potentials(neuron, mapping)
    )
    found += limits.clocks(neuron, mapping) + limits.weights(inputs, mapping) + limits.globals(chip)
    return found + ([] if placement is None else _readout(placement, madc))


def needed(inputs: Sequence[Input], mapping: Mapping) -> dict[str, int]:
    """How many circuits each compartment needs for its synapses: one for 256 of a sign (C11).

    Each distinct weight of a spike train is a synapse; one above 63 LSB is several.
    """
    synapses: dict[tuple[str, int], int] = defaultdict(int)
    for one in inputs:
        if isinstance(one, SpikeTrain):
            codes = np.unique(np.round(np.asarray(one.weights, np.float64) / mapping.pA_per_lsb))
            for code in codes[codes != 0]:
                number = math.ceil(abs(code) / WEIGHT_MAX)
                synapses[one.compartment, int(np.sign(code))] += number
    needs: dict[str, int] = {}
    for (name, _), number in synapses.items():
        needs[name] = max(needs.get(name, 1), math.ceil(number / CIRCUITS_SYNAPSES))
    return needs


def _sizes(placement: Placement) -> list[Violation]:
    names = {c.compartment for c in placement.circuits} - {None}
    used = sum(c.compartment is not None for c in placement.circuits)
    found = []
    for number, most, what in (
        (used, ROWS * COLUMNS, "circuits"),
        (len(names), MOST_COMPARTMENTS, "compartments"),
    ):
        if number > most:
            found.append(
                Violation(
                    "C10", f"{number} {what}", "the neuron", f"{most} at most", "Join compartments."
                )
            )
    return found


def _resources(placement: Placement, needs: Dict[str, int]) -> list[Violation]:
    return [
        Violation(
            "C11",
            f"{have} circuits for synapses that need {number}",
            repr(name),
            f"{CIRCUITS_SYNAPSES} synapses of a sign for each circuit",
            "Give the compartment more circuits or fewer inputs.",
        )
        for name, number in needs.items()
        if (have := len(placement.of(name))) < number
    ]


def _readout(placement: Placement, madc: Sequence[str]) -> list[Violation]:
    """C17: the fast ADC has one channel for even columns and one for odd ones."""
    sides = [{c.column % 2 for c in placement.of(name)} for name in madc]
    fits = len(sides) < 2 or (len(sides) == 2 and any(a != b for a in sides[0] for b in sides[1]))
    if fits:
        return []
    return [
        Violation(
            "C17",
            f"{list(madc)} are on columns that are even (0) or odd (1): {sides}",
            "the fast ADC",
            "two traces, of an even and an odd column",
            "Record fewer, or by the column ADC.",
        )
    ]
