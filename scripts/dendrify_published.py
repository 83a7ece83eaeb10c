"""What is known of Dendrify's published examples: each figure exactly, and as Dendrify gives it.

"exact" is an event-driven reference (DOP853 between located events), the limit of small steps.
"dendrify" is what the authors' notebooks give with their forward Euler at dt = 0.1 ms (the dendritic
input-output curves of example 2: 0.05 ms), where it was recorded. Some of the latter are artefacts of
that step (marked below): they disappear at smaller ones.

Example 4 is a pool: its figures are means over a sample of neurons. "exact" is then a sample of its own
that Dendrify 1.0.8 ran at dt = 0.001 ms; at 0.01 ms its mean rate with dSpikes is still 0.06 Hz lower,
with the same input spikes. The limit is 4 standard errors of the difference of the two samples.
"""

import math
from typing import NamedTuple


class Known(NamedTuple):
    """A figure: its exact value, Dendrify's, and the error that ours may have at dt = 0.05 ms,
    `relative`, or `absolute` (in the figure's unit; 0 for counts); `sampled`, a mean over a pool."""

    exact: float
    dendrify: float | None = None
    relative: float = 0.005
    absolute: float | None = None
    sampled: bool = False


def _count(exact: int, dendrify: int | None = None) -> Known:
    return Known(exact, dendrify, absolute=0.0)


def _time(exact: float, dendrify: float | None = None, absolute: float = 0.05) -> Known:
    return Known(exact, dendrify, absolute=absolute)


def _threshold(exact: float, dendrify: float) -> Known:
    return Known(exact, dendrify, relative=0.001)


EXAMPLE_1 = {
    "Rin soma, MOhm": Known(136.871),
    "Rin apical, MOhm": Known(148.607),
    "Rin basal, MOhm": Known(175.672),
    "dV soma, soma injected, mV": Known(13.687),
    "dV apical, soma injected, mV": Known(10.113),
    "dV basal, soma injected, mV": Known(11.292),
    "dV soma, apical injected, mV": Known(10.113),
    "dV apical, apical injected, mV": Known(14.861),
    "dV basal, apical injected, mV": Known(8.344),
    "dV soma, basal injected, mV": Known(11.292),
    "dV apical, basal injected, mV": Known(8.344),
    "dV basal, basal injected, mV": Known(17.567),
    "soma peak EPSP, AMPA+NMDA n=1, mV": Known(0.5722, 0.5747),
    "apical peak EPSP, AMPA+NMDA n=1, mV": Known(1.2522, 1.2642),
    "soma peak EPSP, AMPA+NMDA n=35, mV": Known(25.532, 25.621),
    "apical peak EPSP, AMPA+NMDA n=35, mV": Known(39.763, 39.965),
    "soma peak EPSP, AMPA only n=1, mV": Known(0.4848, 0.4881),
    "apical peak EPSP, AMPA only n=1, mV": Known(1.1318, 1.1453),
    "soma peak EPSP, AMPA only n=35, mV": Known(12.178, 12.293),
    "apical peak EPSP, AMPA only n=35, mV": Known(28.661, 29.115),
    "gain n=35, AMPA+NMDA": Known(1.2748, 1.2737),
    "gain n=35, AMPA only": Known(0.7177, 0.7196),
    "somatic spikes, n=35": _count(0, 0),
}

