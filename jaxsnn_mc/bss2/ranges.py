"""What BrainScaleS-2 can hold: one table of its parameters, and the same as Markdown.

Read from the public repositories of the BSS-2 software (calix e573081, haldls 838548a, halco 065e894,
hxtorch 3bfc7aa, pynn-brainscales fd4f926, grenade 6ac13f3, brainscales2-demos 11e31d8), not measured:
there was no hardware. `verified` says how sure an entry is:

- "read": the numbers stand in the source named;
- "[D]": derived from such numbers;
- "[U]": unverified. Nothing public says how its LSB map to a physical value: a mapping is *assumed*.
"""

from typing import NamedTuple

SPEEDUP = 1000.0
"""Biological over hardware time (brainscales2-demos cns_01_lif_parameters.rst:65)."""

CAPMEM_MAX = 1022
"""The largest value of an analog memory cell, 10 bits; 1023 switches its refresh off (haldls
capmem.h:117-131)."""

CADC_MAX = 255
"""The largest value of the column ADC, 8 bits (haldls cadc.h:310)."""

C_MAX = 2.2
"""pF. The membrane capacitance at 63 LSB (grenade constants.h:8). haldls says 2.3; 2.4 is [U]."""

WEIGHT_MAX = 63
"""The largest weight of a synapse, 6 bits (haldls synapse.h:299-305). Its sign is its row's."""

CIRCUITS_SYNAPSES = 256
"""Synapses in the column of a circuit, one for each row (halco synapse.h:48)."""

COLUMNS, ROWS = 128, 2
"""Neuron circuits that a neuron may use: a hemisphere (halco neuron.h:425-431)."""

MOST_COMPARTMENTS = 255
"""Compartments of a neuron (halco neuron.h:476-487)."""

CLOCK = 250.0
"""MHz. Refractory clocks run at this / 2^(scale + 1), with a scale of 0 to 15 (haldls pll.cpp)."""

CYCLES = (1, 254)
"""Cycles of a refractory clock that a refractory time may last: the counter, of 8 bits, is one more
(calix refractory_period.py:246-249)."""


class Range(NamedTuple):
    """A parameter of the chip, by its `name` here (a mechanism's parameter, or "-").

    `lsb`: the digital range. `hardware`: the range that can be calibrated, in `unit`; None where
    there is no calibration. `biological`: the same in `unit_biological`, 1000 times slower. `default`
    is calix's, in the hardware's unit. `source`: where the numbers stand.
    """

    name: str
    calix: str
    lola: str
    pynn: str
    grenade: str
    bits: int
    lsb: tuple[int, int]
    hardware: tuple[float, float] | None
    unit: str
    default: float | None
    source: str
    verified: str

    @property
    def biological(self) -> tuple[float, float] | None:
        """The range of a time in ms; of anything else, None (it depends on the mapping)."""
        if self.hardware is None or self.unit != "us":
            return None
        low, high = (end * SPEEDUP / 1e3 for end in self.hardware)
        return low, high


_CALIX = "calix spiking/neuron.py:181-243"
_CELLS = "haldls lola/vx/v3/neuron.h; demos snn_adex_helpers.py:147-159"
_ICC = "calix multicomp/neuron_icc_bias.py"
_CAPMEM, _CADC = (0, CAPMEM_MAX), (0, CADC_MAX)

