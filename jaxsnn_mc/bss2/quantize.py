"""A neuron, and its input weights, on values that the chip can represent."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..inputs import Input, SpikeTrain
from ..mechanism import check
from ..neuron import Neuron
from .mapping import Mapping
from .ranges import RANGES
from .settings import Setting, capacitances, settings, weights


def quantize(neuron: Neuron, mapping: Mapping | None = None, sharpness: Any = None) -> Neuron:
    """The same neuron with each parameter on the nearest value that the chip can represent.

    Values beyond the chip's range saturate: on plain numbers that warns, and `report` says by how
    much. The derivative is straight through: `fit(..., project=lambda n: quantize(n, mapping))` trains
    for the chip, with a mapping chosen before. Quantising twice changes nothing, to the bit.

    **Arguments:** `mapping`, by default `Mapping.of(neuron)`; `sharpness`, for a smooth staircase
    with a true derivative instead, to be raised in training from about 1 to 20.

    Raises ValueError for a mechanism that the chip has not, or under jit without a mapping. Warns
    (RuntimeWarning) of what saturates.
    """
    mapping = Mapping.of(neuron) if mapping is None else mapping
    given = neuron
    for setting in _in_turn(neuron, mapping):
        values = setting.grid.snap(setting.get(given), sharpness)
        _warn(setting.grid, setting.get(given), setting.paths)
        neuron = eqx.tree_at(setting.get, neuron, values)
    for module in (neuron, *neuron.mechanisms):
        check(module)
    return neuron


def quantize_inputs(
    inputs: Sequence[Input], mapping: Mapping, sharpness: Any = None
) -> list[Input]:
    """The same inputs, the weights of spike trains on 6 bits with the sign of a row.

    Spike times and currents stay as they are: times are exact to 8 ns on the chip, 8 us here.
    """
    grid = weights(mapping)
    quantized: list[Input] = []
    for one in inputs:
        if isinstance(one, SpikeTrain):
            _warn(grid, one.weights, (f"the weights into {one.compartment}",))
            new = grid.snap(one.weights, sharpness)
            one = eqx.tree_at(lambda train: train.weights, one, new)
        quantized.append(one)
    return quantized


class Entry(NamedTuple):
    """A parameter: its value and the chip's, in its unit; the setting (`lsb`, `factor`), the distance
    to its neighbours (`step`), by how much it was `clipped` (0: it was not); `verified`: see RANGES."""

    path: str
    value: float
    quantized: float
    lsb: int
    factor: float
    step: float
    clipped: float
    verified: str

    @property
    def error(self) -> float:
        """The chip's value less the one wanted."""
        return self.quantized - self.value


class Report(NamedTuple):
    """What quantising does to each parameter of one neuron and to each weight."""

    mapping: Mapping
    entries: tuple[Entry, ...]

    @property
    def clipped(self) -> tuple[Entry, ...]:
        """The entries that saturate."""
        return tuple(entry for entry in self.entries if entry.clipped)

    def __getitem__(self, path: str) -> Entry:
        for entry in self.entries:
            if entry.path == path:
                return entry
        raise ValueError(f"There is no entry {path!r}; there are {[e.path for e in self.entries]}.")

    def __str__(self) -> str:
        lines = [str(self.mapping), f"{'':<28}{'value':>11}{'on chip':>11}{'error':>10}{'LSB':>7}"]
        for e in self.entries:
            note = f"  clipped by {e.clipped:.4g}" if e.clipped else ""
            note += "  [U]" if e.verified == "[U]" else ""
            lsb = f"{e.lsb}" if e.factor == 1 else f"{e.lsb}x{e.factor:g}"
            lines.append(
                f"{e.path:<28}{e.value:>11.5g}{e.quantized:>11.5g}{e.error:>10.2g}{lsb:>9}{note}"
            )
        return "\n".join(lines)


def report(neuron: Neuron, inputs: Sequence[Input] = (), mapping: Mapping | None = None) -> Report:
    """What quantising does to one neuron of plain numbers: see `Report`; print it.

    Raises ValueError for a population.
    """
    if neuron.c_m.ndim > 1 or any(x.ndim > 1 for x in jax.tree.leaves(neuron)):
        raise ValueError("report is for one neuron, got a population; take one of it.")
    mapping = Mapping.of(neuron, inputs) if mapping is None else mapping
    rows = [(s.paths, s.get(neuron), s.grid, s.key) for s in _in_turn(neuron, mapping)]
    for i, one in enumerate(inputs):
        if isinstance(one, SpikeTrain):
            paths = tuple(f"inputs[{i}].weights[{k}]" for k in range(one.weights.shape[-1]))
            rows.append((paths, one.weights, weights(mapping), "weight"))
    entries = []
    for paths, x, grid, key in rows:
        code, factor = grid.encode(x)
        off = x - grid.limit(x)
        off = np.where(np.abs(off) > 0.5 * grid.spacing(x), off, 0.0)
        columns = (x, grid.value(code, factor), code, factor, grid.spacing(x), off)
        for path, *numbers in zip(paths, *np.broadcast_arrays(*columns), strict=True):
            value, quantized, lsb, f, step, clipped = map(float, numbers)
            sure = RANGES[key].verified
            entries.append(Entry(path, value, quantized, int(lsb), f, step, clipped, sure))
    return Report(mapping, tuple(entries))


def _in_turn(neuron: Neuron, mapping: Mapping) -> list[Setting]:
    """All settings of a neuron; those of conductances by the capacitances on the chip."""
    first = capacitances(neuron, mapping)
    held = eqx.tree_at(first.get, neuron, first.grid.snap(jax.lax.stop_gradient(neuron.c_m)))
    return [first, *settings(held, mapping)]


def _warn(grid: Any, x: Any, paths: Sequence[str]) -> None:
    """Warns of plain numbers that saturate by more than rounding."""
    if any(isinstance(leaf, Tracer) for leaf in (x, grid.low, grid.high)):
        return
    with jax.ensure_compile_time_eval():
        over = np.asarray(jnp.abs(x - grid.limit(x)) > 0.5 * grid.spacing(x))
    if np.any(over):
        first = paths[int(np.argwhere(over)[0][-1]) % len(paths)]
        warnings.warn(
            f"{np.sum(over)} value(s) saturate at the end of the chip's range, first {first}; see "
            "mc.bss2.report(neuron, inputs).",
            RuntimeWarning,
            stacklevel=3,
        )