EXAMPLE_2 = {
    "dSpike threshold dist, pA": _threshold(123.3696, 122.80),
    "dSpike threshold prox, pA": _threshold(308.9904, 308.13),
    "dSpike threshold trunk, pA": _threshold(560.3685, 559.33),
    # At 123 and 560 pA Dendrify's dSpikes are artefacts of its step.
    "dSpikes dist, 123 pA": _count(0, 1),
    "dSpikes trunk, 560 pA": _count(0, 1),
    "local peak dist, 123 pA, mV": Known(34.90, 54.76),
    "soma peak dist, 123 pA, mV": Known(3.48, 3.96),
    "local peak trunk, 560 pA, mV": Known(34.98, 54.76),
    "soma peak trunk, 560 pA, mV": Known(20.30, 24.28),
    "local peak dist, 129.15 pA, mV": Known(51.81, 59.79),
    "soma peak dist, 129.15 pA, mV": Known(3.94, 3.91),
    "dSpike dist, 129.15 pA, ms": _time(9.426, 9.3),
    "local peak prox, 324.45 pA, mV": Known(52.47, 60.60),
    "soma peak prox, 324.45 pA, mV": Known(10.92, 10.90),
    "dSpike prox, 324.45 pA, ms": _time(9.494, 9.4),
    "local peak trunk, 588 pA, mV": Known(51.48, 59.48),
    "soma peak trunk, 588 pA, mV": Known(24.23, 24.67),
    "dSpike trunk, 588 pA, ms": _time(9.629, 9.6),
    "I/O: synapses to a dSpike, dist": _count(7, 7),
    "I/O: synapses to a dSpike, prox": _count(19, 19),
    "I/O: local peak dist n=1, mV": Known(6.15, 6.208),
    "I/O: local peak dist n=6, mV": Known(31.18, 31.43),
    "I/O: local peak dist n=7, mV": Known(51.00, 52.30),
    "I/O: local peak dist n=15 OFF, mV": Known(53.89, 54.06),
    "I/O: local peak prox n=1, mV": Known(2.43, 2.445),
    "I/O: local peak prox n=18, mV": Known(34.23, 34.37),
    "I/O: local peak prox n=19, mV": Known(51.48, 53.03),
    "I/O: local peak prox n=30 OFF, mV": Known(48.29, 48.31),
    # Dendrify's spikes in prox are artefacts of its step, and cost it a somatic spike.
    "bAP: somatic spikes": _count(8, 7),
    "bAP: dSpikes trunk": _count(8, 7),
    "bAP: dSpikes prox": _count(0, 6),
    "bAP: dSpikes dist": _count(0, 0),
    "bAP: spike 1, ms": _time(97.703, 97.5),
    "bAP: spike 2, ms": _time(128.613),
    "bAP: mean ISI, ms": _time(30.910, 34.2, 0.05),
}

EXAMPLE_3 = {
    "spikes in 1 s, 100 pA": _count(0, 0),
    "spikes in 1 s, 150 pA": _count(1, 1),
    "spikes in 1 s, 200 pA": _count(10, 10),
    "spikes in 1 s, 250 pA": _count(13, 13),
    "spikes in 1 s, 300 pA": _count(17, 17),
    "spikes in 1 s, 350 pA": _count(20, 20),
    "spike 1 at 200 pA, ms": _time(68.115, 68.0),
    "spike 2 at 200 pA, ms": _time(170.737, 170.6),
    "spike 3 at 200 pA, ms": _time(280.420, 280.2, 0.3),
    "steady attenuation prox": Known(0.8486, 0.8485),
    "steady attenuation med": Known(0.7078, 0.7078),
    "steady attenuation dist1": Known(0.6073, 0.6073),
    "Rin peak, MOhm": Known(146.127, 146.13),
    "Rin steady, MOhm": Known(145.862, 145.86),
    "sag: minimum at -350 pA, mV": Known(-101.316, -101.335),  # exact: that at 0.01 ms
    "sag: steady at -350 pA, mV": Known(-96.006, -96.006),
    "sag ratio": Known(0.8538, 0.8533),
    "synaptic attenuation prox": Known(0.6802, 0.6801),
    "synaptic attenuation med": Known(0.2667, 0.2633),
    "synaptic attenuation dist1": Known(0.0897, 0.0889),
    "uEPSP local prox, mV": Known(0.6374, 0.6413),
    "uEPSP local med, mV": Known(1.4792, 1.5044),
    "uEPSP local dist1, mV": Known(3.7600, 3.8108),
    "uEPSP soma prox, mV": Known(0.4335, 0.4362),
    "uEPSP soma med, mV": Known(0.3945, 0.3961),
    "uEPSP soma dist1, mV": Known(0.3374, 0.3389),
    "oblique: synapses to a dSpike": _count(15, 14),
    "oblique: peak below threshold, mV": Known(22.42, 21.50),
    "oblique: peak above threshold, mV": Known(60.17, 63.40),
    "oblique: steepest soma below, V/s": Known(1.11, 1.09),
    "oblique: steepest soma above, V/s": Known(2.72, 3.08),
}

