"""Writing a neuron for the BSS-2 software, and reading it back.

The file is JSON by `schema.json` beside this file. `apply_to_chip.txt`, a script for a machine that has
the BSS-2 software, takes it from there; nothing of that software is imported here.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..inputs import Input, SpikeTrain
from ..neuron import Neuron
from .check import check, needed
from .document import VERSION, document
from .limits import Chip
from .mapping import Mapping
from .place import Placement, place
from .quantize import quantize, quantize_inputs
from .settings import HELD
from .wiring import Circuit

FOLDER = Path(__file__).parent


class Target(NamedTuple):
    """What a file holds: a quantised neuron, its inputs, how they are mapped, and the circuits."""

    neuron: Neuron
    inputs: list[Any]
    mapping: Mapping
    placement: Placement
    chip: Chip


def export(
    neuron: Neuron,
    path: str | Path,
    inputs: Sequence[Input] = (),
    *,
    mapping: Mapping | None = None,
    placement: Placement | None = None,
    chip: Chip | None = None,
) -> Target:
    """Quantises a neuron and the weights of its spike trains and writes them to a JSON file.

    Returns what it wrote, which `load` gives back to the bit.

    Raises ValueError with all violations if it does not fit the chip (see `check`).
    """
    mapping = Mapping.of(neuron, inputs) if mapping is None else mapping
    chip = Chip() if chip is None else chip
    wrong = [v for v in check(neuron, (), mapping, placement, chip) if v.constraint == "mechanism"]
    if not wrong:
        neuron, inputs = quantize(neuron, mapping), quantize_inputs(inputs, mapping)
        wrong = check(neuron, inputs, mapping, placement, chip)
    if wrong:
        raise ValueError("The chip cannot hold this:\n" + "\n".join(map(str, wrong)))
    if placement is None:
        placement = place(neuron, needed(inputs, mapping))
    content = document(neuron, inputs, mapping, placement, chip)
    validate(content)
    Path(path).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return Target(neuron, list(inputs), mapping, placement, chip)


def load(path: str | Path) -> Target:
    """What `export` wrote.

    Raises ValueError for a file that does not keep to the schema, whose parts contradict each other
    (its settings are not those of its model), or of float64 numbers where JAX is set to float32.
    """
    try:
        content = json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from None
    validate(content, str(path))
    model = content["model"]
    if jnp.zeros(0, model["dtype"]).dtype != model["dtype"]:
        raise ValueError(f"{path} holds {model['dtype']} numbers: set jax_enable_x64 to read it.")
    array = lambda x: jnp.asarray(np.array(x, model["dtype"]))  # noqa: E731
    kinds = {kind.__name__: kind for kind in HELD}
    mechanisms = []
    for m in model["mechanisms"]:
        values = {name: array(value) for name, value in m["parameters"].items()}
        made: Any = kinds[m["type"]]
        mechanisms.append((made(**values, name=m["name"]), m["compartments"]))
    c_m, g, v_init = (array(model[key]) for key in ("c_m", "g", "v_init"))
    neuron = Neuron.from_arrays(c_m, model["couplings"], g, mechanisms, v_init, model["names"])
    inputs = [
        SpikeTrain(one["compartment"], array([np.inf if t is None else t for t in one["times"]]),
                   array(one["weights"]), one["synapse"])
        for one in model["inputs"]
    ]  # fmt: skip
    mapping = Mapping(**content["mapping"])
    placement = Placement(tuple(Circuit(**c) for c in content["morphology"]["circuits"]))
    chip = Chip(**{name: content["chip"][name] for name in Chip.__dataclass_fields__})
    again = document(neuron, inputs, mapping, placement, chip)
    for part, value in again.items():
        if content[part] != value:
            raise ValueError(
                f"{path} contradicts itself: its {part!r} is not that of its model. Change the "
                "neuron and export it again instead of editing the file."
            )
    return Target(neuron, inputs, mapping, placement, chip)


def validate(content: Any, path: str = "The document") -> None:
    """Raises ValueError for a document that does not keep to the schema: where, and what is wrong."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = json.loads((FOLDER / "schema.json").read_text())
    found = isinstance(content, dict) and content.get("version", VERSION)
    if found is not False and found != VERSION:
        raise ValueError(f"{path} is of version {found!r}; this package reads version {VERSION}.")
    error = best_match(Draft202012Validator(schema).iter_errors(content))
    if error is not None:
        where = "/".join(map(str, error.absolute_path)) or "the top"
        raise ValueError(f"{path} does not keep to the schema at {where}: {error.message:.300}")
