"""From the neuron's units (ms, mV, pF, nS, pA) to the chip's, and back.

- Time: the chip is 1000 times faster, 1 ms is 1 us.
- Voltage: `mV_per_lsb` for one LSB of the column ADC (CADC), `v_zero` the CADC value of 0 mV.
  One LSB is 4.5 mV on the chip [D].
- Capacitance: `pF_per_lsb` for one of its 63 LSB, which are 2.2 pF on the chip.
- Conductances follow: g / c_m times 1000; they are set by time constants, c_m / g.
- Weights: `pA_per_lsb` for one of the 63 LSB of a synapse. The current that this is on the chip depends
  on `i_synin_gm` and `synapse_dac_bias` and is [U]: it has to be measured there.

All but the last are invertible.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..checks import known
from ..inputs import SpikeTrain
from ..neuron import Neuron
from .ranges import C_MAX, CADC_MAX, RANGES, SPEEDUP, WEIGHT_MAX

VOLTS = (0.15, 20.0, 0.0045)
"""V on the chip = 0.15 + (CADC - 20) * 0.0045 [D] (calix cadc_calib_target.h:19-32)."""

POTENTIALS = {"v_leak": "leak", "v_reset": "reset", "v_th": "threshold"}
"""Parameters that are CADC values on the chip, and their rows of the table."""

SMALLEST = 0.02
"""mV. No CADC LSB stands for less: potentials that are all alike would choose any."""

EXACT = 1.5
"""A step up to so many times the finest one that fits is taken if it holds all values exactly."""


@dataclasses.dataclass(frozen=True)
class Mapping:
    """What one LSB stands for in the neuron's units. Hashable, so static under jit.

    `Mapping.of(neuron, inputs)` chooses all four; `dataclasses.replace` overrides one.
    """

    mV_per_lsb: float
    v_zero: int
    pF_per_lsb: float
    pA_per_lsb: float = 1.0

    def __post_init__(self):
        for name in ("mV_per_lsb", "pF_per_lsb", "pA_per_lsb"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}.")

    @classmethod
    def of(cls, neuron: Neuron, inputs: Sequence[Any] = ()) -> "Mapping":
        """The finest mapping that holds a neuron and the weights of its spike trains.

        Steps are numbers of 8 binary digits. The finest that fits is taken, or one up to 1.5 times
        as coarse on which all values lie exactly; so a quantised neuron finds its own values again.

        Raises ValueError under jit, where numbers are unknown, and for voltages that no map holds.
        """
        for leaf in jax.tree.leaves((neuron, [i for i in inputs if isinstance(i, SpikeTrain)])):
            if not known(leaf):
                raise ValueError(
                    "The mapping is chosen from numbers, which are unknown under jit: choose it "
                    "before, mapping = mc.bss2.Mapping.of(neuron, inputs), and give it."
                )
        values, low, high = _potentials(neuron)

        def zero(step: float) -> int | None:
            codes = np.round(values / step)
            least, most = np.max(low - codes), np.min(high - codes)
            return None if least > most else int((least + most) // 2)

        least = max((values.max() - values.min()) / CADC_MAX, SMALLEST)
        mV = finest(values, lambda step: zero(step) is not None, least, 1e3)
        v_zero = None if mV is None else zero(mV)
        if mV is None or v_zero is None:
            raise ValueError(
                f"No map holds potentials from {values.min():g} to {values.max():g} mV in the chip's "
                "ranges: bring v_leak, v_reset and v_th closer together."
            )
        weights = [np.abs(i.weights).ravel() for i in inputs if isinstance(i, SpikeTrain)]
        pF = _up_to(np.asarray(neuron.c_m, np.float64).ravel(), RANGES["capacitance"].lsb[1])
        return cls(mV, v_zero, pF, _up_to(np.concatenate([np.zeros(1), *weights]), WEIGHT_MAX))

    def cadc(self, v: Any) -> Any:
        """A voltage (mV) in LSB of the CADC, not rounded."""
        return v / self.mV_per_lsb + self.v_zero

    def millivolts(self, cadc: Any) -> Any:
        """The voltage (mV) of a CADC value."""
        return (cadc - self.v_zero) * self.mV_per_lsb

    def volts(self, v: Any) -> Any:
        """A voltage (mV) as that of the chip (V) [D]."""
        volts, lsb, volts_per_lsb = VOLTS
        return volts + (self.cadc(v) - lsb) * volts_per_lsb

    def seconds(self, t: Any) -> Any:
        """A time (ms) as that of the chip (s)."""
        return t * (1e-3 / SPEEDUP)

    def milliseconds(self, seconds: Any) -> Any:
        """A time of the chip (s) as that of the neuron (ms)."""
        return seconds * (1e3 * SPEEDUP)

    def farads(self, c_m: Any) -> Any:
        """A capacitance (pF) as that of the chip (F)."""
        return c_m / self.pF_per_lsb * (C_MAX * 1e-12 / RANGES["capacitance"].lsb[1])

    def siemens(self, g: Any) -> Any:
        """A conductance (nS) as that of the chip (S): g / c_m, times the speed-up, times C."""
        return self.farads(g) * (1e3 * SPEEDUP)

    def tau(self, c_m: Any, g: Any) -> Any:
        """The time constant c_m / g of a conductance, on the chip (s)."""
        return self.seconds(c_m / g)

    def __str__(self) -> str:
        top = self.millivolts(np.array([50, 220]))
        return (
            f"1 ms is 1 us; 1 CADC LSB is {self.mV_per_lsb:g} mV (50 to 220 are {top[0]:g} to "
            f"{top[1]:g} mV); 1 capacitance LSB is {self.pF_per_lsb:g} pF (63 are "
            f"{63 * self.pF_per_lsb:g} pF); 1 weight LSB is {self.pA_per_lsb:g} pA"
        )


def _potentials(neuron: Neuron) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All potentials (mV) of a neuron that are CADC values, with the ends of their ranges."""
    rows = []
    for mechanism in neuron.mechanisms:
        for name, key in POTENTIALS.items():
            ends = RANGES[key].hardware
            for v in np.ravel(np.asarray(getattr(mechanism, name, []), np.float64)):
                rows.append((v, *(ends or (0, 0))))
    if not rows:
        raise ValueError("The neuron has neither a leak nor a threshold to map voltages by.")
    values, low, high = np.array(rows).T
    return values, low, high


def _up_to(values: np.ndarray, code: int) -> float:
    """The finest step that holds positive values with codes up to `code`; 1 if there are none."""
    top = float(values.max())
    fits: Callable[[float], bool] = lambda step: np.round(top / step) <= code  # noqa: E731
    return finest(values, fits, top / code / 2, top) or 1.0


def finest(
    values: np.ndarray, fits: Callable[[float], bool], low: float, high: float
) -> float | None:
    """The finest step of 8 binary digits, from `low` to `high`, that fits the values: or one up to
    EXACT times as coarse of which they are multiples."""
    first = None
    for step in _steps(low, high):
        if first is None and fits(step):
            first = step
        if first is not None:
            if step > EXACT * first:
                break
            if fits(step) and np.all(values == np.round(values / step) * step):
                return step
    return first


def _steps(low: float, high: float):
    """Numbers of 8 binary digits from `low` to beyond `high`."""
    if not 0 < low < np.inf:
        return
    exponent = int(np.floor(np.log2(low))) - 7
    while 2.0**exponent * 128 <= high:
        yield from (digits * 2.0**exponent for digits in range(128, 256))
        exponent += 1
