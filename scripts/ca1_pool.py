"""Dendrify's example 4: a pool of CA1 cells, with dendritic spikes and without.

Each neuron has Poisson spikes of its own for 500 ms: from the entorhinal cortex (EC) into each of its
two tufts, from CA3 into each of its obliques and `med`; each spike opens AMPA and NMDA. No neuron
hears another. A second pool, as large as the first so that one compiled program runs both, divides
among scaled input rates. "Without" means thresholds out of reach: the conductances of dendritic spikes
then stay zero, as if they were absent, and the same program runs once more. Units: ms, mV, Hz.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from dendrify_published import NEURONS, SCALES
from poisson import poisson

import jaxsnn_mc as mc
from jaxsnn_mc import presets

T_MAX, OUT_OF_REACH = 500.0, 1e3  # ms, mV
EC, CA3 = ("dist1", "dist2"), ("ob1", "ob2", "med")
EC_RATE, CA3_RATE = 82.0, 120.0  # Hz
DENDRITES = {"dist": EC, "med": ("med",), "obl": ("ob1", "ob2"), "prox": ("prox",),
             "bas": ("bas1", "bas2")}  # fmt: skip
Trains = dict[str, np.ndarray]


def draw(ec: np.ndarray, ca3: np.ndarray, t_max: float, rng: np.random.Generator) -> Trains:
    """Spike times (n, most) into each dendrite, at the rates times `ec` and `ca3` (n,)."""
    rates = dict.fromkeys(EC, EC_RATE * ec) | dict.fromkeys(CA3, CA3_RATE * ca3)
    return {name: poisson(each, t_max, rng) for name, each in rates.items()}


def run(trains: Trains, dt: float, dspikes: bool, t_max: float = T_MAX) -> mc.Solution:
    """The pool, a neuron for each row of the trains."""
    neuron = presets.ca1_pyramidal()
    if not dspikes:
        places = [f"{name}.SodiumSpike.v_th" for name in neuron.names if name != "soma"]
        neuron = neuron.set(dict.fromkeys(places, OUT_OF_REACH))
    arrays = {name: jnp.asarray(times) for name, times in trains.items()}
    inputs = [
        mc.SpikeTrain(name, times, 1.0, synapse)
        for name, times in arrays.items()
        for synapse in ("AMPA", "NMDA")
    ]
    return mc.simulate(neuron, inputs, t_max=t_max, dt=dt, method=mc.Splitting(), record=())


def counts(solution: mc.Solution) -> dict[str, np.ndarray]:
    """The spikes of each neuron (n,), of the soma and each dendrite."""
    names = [name for name, _ in solution.sources]
    return dict(zip(names, np.asarray(solution.counts).T, strict=True))


def example_4(dt: float) -> tuple[dict[str, float], dict[str, Any]]:
    """The pool at the published rates, the other at scaled ones; with dendritic spikes, and without."""
    each = np.repeat(SCALES, NEURONS // len(SCALES), axis=0)
    scales = np.concatenate([np.ones((NEURONS, 2)), each])
    trains = draw(*scales.T, T_MAX, np.random.default_rng(2021))
    published, scaled = ({name: times[half] for name, times in trains.items()}
                         for half in (slice(NEURONS), slice(NEURONS, None)))  # fmt: skip
    found, shares, per_spike = {}, {}, 1e3 / T_MAX
    for label, dspikes in (("ON", True), ("OFF", False)):
        spikes = counts(run(published, dt, dspikes))
        shares[label] = share = 100.0 * np.bincount(spikes["soma"], minlength=4) / NEURONS
        for k in range(4):
            found[f"% neurons with {k} spikes, {label}"] = float(share[k])
        found[f"active %, {label}"] = float(100.0 - share[0])
        found[f"mean Hz, {label}"] = float(per_spike * spikes["soma"].mean())
        if dspikes:
            for kind, names in DENDRITES.items():
                found[f"dSpikes per neuron, {kind}"] = float(np.mean([spikes[x] for x in names]))
        somatic = counts(run(scaled, dt, dspikes))["soma"].reshape(len(SCALES), -1)
        for (ec, ca3), rate in zip(SCALES, per_spike * somatic.mean(1), strict=True):
            found[f"mean Hz, EC x {ec:g}, CA3 x {ca3:g}, {label}"] = float(rate)
    return found, {"found": found, "shares": shares}
