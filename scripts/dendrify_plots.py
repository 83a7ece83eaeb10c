"""Pictures of Dendrify's examples, with the published numbers beside ours. Units: ms, mV, pA, Hz."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from dendrify_published import EXAMPLES, F_I, Known
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import jaxsnn_mc as mc

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.6"
COLOURS = {"soma": "black", "trunk": GREEN, "prox": ORANGE, "dist": BLUE, "apical": BLUE,
           "basal": ORANGE}  # fmt: skip
THEIRS = {"marker": "o", "mfc": "none", "mec": "black", "ls": "none", "ms": 7, "zorder": 5}
LIMIT = {"marker": "_", "mec": "black", "mew": 1.5, "ls": "none", "ms": 12, "zorder": 6}


def example_1(step: mc.Solution, curves: dict[str, Any]) -> Figure:
    """Steps into each compartment; EPSP against the number of synapses."""
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    for k, (axis, injected) in enumerate(zip(axes, step.compartments, strict=False)):
        for name in step.compartments:
            axis.plot(step.ts, step[name][k], color=COLOURS[name], label=name)
        _label(axis, f"100 pA into {injected}", "time (ms)", "voltage (mV)")
    axes[0].legend(frameon=False)
    for (label, curve), colour in zip(curves.items(), (BLUE, ORANGE), strict=True):
        axes[3].plot(curve.numbers, curve.measured, color=colour, label=label)
        axes[3].plot(curve.numbers, curve.expected, color=colour, ls=":", lw=1)
        for n in (1, 35):
            known = EXAMPLES["example_1"][f"soma peak EPSP, {label} n={n}, mV"]
            axes[3].plot(n, known.dendrify, **THEIRS)
    axes[3].plot([], [], color=GREY, ls=":", label="sum of single ones")
    axes[3].plot([], [], **THEIRS, label="Dendrify")
    axes[3].legend(frameon=False)
    _label(axes[3], "EPSP at the soma", "synapses on apical at once", "peak above rest (mV)")
    return figure


def example_2(
    pulses: mc.Solution, names: list[str], amplitudes: np.ndarray, curves: dict, active: mc.Solution
) -> Figure:
    """Pulses that make each dendrite spike; input-output curves; somatic spikes in the dendrites."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.4), layout="constrained")
    for k, name in enumerate(names):
        axis, run = axes[0, k], 3 + k
        for place in (name, "soma"):
            axis.plot(pulses.ts, pulses[place][run], color=COLOURS[place], label=place)
        axis.axvspan(5.0, 10.0, color="0.93", zorder=0)
        axis.set_xlim(0.0, 30.0)
        axis.legend(frameon=False)
        _label(axis, f"{amplitudes[run]:g} pA into {name}", "time (ms)", "voltage (mV)")
    for axis, name in zip(axes[1], ("dist", "prox"), strict=False):
        on, off = curves[name], curves[f"{name} OFF"]
        axis.plot(on.numbers, on.local, ".-", color=COLOURS[name], label="with dSpikes")
        axis.plot(off.numbers, off.local, ".-", color=GREY, label="without")
        for key, known in EXAMPLES["example_2"].items():
            if key.startswith(f"I/O: local peak {name}"):
                n = int(key.split("n=")[1].split(",")[0].split()[0])
                axis.plot(n, known.dendrify, **THEIRS)
        axis.plot([], [], **THEIRS, label="Dendrify (0.05 ms)")
        axis.legend(frameon=False)
        _label(axis, f"Synapses on {name}, 0.1 ms apart", "synapses", "local peak (mV)")
    for place in active.compartments:
        axes[1, 2].plot(active.ts, active[place], color=COLOURS[place], lw=0.9, label=place)
    axes[1, 2].set_xlim(85.0, 215.0)
    axes[1, 2].legend(frameon=False, ncols=2)
    _label(axes[1, 2], "125 pA into the soma", "time (ms)", "voltage (mV)")
    return figure


