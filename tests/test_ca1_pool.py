"""Dendrify's example 4 (scripts/ca1_pool.py): its Poisson spikes, and cells of the pool against an
event-locating reference made of the published numbers."""

import math
import sys
from pathlib import Path

import active_reference as reference
import numpy as np
import pytest
import scipy.stats

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
import ca1_pool

SIZES = {  # length and diameter (um) of the dendrites
    "prox": (100.0, 2.0),
    "ob1": (100.0, 1.0),
    "ob2": (100.0, 1.0),
    "med": (150.0, 1.25),
    "dist1": (150.0, 0.8),
    "dist2": (150.0, 0.8),
    "bas1": (150.0, 0.8),
    "bas2": (150.0, 0.8),
}
NAMES = ["soma", *SIZES]
COUPLINGS = [("soma", "prox", 22.0), ("prox", "ob1", 10.4720), ("prox", "ob2", 10.4720),
             ("prox", "med", 10.8182), ("med", "dist1", 3.9622), ("med", "dist2", 3.9622),
             ("soma", "bas1", 3.8), ("soma", "bas2", 3.8)]  # fmt: skip
SYNAPSES = {"ob1": (0.6, 0.4), "ob2": (0.6, 0.4), "med": (0.81, 0.4), "dist1": (0.81, 0.81),
            "dist2": (0.81, 0.81)}  # fmt: skip
"""nS: AMPA and NMDA."""


def cell(trains: dict[str, np.ndarray], dspikes: bool) -> reference.Problem:
    """The cell from the published numbers, with spikes (ms) into some dendrites."""
    side = {name: math.pi * length * d for name, (length, d) in SIZES.items()}  # um2
    area = 2.9 * np.array([math.pi * 30.0 * 20.0] + [1.5 * x for x in side.values()])
    receptors, block = [], {"e": 0.35, "mg": 1.0, "alpha": 0.087, "gamma": 10.0}
    for name, times in trains.items():
        i, (ampa, nmda) = NAMES.index(name), SYNAPSES[name]
        receptors.append(reference.Receptor(i, times, 1.0, ampa, 2.5))
        receptors.append(reference.Receptor(i, times, 1.0, nmda, 50.0, **block))
    spike = {"e_rise": 50.0, "e_fall": -90.0, "v_th": -42.5, "offset": 0.6, "t_ref": 4.2,
             "tau_rise": 0.5, "tau_fall": 1.2}  # fmt: skip
    soma = reference.Soma(-47.5, -53.0, 4.0, v_spike=37.5, spike_width=0.8, kind="cadif", a=0.15,
                          tau=45.0, b=21.0, v_a=-65.0, e_a=-65.0)  # fmt: skip
    spikes = [reference.DSpike(NAMES.index(name), 0.1 * x, 0.04 * x, **spike)
              for name, x in side.items()]  # fmt: skip
    return reference.Problem(
        c_m=0.01 * area,
        g_leak=4e-4 * area,
        v_leak=-65.0,
        couplings=[(NAMES.index(a), NAMES.index(b), g) for a, b, g in COUPLINGS],
        receptors=receptors,
        dspikes=spikes if dspikes else [],
        soma=soma,
    )


def test_cells():
    """Cells at 1.5 times the published rates for 120 ms: every spike of the soma and of the dendrites
    is there, within 0.02 ms; without dendritic spikes those of the soma."""
    n, t_max = 2, 120.0
    faster = np.full(n, 1.5)
    trains = ca1_pool.draw(faster, faster, t_max, np.random.default_rng(0))
    seen = dict.fromkeys(NAMES, 0)
    for dspikes in (True, False):
        pool = ca1_pool.run(trains, 0.05, dspikes, t_max)
        for k in range(n):
            own = {name: times[k][np.isfinite(times[k])] for name, times in trains.items()}
            exact = reference.solve(cell(own, dspikes), t_max, rtol=1e-10)
            for name, times in zip(NAMES, [exact.soma, *exact.dspikes], strict=False):
                found = pool.spike_times(name)[k]
                np.testing.assert_allclose(found, times, rtol=0, atol=0.02, err_msg=f"{name} {k}")
                seen[name] += len(times)
    assert min(seen.values()) > 0


def test_spikes_are_poisson():
    """Counts with the mean and the variance of a Poisson distribution, within 4 standard errors, at
    the rate times the neuron's factor; times uniform; dendrites independent of each other."""
    n, t_max = 4_000, 500.0
    ec, ca3 = np.repeat([0.5, 1.5], n // 2), np.ones(n)
    trains = ca1_pool.draw(ec, ca3, t_max, np.random.default_rng(1))
    rates = {"dist1": 82.0 * ec, "dist2": 82.0 * ec, "ob1": 120.0, "ob2": 120.0, "med": 120.0}
    assert trains.keys() == rates.keys()
    off = []
    for name, times in trains.items():
        mean = 1e-3 * t_max * rates[name] * np.ones(n)
        off.append((np.isfinite(times).sum(1) - mean) / np.sqrt(mean))
        assert abs(off[-1].mean()) < 4.0 / np.sqrt(n)
        assert off[-1].var() == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / n))
        assert np.all(np.sort(times) == times)
        some = times[:100][np.isfinite(times[:100])]
        assert scipy.stats.kstest(some / t_max, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(off) - np.eye(5)).max() < 4.0 / np.sqrt(n)
