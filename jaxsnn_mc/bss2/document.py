"""A quantised neuron as a plain document for the BSS-2 software: what `export` writes as JSON.

Nothing here was tried on hardware. The settings of AdEx, which no calibration covers, are LSB by an
assumed mapping [U], and are marked `calibrated: false` beside the model's values.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..inputs import Input, SpikeTrain
from ..mechanism import Mechanism, parameters
from ..mechanisms import AdEx, CurrentSynapse
from ..neuron import Neuron
from .limits import Chip, clock_scales
from .mapping import Mapping
from .place import Placement
from .quantize import Entry, report
from .ranges import RANGES, SPEEDUP
from .settings import ASSUMED, FIRING, LEAKY, carriers
from .wiring import Circuit

VERSION = 1
SOURCES = {
    "calix": "e573081", "hxtorch": "3bfc7aa", "pynn-brainscales": "fd4f926", "grenade": "6ac13f3",
    "haldls": "838548a", "halco": "065e894", "brainscales2-demos": "11e31d8",
}  # fmt: skip
"""The commits that the software's names and units were read from."""

UNVERIFIED = (
    "[U] LSB of exponential and adaptation: the mapping is assumed, no calibration covers them.",
    "[U] i_bias_nmda: proportional to the conductance by assumption; calix finds it from tau_icc.",
    "[U] The current of a weight: it depends on i_synin_gm and synapse_dac_bias, measure it.",
    "[U] Nothing of this file was tried on hardware.",
)
IDLE_TAU_ICC = 10e-6
"""s. tau_icc is given for all circuits or none; this is for those whose resistor is off."""

SI = {"ms": ("s", 1e-3), "mV": ("V", 1e-3), "nS": ("S", 1e-9), "pA": ("A", 1e-12)}
UNCALIBRATED = {
    "v_exp": "exponential_v_exp", "delta_T": "exponential_i_bias", "tau_w": "adaptation_i_bias_tau",
    "a": "adaptation_i_bias_a", "b": "adaptation_i_bias_b",
}  # fmt: skip


def document(
    neuron: Neuron,
    inputs: Sequence[Input],
    mapping: Mapping,
    placement: Placement,
    chip: Chip,
) -> dict[str, Any]:
    """The document of a neuron and inputs that are quantised and break no constraint."""
    entries = {entry.path: entry for entry in report(neuron, inputs, mapping).entries}
    targets = {name: _Target(neuron, name, mapping, entries) for name in neuron.names}
    scales = sorted(clock_scales(neuron, mapping)) or [0]
    return {
        "format": "jaxsnn_mc.bss2",
        "version": VERSION,
        "meta": {
            "speedup": SPEEDUP,
            "calix_apis": ["ccalix-2026-05", "flat-pre-2026-05"],
            "sources": SOURCES,
            "unverified": list(UNVERIFIED),
        },
        "mapping": dataclasses.asdict(mapping),
        "chip": {
            **dataclasses.asdict(chip),
            "clock_scale_fast": scales[0],
            "clock_scale_slow": scales[-1],
            "clock_scale_adaptation_pulse": int(RANGES["clock_scale_pulse"].default or 0),
            "enable_clocks": True,
        },
        "morphology": _morphology(placement, targets),
        "calix": [t.calix(c, i, chip) for t in targets.values()
                  for i, c in enumerate(placement.of(t.name))],
        "grenade": {"parameters": _grenade(neuron, targets, chip)},
        "atomic_neuron_overrides": [
            t.overrides(c, i, scales) for t in targets.values()
            for i, c in enumerate(placement.of(t.name))
        ],
        "projections": _projections(inputs, mapping),
        "model": _model(neuron, inputs),
    }  # fmt: skip


