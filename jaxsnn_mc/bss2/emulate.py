"""Emulated chips: a neuron as a chip with mismatch and noise would have it. No hardware is involved.

The figures are those of BSS-2's public software and papers where there are any, otherwise proposals,
marked [U]; none was measured for this package.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..inputs import Input, SpikeTrain
from ..neuron import Neuron
from .mapping import Mapping
from .place import Placement, place
from .quantize import quantize, quantize_inputs
from .ranges import WEIGHT_MAX
from .settings import settings

LARGEST = 3.0
"""Deviations are drawn from a normal distribution up to so many of its standard deviations."""


class Figures(NamedTuple):
    """Standard deviations of a chip's settings. `Figures(uncalibrated=0.3)` changes one.

    - `leak`, `reset`, `threshold` (CADC LSB), after calibration: proposals below the 4.1 LSB of calix's
      acceptance test of the threshold [D] (test_neuron_threshold_calibration.py:228-272).
    - `tau_mem`, `tau_syn` (relative): a proposal; calix's tests allow 0.45 and 0.2 of what is
      uncalibrated (test_neuron_distribution.py:204-340).
    - `tau_icc` (relative) [U]: a proposal; calix halves it at least (test_multicompartment.py:137).
    - `capacitance` (relative), a proposal; `passive` (LSB), what each further circuit of a compartment
      adds [D] (calix intrinsic_capacitance.py:1-15, test_capacitance_measurement.py:160-312).
    - `gain` (relative) [U], of a compartment's synaptic input; `weight` (LSB), the half width of a
      uniform error of each weight's value [U].
    - `uncalibrated` (relative) [U], of the AdEx terms: a proposal of 20 to 30 %, in the range that
      Cramer et al. (2022, PNAS) trained through. For v_exp it is relative to v_exp - v_leak.
    - `trial` (CADC LSB), of leak and threshold from trial to trial: calix's target for the read noise
      is 1.2 LSB, hagen's mock has 2 LSB; noise within a trial is not emulated.
    """

    leak: float = 1.0
    reset: float = 1.0
    threshold: float = 2.0
    tau_mem: float = 0.05
    tau_syn: float = 0.05
    tau_icc: float = 0.10
    capacitance: float = 0.02
    passive: float = 3.0
    gain: float = 0.10
    weight: float = 0.5
    uncalibrated: float = 0.25
    trial: float = 1.5


def emulate(
    neuron: Neuron,
    key: Array,
    mapping: Mapping | None = None,
    *,
    figures: Figures = Figures(),
    trial: Array | None = None,
    placement: Placement | None = None,
) -> Neuron:
    """The neuron as an emulated chip has it: quantised, then off by that chip's mismatch.

    The key is the chip: the same key gives the same deviations, whatever the neuron's numbers, and
    `jax.vmap(lambda key: emulate(neuron, key, mapping))(keys)` a population of chips. The derivative is
    straight through the quantisation, and exact through the deviations.

    **Arguments:** `mapping`, by default `Mapping.of(neuron)`; `trial`, a key for the noise of one
    trial, by default none; `placement`, by default `place(neuron)`, for each compartment's circuits.
    """
    mapping = Mapping.of(neuron) if mapping is None else mapping
    placement = place(neuron) if placement is None else placement
    neuron = held = quantize(neuron, mapping)
    further = np.array([len(placement.of(name)) - 1 for name in neuron.names])
    c_m = held.c_m * (1.0 + figures.capacitance * _draw(key, 0, held.c_m))
    c_m = c_m + (further * figures.passive * mapping.pF_per_lsb).astype(c_m.dtype)
    neuron = eqx.tree_at(lambda n: n.c_m, neuron, c_m)
    for i, setting in enumerate(settings(held, mapping), 1):
        if not setting.paths[0].endswith(".v_init"):
            x = setting.get(held)
            off = _draw(key, i, x)
            off_in_trial = jnp.zeros_like(x) if trial is None else _draw(trial, i, x)
            new = _deviate(setting, held, x, off, off_in_trial, mapping, figures)
            neuron = eqx.tree_at(setting.get, neuron, new)
    return neuron


def emulate_inputs(
    inputs: Sequence[Input], key: Array, mapping: Mapping, *, figures: Figures = Figures()
) -> list[Input]:
    """The inputs as the same emulated chip has them: quantised weights, each value of which is off by
    a fixed error, times the gain of the synaptic input of their compartment."""
    inputs, found = quantize_inputs(inputs, mapping), []
    names = list(dict.fromkeys(one.compartment for one in inputs))
    for i, one in enumerate(inputs):
        if isinstance(one, SpikeTrain):
            w = one.weights
            gains, errors = jax.random.split(jax.random.fold_in(key, 10_000))
            place = names.index(one.compartment)
            gain = 1.0 + figures.gain * _draw(gains, place, jnp.zeros((), w.dtype))
            table = jax.random.uniform(
                jax.random.fold_in(errors, i), (2 * WEIGHT_MAX + 1,), w.dtype, -1.0, 1.0
            )
            code = jnp.round(jax.lax.stop_gradient(w) / mapping.pA_per_lsb)
            error = table[code.astype(jnp.int32) + WEIGHT_MAX] * figures.weight * mapping.pA_per_lsb
            new = gain * (w + jnp.where(code == 0, 0.0, error))
            one = eqx.tree_at(lambda train: train.weights, one, new)
        found.append(one)
    return found


def _deviate(
    setting: Any,
    held: Neuron,
    x: Array,
    off: Array,
    trial: Array,
    mapping: Mapping,
    figures: Figures,
) -> Array:
    """The value x off by `off` standard deviations, and by `trial` in this trial."""
    lsb = mapping.mV_per_lsb
    match setting.key:
        case "leak" | "threshold":
            return x + lsb * (getattr(figures, setting.key) * off + figures.trial * trial)
        case "reset":
            return x + lsb * figures.reset * off
        case "tau_mem" | "tau_icc":
            return x / (1.0 + getattr(figures, setting.key) * off)
        case "tau_syn":
            return x * (1.0 + figures.tau_syn * off)
        case "v_exp":
            paths = [path.removesuffix("v_exp") + "v_leak" for path in setting.paths]
            v_leak = jnp.stack([held.get(path) for path in paths], axis=-1)
            return x + (x - v_leak) * figures.uncalibrated * off
        case "t_ref":
            return x
    return x * (1.0 + figures.uncalibrated * off)


def _draw(key: Array, i: int, like: Array) -> Array:
    """Normal numbers for the i-th setting of a chip."""
    key = jax.random.fold_in(key, i)
    return jax.random.truncated_normal(key, -LARGEST, LARGEST, like.shape, like.dtype)
