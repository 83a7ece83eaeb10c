"""Reproduces the figures of Dendrify's four published examples (see jaxsnn_mc/presets.py).

All protocols run with the splitting at dt = 0.05 ms, judged against exact values, and once more at
dt = 0.1 ms, beside what Dendrify gives at that step. Prints a table, draws a figure an example, and
exits with status 1 if a figure misses its limit (in example 4, a pool of 10,000 neurons, one of chance:
4 standard errors). Units: ms, mV, pF, nS, pA, MOhm.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import matplotlib

import jaxsnn_mc as mc

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")

import ca1_pool  # noqa: E402
import dendrify_plots as plots  # noqa: E402
import numpy as np  # noqa: E402
from dendrify_published import EXAMPLES, F_I, Known  # noqa: E402

from jaxsnn_mc import passive, presets, protocols  # noqa: E402

DT, EULER_DT = 0.05, 0.1  # ms
SYNAPSES = {"AMPA": 1.0, "NMDA": 1.0}
PULSES = {"dist": (123.0, 129.15), "prox": (309.0, 324.45), "trunk": (560.0, 588.0)}  # pA
Measured = dict[str, float]


def example_1(dt: float) -> tuple[Measured, dict[str, Any]]:
    """Three compartments: steps into each of them, and 1 to 35 synchronous synapses."""
    neuron, options = presets.passive_dendrites(), {"dt": dt, "method": mc.Splitting()}
    found = {}
    for name, resistance in zip(neuron.names, passive.input_resistances(neuron), strict=True):
        found[f"Rin {name}, MOhm"] = float(resistance)
    into = 100.0 * np.eye(3)  # one run for each compartment, side by side
    steps = [mc.StepCurrent(name, into[k], 100.0, 500.0) for k, name in enumerate(neuron.names)]
    step = mc.simulate(neuron, steps, t_max=700.0, **options)
    at = np.searchsorted(step.ts, 499.99)
    for k, injected in enumerate(neuron.names):
        for name in neuron.names:
            found[f"dV {name}, {injected} injected, mV"] = float(step[name][k, at]) + 70.0
    curves = {}
    for label, one in (
        ("AMPA+NMDA", neuron),
        ("AMPA only", neuron.set({"apical.NMDA.g": 0.0})),
    ):
        curves[label] = curve = protocols.input_output(
            one, "apical", SYNAPSES, range(1, 36), delay=50.0, duration=350.0, **options
        )
        for k, n in ((0, 1), (34, 35)):
            found[f"soma peak EPSP, {label} n={n}, mV"] = float(curve.measured[k])
            found[f"apical peak EPSP, {label} n={n}, mV"] = float(curve.local[k])
        found[f"gain n=35, {label}"] = float(curve.measured[34] / (35.0 * curve.measured[0]))
        found["somatic spikes, n=35"] = float(curve.counts["soma.LIF"][34])
    return found, {"step": step, "curves": curves}


def example_2(dt: float) -> tuple[Measured, dict[str, Any]]:
    """Four compartments: pulses, trains of synapses, and somatic spikes, all with dendritic spikes."""
    neuron, options = presets.active_dendrites(), {"dt": dt, "method": mc.Splitting()}
    found: Measured = {}
    for name, (low, _) in PULSES.items():
        found[f"dSpike threshold {name}, pA"] = _threshold(neuron, name, low, options)
    names = list(PULSES)
    amplitudes = np.array([PULSES[name] for name in names]).T.ravel()
    pulses = _pulses(neuron, {name: np.tile(np.eye(3)[k], 2) * amplitudes
                              for k, name in enumerate(names)}, options)  # fmt: skip
    for run, amplitude in enumerate(amplitudes):
        name = names[run % 3]
        label = f"{name}, {amplitude:g} pA"
        times = pulses.spike_times(name)[run]
        found[f"dSpikes {label}"] = len(times)
        found[f"local peak {label}, mV"] = float(pulses[name][run].max()) + 70.0
        found[f"soma peak {label}, mV"] = float(pulses["soma"][run].max()) + 70.0
        found[f"dSpike {label}, ms"] = float(times[0]) if len(times) else np.nan
    curves = {}
    for name, most, below in (("dist", 15, 6), ("prox", 30, 18)):
        for label, dspikes in (("", True), (" OFF", False)):
            quiet = presets.active_dendrites(dspikes=dspikes, fires=False)
            curves[name + label] = curve = protocols.input_output(
                quiet, name, SYNAPSES, range(1, most + 1), interval=0.1, delay=20.0,
                duration=180.0, **options,
            )  # fmt: skip
            for n in {1, below, below + 1} if dspikes else {most}:
                found[f"I/O: local peak {name} n={n}{label}, mV"] = float(curve.local[n - 1])
        first = curves[name].threshold(f"{name}.SodiumSpike")
        found[f"I/O: synapses to a dSpike, {name}"] = first or np.nan
    currents = [mc.StepCurrent("soma", 125.0, 20.0, 320.0)]
    active = mc.simulate(neuron, currents, t_max=440.0, **options)
    spikes = active.spike_times("soma")
    found["bAP: somatic spikes"] = len(spikes)
    for name in ("trunk", "prox", "dist"):
        found[f"bAP: dSpikes {name}"] = len(active.spike_times(name))
    found["bAP: spike 1, ms"], found["bAP: spike 2, ms"] = map(float, spikes[:2])
    found["bAP: mean ISI, ms"] = float(np.diff(spikes).mean())
    return found, {"pulses": pulses, "names": names, "amplitudes": amplitudes,
                   "curves": curves, "active": active}  # fmt: skip


def _pulses(neuron: mc.Neuron, amplitudes: dict[str, np.ndarray], options: dict) -> mc.Solution:
    """Pulses of 5 ms from 5 ms on into some compartments, (B,) pA each."""
    inputs = [mc.StepCurrent(name, a, 5.0, 10.0) for name, a in amplitudes.items()]
    return mc.simulate(neuron, inputs, t_max=50.0, **options)


def _threshold(neuron: mc.Neuron, name: str, near: float, options: dict) -> float:
    """The smallest pulse (pA) into a dendrite that makes it spike, to 1e-4 pA."""
    low, high = 0.97 * near, 1.03 * near
    while high - low > 1e-4:
        amplitudes = np.linspace(low, high, 32)
        into = {key: amplitudes * (key == name) for key in PULSES}
        run = _pulses(neuron, into, options)
        fired = np.array([len(times) > 0 for times in run.spike_times(name)])
        k = int(np.argmax(fired))
        if not k > 0 or not fired[k:].all():
            raise RuntimeError(f"No threshold of {name!r} between {low:g} and {high:g} pA.")
        low, high = amplitudes[k - 1], amplitudes[k]
    return 0.5 * (low + high)


def example_3(dt: float) -> tuple[Measured, dict[str, Any]]:
    """The CA1 cell: steps into the soma, single synapses, and 1 to 24 of them on an oblique."""
    neuron, options = presets.ca1_pyramidal(), {"dt": dt, "method": mc.Splitting()}
    found: Measured = {}
    f_i = protocols.f_i_curve(neuron, "soma", np.array(list(F_I), float), **options)
    for current, n in zip(f_i.currents, f_i.counts, strict=True):
        found[f"spikes in 1 s, {current:g} pA"] = int(n)
    for k in range(3):
        found[f"spike {k + 1} at 200 pA, ms"] = float(f_i.spikes[8, k]) + 50.0
    step = protocols.step_response(
        neuron, "soma", np.array([-10.0, -350.0]), delay=50.0, duration=1000.0, **options
    )
    for name in ("prox", "med", "dist1"):
        found[f"steady attenuation {name}"] = float(step.attenuation(name)[0])
    found["Rin peak, MOhm"] = float(step.peak_resistance[0])
    found["Rin steady, MOhm"] = float(step.input_resistance[0])
    found["sag: minimum at -350 pA, mV"] = float(step.v_peak[1])
    found["sag: steady at -350 pA, mV"] = float(step.v_steady[1])
    found["sag ratio"] = float(step.sag_ratio[1])
    found["time constant (fit), ms"] = float(step.time_constant[0])
    found["time to 63 %, ms"] = float(step.time_to_63[0])
    places = {"prox": 100.0, "med": 250.0, "dist1": 400.0}  # um
    synaptic = protocols.synaptic_attenuation(
        neuron, SYNAPSES, delay=10.0, duration=90.0, distances=places, **options
    )
    for k, name in enumerate(places):
        found[f"synaptic attenuation {name}"] = float(synaptic.attenuation[k])
        found[f"uEPSP local {name}, mV"] = float(synaptic.local[k])
        found[f"uEPSP soma {name}, mV"] = float(synaptic.remote[k])
    single = presets.ca1_pyramidal(second_reset=False)
    oblique = protocols.input_output(
        single, "ob1", SYNAPSES, range(1, 25), interval=0.1, delay=5.0, duration=145.0, **options
    )
    first = oblique.threshold("ob1.SodiumSpike")
    found["oblique: synapses to a dSpike"] = first or np.nan
    if first:
        for word, k in (("below", first - 2), ("above", first - 1)):
            found[f"oblique: peak {word} threshold, mV"] = float(oblique.local[k])
            found[f"oblique: steepest soma {word}, V/s"] = float(oblique.steepest[k])
    return found, {"f_i": f_i, "step": step, "synaptic": synaptic, "oblique": oblique}


RUNS: dict[str, Callable[[float], tuple[Measured, dict[str, Any]]]] = {
    "example_1": example_1,
    "example_2": example_2,
    "example_3": example_3,
    "example_4": ca1_pool.example_4,
}


def fits(known: Known, value: float) -> bool:
    """Whether a measured value is within its limit of the exact one."""
    limit = known.relative * abs(known.exact) if known.absolute is None else known.absolute
    return abs(value - known.exact) <= limit


def nearer(known: Known, value: float) -> bool:
    """Whether a value at Dendrify's step is at least as near to the exact one as Dendrify's, up to
    the rounding of the latter; of a sampled figure, whether it is within its limit there too."""
    if known.sampled:
        return fits(known, value)
    if known.dendrify is None:
        return True
    digits = len(f"{known.dendrify!r}".partition(".")[2])
    rounding = 0.5 * 10.0**-digits if isinstance(known.dendrify, float) else 0.0
    return abs(value - known.exact) <= abs(known.dendrify - known.exact) + rounding


def report(name: str, fine: Measured, coarse: Measured) -> int:
    """Print an example's table; returns how many figures miss a limit."""
    print(f"\n{name.replace('_', ' ').capitalize()}")
    print(f"  {'':40}{'exact':>10}{'dt 0.05':>10}{'dt 0.1':>10}{'Dendrify':>10}")
    missed = 0
    for key, known in EXAMPLES[name].items():
        value, at_its_step = fine.get(key, np.nan), coarse.get(key, np.nan)
        good, better = fits(known, value), nearer(known, at_its_step)
        missed += (not good) + (not better)
        worse = "too far at dt 0.1" if known.sampled else "Dendrify nearer"
        marks = ("" if good else "  too far from exact") + ("" if better else f"  {worse}")
        theirs = "-" if known.dendrify is None else f"{known.dendrify:.6g}"
        row = "".join(f"{x:>10.6g}" for x in (known.exact, value, at_its_step))
        chance = f"  +-{known.absolute:.2g}" if known.sampled else ""
        print(f"  {key:40}{row}{theirs:>10}{chance}{marks}")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=RUNS, help="this example only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--figures", type=Path, default=Path("figures"), metavar="FOLDER")
    options = parser.parse_args()
    options.figures.mkdir(parents=True, exist_ok=True)
    result, missed = {}, 0
    for name in [options.only] if options.only else list(RUNS):
        begin = time.perf_counter()
        (fine, runs), (coarse, _) = (RUNS[name](dt) for dt in (DT, EULER_DT))
        missed += report(name, fine, coarse)
        figure = options.figures / f"dendrify_{name}.png"
        plots.PLOTS[name](**runs).savefig(figure, dpi=150)
        print(f"  {time.perf_counter() - begin:.0f} s, {figure}")
        result[name] = {
            "dt_0.05": fine,
            "dt_0.1": coarse,
            "exact": {key: known.exact for key, known in EXAMPLES[name].items()},
            "dendrify": {key: known.dendrify for key, known in EXAMPLES[name].items()},
        }
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, allow_nan=True) + "\n")
    print(
        f"\n{missed} figures miss their limit." if missed else "\nAll figures within their limits."
    )
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