def example_3(f_i: Any, step: Any, synaptic: Any, oblique: Any) -> Figure:
    """F-I curve, steps, synaptic attenuation, synapses on an oblique."""
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    axes[0].plot(f_i.currents, f_i.counts, color=BLUE, label="ours")
    axes[0].plot(list(F_I), list(F_I.values()), **THEIRS, label="Dendrify")
    axes[0].legend(frameon=False)
    _label(axes[0], "F-I curve", "current into the soma (pA)", "spikes in 1 s")
    for k, colour in enumerate((BLUE, ORANGE)):
        v = step.solution["soma"][k]
        axes[1].plot(step.solution.ts, v, color=colour, label=f"{step.amplitude[k]:g} pA")
    axes[1].axhline(EXAMPLES["example_3"]["sag: steady at -350 pA, mV"].exact, color=GREY, ls=":")
    axes[1].legend(frameon=False, loc="center")
    _label(axes[1], "Steps into the soma (dotted: exact)", "time (ms)", "voltage (mV)")
    axes[2].plot(synaptic.distances, synaptic.attenuation, "s-", color=BLUE, label="ours")
    theirs = [EXAMPLES["example_3"][f"synaptic attenuation {x}"].dendrify for x in ("prox", "med", "dist1")]  # fmt: skip # noqa: E501
    axes[2].plot(synaptic.distances, np.array(theirs, float), **THEIRS, label="Dendrify")
    axes[2].legend(frameon=False)
    _label(axes[2], "What arrives of an EPSP", "distance (um)", "peak at the soma / local peak")
    axes[3].plot(oblique.numbers, oblique.local, ".-", color=ORANGE, label="oblique")
    axes[3].plot(oblique.numbers, oblique.measured, ".-", color="black", label="soma")
    axes[3].axvline(14, color=GREY, ls=":", label="Dendrify's threshold")
    axes[3].legend(frameon=False, loc="upper left")
    _label(axes[3], "Synapses on an oblique", "synapses, 0.1 ms apart", "peak (mV)")
    return figure


def example_4(found: dict[str, float], shares: dict[str, np.ndarray]) -> Figure:
    """Spikes of the neurons of the pool, dendritic spikes, and mean rates at scaled inputs."""
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    known, soft = EXAMPLES["example_4"], {"alpha": 0.6}
    for side, label, name, colour in (
        (-0.2, "ON", "with dSpikes", BLUE),
        (0.2, "OFF", "without", GREY),
    ):
        at = np.arange(4) + side
        axes[0].bar(at, shares[label][:4], 0.38, color=colour, label=name, **soft)
        _published(axes[0], at, [known[f"% neurons with {n} spikes, {label}"] for n in range(4)])
    axes[0].set_xticks(range(4))
    axes[0].plot([], [], **THEIRS, label="Dendrify (0.1 ms)")
    axes[0].plot([], [], **LIMIT, label="Dendrify (0.001 ms)")
    axes[0].legend(frameon=False)
    _label(axes[0], "Spikes of a neuron in 500 ms", "spikes", "neurons (%)")
    kinds = {key.split(", ")[1]: key for key in found if key.startswith("dSpikes")}
    axes[1].bar(list(kinds), [found[key] for key in kinds.values()], 0.6, color=BLUE, **soft)
    _published(axes[1], np.arange(len(kinds)), [known[key] for key in kinds.values()])
    _label(axes[1], "dSpikes of a dendrite in 500 ms", "dendrite", "dSpikes (mean)")
    scales = np.array([0.5, 1.0, 1.5])
    for axis, label, title in zip(axes[2:], ("ON", "OFF"), ("with", "without"), strict=True):
        for ec, colour in zip(scales, (GREEN, BLUE, ORANGE), strict=True):
            keys = [f"mean Hz, EC x {ec:g}, CA3 x {ca3:g}, {label}" for ca3 in scales]
            keys = [key if key in found else f"mean Hz, {label}" for key in keys]
            axis.plot(scales, [found[x] for x in keys], color=colour, label=f"EC x {ec:g}")
            _published(axis, scales, [known[x] for x in keys])
        axis.set(xticks=scales, ylim=(-0.5, 13.0))
        axis.legend(frameon=False)
        _label(axis, f"Mean rate {title} dSpikes", "input from CA3 (times 120 Hz)", "rate (Hz)")
    return figure


def _published(axis: Axes, at: np.ndarray, figures: list[Known]) -> None:
    """What Dendrify gives at its own step and at a small one."""
    axis.plot(at, [np.nan if x.dendrify is None else x.dendrify for x in figures], **THEIRS)
    axis.plot(at, [x.exact for x in figures], **LIMIT)


PLOTS: dict[str, Callable[..., Figure]] = {
    "example_1": example_1,
    "example_2": example_2,
    "example_3": example_3,
    "example_4": example_4,
}


def _label(axis: Axes, title: str, x: str, y: str) -> None:
    axis.set(title=title, xlabel=x, ylabel=y)
    axis.spines[["top", "right"]].set_visible(False)