class _Target:
    """The settings of a compartment."""

    def __init__(self, neuron: Neuron, name: str, mapping: Mapping, entries: dict[str, Entry]):
        self.name, self.mapping, self.entries = name, mapping, entries
        i = neuron.tree.index(name)
        here = [m for m, w in zip(neuron.mechanisms, neuron.placements, strict=True) if i in w]
        self.leak: Mechanism = next(m for m in here if isinstance(m, LEAKY))
        self.synapse = next((m for m in here if isinstance(m, CurrentSynapse)), None)
        self.fires = isinstance(self.leak, FIRING)
        self.c_m = entries[f"{name}.c_m"]
        self.coupling = next(
            (entries["-".join(neuron.tree.ends(edge))]
             for edge, k in enumerate(carriers(neuron)) if k == i),
            None,
        )  # fmt: skip

    def entry(self, parameter: str) -> Entry:
        return self.entries[f"{self.name}.{self.leak.key}.{parameter}"]

    def seconds(self, t: float) -> float:
        return float(self.mapping.seconds(t))

    @property
    def tau_mem(self) -> float:
        return self.seconds(self.c_m.quantized / self.entry("g_leak").quantized)

    @property
    def tau_syn(self) -> float:
        if self.synapse is None:
            return float(RANGES["tau_syn"].default or 0.0) * 1e-6
        return self.seconds(self.entries[f"{self.name}.{self.synapse.key}.tau_syn"].quantized)

    @property
    def tau_icc(self) -> float:
        if self.coupling is None:
            return IDLE_TAU_ICC
        return self.seconds(self.c_m.quantized / self.coupling.quantized)

    def calix(self, c: Circuit, index: int, chip: Chip) -> dict[str, Any]:
        """The calibration targets of a circuit, as both generations of the API take them."""
        potentials = {
            "leak": self.entry("v_leak").lsb,
            "reset": self.entry("v_reset").lsb if self.fires else int(RANGES["reset"].default or 0),
            "threshold": self.entry("v_th").lsb if self.fires
            else int(RANGES["threshold"].default or 0),
            "membrane_capacitance": self.c_m.lsb if index == 0 else 0,
        }  # fmt: skip
        times = {
            "tau_mem": self.tau_mem,
            "refractory_time": self.seconds(self.entry("t_ref").quantized) if self.fires
            else float(RANGES["t_ref"].default or 0.0) * 1e-6,
            "holdoff_time": 0.0,
        }  # fmt: skip
        tau_syn = {"excitatory": self.tau_syn, "inhibitory": self.tau_syn}
        strength = {"excitatory": chip.i_synin_gm_E, "inhibitory": chip.i_synin_gm_I}
        coba = {"e_coba_reversal": None, "e_coba_reference": None}
        bias = {"synapse_dac_bias": chip.synapse_dac_bias}
        icc = self.tau_icc if c.enable_conductance else IDLE_TAU_ICC
        new = {**potentials, **times, "tau_syn": tau_syn, "tau_icc": icc, **bias,
               "cuba_synin": {"i_synin_gm": strength}, "coba_synin": coba}  # fmt: skip
        old = {**potentials, **{key: t * 1e6 for key, t in times.items()},
               "tau_syn": {key: t * 1e6 for key, t in tau_syn.items()}, "tau_icc": icc * 1e6, **bias,
               "i_synin_gm": strength, **coba}  # fmt: skip
        return {"circuit": c.number, "compartment": self.name, "ccalix-2026-05": new,
                "flat-pre-2026-05": old}  # fmt: skip

    def overrides(self, c: Circuit, index: int, scales: Sequence[int]) -> dict[str, Any]:
        """What is set in the AtomicNeuron after calibration (keys of PyNN's HXNeuron)."""
        settings: dict[str, Any] = {"threshold_enable": self.fires and index == 0}
        uncalibrated = []
        if index > 0:  # one circuit carries the leak, as single_active_circuit has it
            settings |= {"leak_i_bias": 0, "leak_enable_division": True}
        elif self.fires:
            clock = int(np.log2(self.entry("t_ref").factor)) == scales[0]
            settings |= {"refractory_period_refractory_time": self.entry("t_ref").lsb + 1,
                         "refractory_period_input_clock": int(clock)}  # fmt: skip
        if index == 0 and isinstance(self.leak, AdEx):
            code, cadc, per_cadc = ASSUMED["v_exp"]
            settings |= {
                "exponential_enable": True, "adaptation_enable": True,
                "adaptation_enable_pulse": True,
                "adaptation_invert_a": self.entry("a").lsb < 0,
                "adaptation_invert_b": self.entry("b").lsb < 0,
                "adaptation_v_ref": int(RANGES["w_reference"].default or 0),
                "adaptation_v_leak": round(code + (self.entry("v_leak").lsb - cadc) * per_cadc),
            }  # fmt: skip
            for name, key in UNCALIBRATED.items():
                settings[key] = abs(self.entry(name).lsb)
                unit, scale = SI[parameters(self.leak)[name]["unit"]]
                model = {"name": name, "unit": unit, "value": self.entry(name).quantized * scale}
                lsb = {"key": key, "lsb": settings[key], "calibrated": False}
                uncalibrated.append({**lsb, "model": model})
        if c.enable_conductance and self.coupling is not None:
            settings |= {
                "multicompartment_i_bias_nmda": self.coupling.lsb,
                "multicompartment_enable_conductance_division": self.coupling.factor < 1,
                "multicompartment_enable_conductance_multiplication": self.coupling.factor > 1,
            }
        return {"circuit": c.number, "compartment": self.name, "settings": settings,
                "uncalibrated": uncalibrated}  # fmt: skip