NEURONS = 10_000
"""In the pool of example 4: published, and in both samples."""


def _sampled(
    mean: float, sd: float, dendrify: float | None, neurons: int = NEURONS, exact: int = NEURONS
) -> Known:
    """The mean over a sample (of `exact` neurons), with its standard deviation among neurons, judged by
    that over another one (of `neurons`)."""
    error = sd * math.sqrt(1.0 / neurons + 1.0 / exact)
    return Known(mean, dendrify, absolute=4.0 * error, sampled=True)


def _share(percent: float, dendrify: float | None = None) -> Known:
    """A percentage of the pool: binomial, with one more of either kind (none seen is not never)."""
    p = (0.01 * percent * NEURONS + 1.0) / (NEURONS + 2.0)
    return _sampled(percent, 100.0 * math.sqrt(p * (1.0 - p)), dendrify)


EXAMPLE_4 = {
    "% neurons with 0 spikes, ON": _share(21.88, 23.65),
    "% neurons with 1 spikes, ON": _share(49.34, 51.2),
    "% neurons with 2 spikes, ON": _share(25.62, 23.2),
    "% neurons with 3 spikes, ON": _share(3.08, 1.97),
    "active %, ON": _share(78.12, 76.35),
    "mean Hz, ON": _sampled(2.2028, 1.543, 2.071),
    "dSpikes per neuron, dist": _sampled(13.533, 6.292, 10.9),
    "dSpikes per neuron, med": _sampled(5.950, 3.522, 4.68),
    "dSpikes per neuron, obl": _sampled(1.135, 0.807, 1.04),
    "dSpikes per neuron, prox": _sampled(1.106, 0.777, 1.04),
    "dSpikes per neuron, bas": _sampled(0.451, 0.586, 0.27),
    "% neurons with 0 spikes, OFF": _share(89.82, 89.76),
    "% neurons with 1 spikes, OFF": _share(9.95, 10.0),
    "% neurons with 2 spikes, OFF": _share(0.23, 0.20),
    "% neurons with 3 spikes, OFF": _share(0.0, 0.0),
    "active %, OFF": _share(10.18, 10.24),
    "mean Hz, OFF": _sampled(0.2082, 0.626, 0.209),
}

_SILENT = (0.0, 0.063)  # Hz: no spike in the sample; deviates as if there was one
_GRID = {  # EC, CA3 (times the published rates); ON and OFF: mean and deviation (Hz), Dendrify's
    (0.5, 0.5): ((*_SILENT, 0.0), (*_SILENT, 0.0)),
    (0.5, 1.0): ((0.030, 0.259, 0.05), (*_SILENT, 0.0005)),
    (0.5, 1.5): ((2.506, 1.641, 2.70), (0.180, 0.572, 0.17)),
    (1.0, 0.5): ((0.070, 0.368, 0.03), (*_SILENT, 0.0)),
    (1.0, 1.5): ((7.332, 1.709, 7.21), (2.924, 1.537, 2.91)),
    (1.5, 0.5): ((2.058, 1.500, 1.15), (0.062, 0.347, 0.06)),
    (1.5, 1.0): ((6.388, 1.652, 5.68), (2.644, 1.465, 2.60)),
    (1.5, 1.5): ((11.892, 1.873, 10.88), (6.474, 1.307, 6.48)),
}
SCALES = list(_GRID)
EXAMPLE_4 |= {
    f"mean Hz, EC x {ec:g}, CA3 x {ca3:g}, {label}": _sampled(*rate, NEURONS // len(_GRID), 1_000)
    for (ec, ca3), rates in _GRID.items()
    for label, rate in zip(("ON", "OFF"), rates, strict=True)
}

EXAMPLES = {
    "example_1": EXAMPLE_1,
    "example_2": EXAMPLE_2,
    "example_3": EXAMPLE_3,
    "example_4": EXAMPLE_4,
}
F_I = {  # example 3, spikes in 1 s at 0 to 500 pA by 25 pA, at 0.1 and 0.01 ms alike
    25 * k: n
    for k, n in enumerate((0,) * 6 + (1, 7, 10, 11, 13, 15, 17, 18, 20, 22, 23, 25, 27, 28, 30))
}