RANGES: dict[str, Range] = {
    key: Range(*row)
    for key, row in {
        # name, calix, lola, PyNN, grenade, bits, LSB, calibrated range, unit, default, source, sure
        "leak": ("v_leak", "leak", "leak.v_leak", "v_rest", "leak.v_leak",
                 8, _CADC, (50, 160), "CADC", 80, _CALIX, "read"),
        "reset": ("v_reset", "reset", "reset.v_reset", "v_reset", "fire.v_reset",
                  8, _CADC, (50, 160), "CADC", 70, _CALIX, "read"),
        "threshold": ("v_th", "threshold", "threshold.v_threshold", "v_thresh", "fire.v_threshold",
                      8, _CADC, (50, 220), "CADC", 125, _CALIX, "read"),
        "capacitance": ("c_m", "membrane_capacitance", "membrane_capacitance.capacitance", "cm",
                        "cap.capacitance", 6, (0, 63), (0, 63), "LSB", 63, _CALIX, "read"),
        "tau_mem": ("g_leak (c_m / g_leak)", "tau_mem", "leak.i_bias", "tau_m", "leak.tau_mem",
                    10, _CAPMEM, (0.5, 60.0), "us", 10.0, f"{_CALIX}; LSB by tau: [U]", "read"),
        "tau_icc": ("coupling (c_m / g)", "tau_icc", "multicompartment.i_bias_nmda", "i_bias_nmda",
                    "connection.conductance", 10, _CAPMEM, (0.1, 30.0), "us", None,
                    f"{_ICC}; LSB by tau: [U]", "read"),
        "tau_syn": ("tau_syn", "tau_syn", "excitatory_input.i_bias_tau, inhibitory_input.i_bias_tau",
                    "tau_syn_E, tau_syn_I", "syn.time_constant", 10, _CAPMEM, (0.3, 30.0), "us", 10.0,
                    f"{_CALIX}; LSB by tau: [U]", "read"),
        "t_ref": ("t_ref", "refractory_time", "refractory_period.refractory_time", "tau_refrac",
                  "fire.tau_ref", 8, (0, 255), (0.04, 32.0), "us", 2.0, _CALIX, "read"),
        "holdoff": ("-", "holdoff_time", "refractory_period.reset_holdoff", "-", "fire.holdoff_time",
                    4, (0, 15), (0.0, 4.0), "us", 0.0, _CALIX, "read"),
        "v_exp": ("v_exp", "-", "exponential.v_exp", "exponential_v_exp", "-",
                  10, _CAPMEM, None, "LSB", None, _CELLS, "[U]"),
        "delta_T": ("delta_T", "-", "exponential.i_bias", "exponential_i_bias", "-",
                    10, _CAPMEM, None, "LSB", None, _CELLS, "[U]"),
        "tau_w": ("tau_w", "-", "adaptation.i_bias_tau", "adaptation_i_bias_tau", "-",
                  10, _CAPMEM, None, "LSB", None, _CELLS, "[U]"),
        "a": ("a", "-", "adaptation.i_bias_a", "adaptation_i_bias_a", "-",
              10, _CAPMEM, None, "LSB", None, f"{_CELLS}; sign: invert_a", "[U]"),
        "b": ("b", "-", "adaptation.i_bias_b", "adaptation_i_bias_b", "-",
              10, _CAPMEM, None, "LSB", None, f"{_CELLS}; sign: invert_b", "[U]"),
        "w_reference": ("-", "-", "adaptation.v_ref", "adaptation_v_ref", "-",
                        10, _CAPMEM, None, "LSB", 511, "hxtorch morphology.py:165-290", "[U]"),
        "w_leak": ("v_leak", "-", "adaptation.v_leak", "adaptation_v_leak", "-",
                   10, _CAPMEM, None, "LSB", None, "demos adex_complex_dynamics.rst:171-173", "[U]"),
        "reset_conductance": ("-", "-", "reset.i_bias", "reset_i_bias", "-",
                              10, _CAPMEM, None, "LSB", 1022, "haldls lola/vx/v3/neuron.h", "read"),
        "offset_current": ("-", "-", "constant_current.i_offset", "constant_current_i_offset", "-",
                           10, _CAPMEM, None, "LSB", 0, "haldls lola/vx/v3/neuron.h", "read"),
        "weight": ("SpikeTrain.weights", "-", "synapse weight", "weight", "projection weight",
                   6, (0, WEIGHT_MAX), (0, WEIGHT_MAX), "LSB", None,
                   "haldls synapse.h:299-305, synapse_driver.h:155-161", "read"),
        "i_synin_gm": ("-", "cuba_synin.i_synin_gm", "excitatory_input.i_bias_gm, "
                       "inhibitory_input.i_bias_gm", "i_synin_gm_E, i_synin_gm_I", "syn.strength",
                       10, _CAPMEM, (30, 800), "LSB", 500, _CALIX, "read"),
        "synapse_dac_bias": ("-", "synapse_dac_bias", "syn_i_bias_dac (per quadrant)",
                             "synapse_dac_bias", "syn.global_strength", 10, _CAPMEM, (30, 1022),
                             "LSB", 600, _CALIX, "read"),
        "e_reversal": ("-", "coba_synin.e_coba_reversal", "excitatory_input.v_rev_coba", "e_rev_E, "
                       "e_rev_I", "syn.e_reversal", 8, _CADC, None, "CADC", None, _CALIX, "read"),
        "e_reference": ("-", "coba_synin.e_coba_reference", "-", "-", "syn.e_reference",
                        8, _CADC, (60, 160), "CADC", None, _CALIX, "read"),
        "clock_scale": ("-", "-", "clock_scale_slow, clock_scale_fast", "-", "-", 4, (0, 15), None,
                        "LSB", None, "haldls neuron.h:83-96", "read"),
        "clock_scale_pulse": ("-", "-", "clock_scale_adaptation_pulse", "-", "-", 4, (0, 15), None,
                              "LSB", 5, "haldls neuron.h:83-96", "read"),
    }.items()
}  # fmt: skip
"""Every neuron-circuit, synapse and chip parameter. Names of `lola` are paths in AtomicNeuron; those of
PyNN's HXNeuron are the same with "_" for "."."""


def markdown() -> str:
    """The table as Markdown, as it stands in `ranges.md` beside this file."""
    head = ("name here", "calix", "lola AtomicNeuron", "PyNN.brainscales2", "grenade", "bits", "LSB",
            "calibratable", "biological", "default", "source", "verified")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in RANGES.values():
        limits = "none" if r.hardware is None else _span(r.hardware, r.unit)
        slow = "by the mapping" if r.biological is None else _span(r.biological, "ms")
        default = "-" if r.default is None else f"{r.default:g} {r.unit}"
        cells = (r.name, r.calix, r.lola, r.pynn, r.grenade, str(r.bits), f"{r.lsb[0]}-{r.lsb[1]}",
                 limits, slow, default, r.source, r.verified)  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _span(ends: tuple[float, float], unit: str) -> str:
    return f"{ends[0]:g}-{ends[1]:g} {unit}"