def _morphology(placement: Placement, targets: dict[str, _Target]) -> dict[str, Any]:
    """Arguments of PyNN's create_mc_neuron, Compartment and SharedLineConnection; and the switches."""
    compartments = []
    for name, target in targets.items():
        mine, coupling = placement.of(name), target.coupling
        bias = None if coupling is None else coupling.lsb
        compartments.append({
            "label": name,
            "positions": [c.number for c in mine],
            "connect_shared_line": [c.number for c in mine if c.connect_soma],
            "connect_conductance": [[c.number, bias] for c in mine if c.enable_conductance],
        })  # fmt: skip
    lines = [{"start": s.start, "stop": s.stop, "row": s.row} for s in placement.lines]
    circuits = [c._asdict() for c in placement.circuits]
    return {"anchor": 0, "single_active_circuit": True, "compartments": compartments,
            "shared_lines": lines, "circuits": circuits}  # fmt: skip


def _grenade(neuron: Neuron, targets: dict[str, _Target], chip: Chip) -> dict[str, Any]:
    """grenade's flat keys; a "conductance" there is a time, tau_icc (s)."""
    flat: dict[str, Any] = {}
    for name, t in targets.items():
        flat |= {
            f"{name}.leak.v_leak": t.entry("v_leak").lsb,
            f"{name}.leak.tau_mem": t.tau_mem,
            f"{name}.cap.capacitance": float(t.mapping.farads(t.c_m.quantized)),
        }
        if t.fires:
            flat |= {
                f"{name}.fire.v_threshold": t.entry("v_th").lsb,
                f"{name}.fire.v_reset": t.entry("v_reset").lsb,
                f"{name}.fire.tau_ref": t.seconds(t.entry("t_ref").quantized),
                f"{name}.fire.holdoff_time": 0.0,
            }
        if t.synapse is not None:
            flat |= {
                f"{name}.syn.strength": chip.i_synin_gm_E,
                f"{name}.syn.time_constant": t.tau_syn,
                f"{name}.syn.global_strength": chip.synapse_dac_bias,
            }
    for edge in range(neuron.tree.size - 1):
        parent, child = neuron.tree.ends(edge)
        flat[f"connection.{parent}...{child}.conductance"] = targets[child].tau_icc
    return flat


def _projections(inputs: Sequence[Input], mapping: Mapping) -> list[dict[str, Any]]:
    """A projection for each distinct weight of a spike train: a synapse has one weight."""
    found = []
    for i, one in enumerate(inputs):
        if isinstance(one, SpikeTrain):
            times, weights = np.asarray(one.times), np.asarray(one.weights, np.float64)
            codes = np.round(weights / mapping.pA_per_lsb).astype(int)
            for code in np.unique(codes[codes != 0]):
                mine = times[(codes == code) & np.isfinite(times)]
                found.append({
                    "pre": f"input{i}_{code}", "post": one.compartment,
                    "location_selector": one.compartment,
                    "receptor_type": "excitatory" if code > 0 else "inhibitory",
                    "weight": int(code), "delay": 0,
                    "weight_pA": float(code * mapping.pA_per_lsb), "weight_scale": mapping.pA_per_lsb,
                    "spike_times": mapping.seconds(np.asarray(mine, np.float64)).tolist(),
                })  # fmt: skip
    return found


def _model(neuron: Neuron, inputs: Sequence[Input]) -> dict[str, Any]:
    """The neuron and its inputs in its own units, to be loaded again."""
    mechanisms = [
        {"type": type(m).__name__, "name": m.name, "compartments": list(where),
         "parameters": {name: np.asarray(getattr(m, name)).tolist() for name in parameters(m)}}
        for m, where in zip(neuron.mechanisms, neuron.placements, strict=True)
    ]  # fmt: skip
    return {
        "dtype": str(neuron.c_m.dtype),
        "names": list(neuron.names),
        "couplings": [
            [neuron.tree.index(name) for name in neuron.tree.ends(edge)]
            for edge in range(neuron.tree.size - 1)
        ],
        "c_m": np.asarray(neuron.c_m).tolist(),
        "g": np.asarray(neuron.g).tolist(),
        "v_init": np.asarray(neuron.v_init).tolist(),
        "mechanisms": mechanisms,
        "inputs": [
            {"compartment": one.compartment, "synapse": one.synapse,
             "times": [None if np.isinf(t) else float(t) for t in np.asarray(one.times)],
             "weights": np.asarray(one.weights).tolist()}
            for one in inputs if isinstance(one, SpikeTrain)
        ],
    }  # fmt: skip
