"""The report's figures 4 to 6, and the results that they show. Units: ms, mV, pA."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import reference
from matplotlib.transforms import offset_copy

import jaxsnn_mc as mc

EULER, SPLITTING = METHODS = ("implicit Euler", "splitting")
COLOURS = {"exact": "0.72", EULER: "#0072B2", SPLITTING: "#D55E00"}
RECORD = {"soma": "soma (mV)", "apical": "apical (mV)", "basal": "basal (mV)",
          "soma.AdEx.w": "adaptation w (pA)"}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What came out of an experiment, by method and for "exact".

    `spikes`: times (ms); `traces`: by name, with their times "t"; `published`: spike times (ms);
    `limits`: the largest errors (ms) allowed the methods at their default steps.
    """

    title: str
    problem: reference.Problem
    inputs: list
    published: dict[str, tuple[float, ...]]
    limits: tuple[float, float]
    runs: dict[str, mc.Solution]
    spikes: dict[str, np.ndarray]
    traces: dict[str, dict[str, np.ndarray]]

    def errors(self, method: str) -> np.ndarray:
        """Spike time minus exact (ms), of the spikes that both have."""
        found, exact = self.spikes[method], self.spikes["exact"]
        n = min(len(found), len(exact))
        return found[:n] - exact[:n]


def draw(
    axis: plt.Axes, result: Result, name: str, window: tuple[float, float] | None = None
) -> None:
    """One trace by all methods, with a triangle above the soma's axis for each spike.

    The soma's lines run through the threshold and the reset at the spike times, which lie between
    the steps. Within a `window` (ms), the steps of the splitting are dots instead.
    """
    begin, end = window or (0.0, result.traces["exact"]["t"][-1])
    soma = result.problem.spiking[0]
    above = offset_copy(axis.get_xaxis_transform(), axis.figure, y=6.0, units="points")
    for method, width, line, size in (("exact", 4.0, "-", 10.0), (EULER, 1.3, "-", 6.5),
                                      (SPLITTING, 1.3, "--", 3.5)):  # fmt: skip
        ts, values = result.traces[method]["t"], result.traces[method][name]
        spikes, colour = result.spikes[method], COLOURS[method]
        label = method if method == "exact" else f"{method}, dt = {result.runs[method].dt:g} ms"
        if window and method == SPLITTING:
            line, label = "o", "steps of the splitting"
        elif name == "soma":
            at = np.repeat(np.searchsorted(ts, spikes), 2)
            values = np.insert(values, at, np.tile([soma.v_th, soma.v_reset], len(spikes)))
            ts = np.insert(ts, at, np.repeat(spikes, 2))
        inside = (begin <= ts) & (ts <= end)
        axis.plot(ts[inside], values[inside], line, color=colour, linewidth=width, markersize=4.5,
                  label=label)  # fmt: skip
        spikes = spikes[(begin <= spikes) & (spikes <= end)]
        if name == "soma" and spikes.size:
            axis.plot(spikes, np.ones_like(spikes), "v", color=colour, markersize=size,
                      markeredgewidth=0.0, transform=above, clip_on=False)  # fmt: skip
    axis.set(xlim=(begin, end), ylabel="" if window else RECORD[name])


def traces(result: Result, names: list[str], spike: int, title: str) -> plt.Figure:
    """Input spikes if there are any, then a row a trace: whole, and on the right around a spike."""
    trains = [x for x in result.inputs if isinstance(x, mc.SpikeTrain)]
    heights = [0.35] * bool(trains) + [1.0] * len(names)
    figure, axes = plt.subplots(
        len(heights), 2, sharex="col", figsize=(8.0, 1.0 + 1.7 * sum(heights)), layout="constrained",
        width_ratios=(2.2, 1.0), height_ratios=heights,
    )  # fmt: skip
    if trains:
        axes[0, 0].eventplot([np.asarray(x.times) for x in trains], colors="black", linelengths=0.6)
        labels = [f"{x.compartment}, {float(x.weights[0]):g} pA" for x in trains]
        axes[0, 0].set_yticks(range(len(trains)), labels)
        axes[0, 0].set_title("input spikes", fontsize="medium")
        axes[0, 1].axis("off")
    window = (result.spikes["exact"][spike] - 0.5, result.spikes["exact"][spike] + 0.3)
    for (left, right), name in zip(axes[-len(names) :], names, strict=True):
        draw(left, result, name)
        draw(right, result, name, window)
        left.axvspan(*window, color="0.88", zorder=0)
    soma, t = axes[-len(names), 1], result.published["report"][spike]
    soma.axvline(t, color="black", linewidth=1.0, linestyle=":")
    soma.text(t, 0.5, f"{t:g} ms  \npublished  ", ha="right", va="center",
              transform=soma.get_xaxis_transform())  # fmt: skip
    soma.set_title(f"around spike {spike + 1}", pad=14.0, fontsize="medium")
    for axis in axes[-1]:
        axis.set_xlabel("time (ms)")
    return finish(figure, list(axes[-len(names) :, 0]), title)


def errors(result: Result, title: str) -> plt.Figure:
    """The soma's voltage, and how far off each spike is."""
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(8.0, 5.0),
                                         layout="constrained", height_ratios=(1.3, 1.0))  # fmt: skip
    draw(top, result, "soma")
    for method, marker in ((EULER, "o"), (SPLITTING, "s")):
        y = np.abs(result.errors(method))
        x = result.spikes["exact"][: len(y)]
        bottom.semilogy(x, y, marker, color=COLOURS[method], linestyle=":")
    bottom.set(xlabel="time (ms)", ylabel="error of the spike time (ms)")
    bottom.grid(axis="y", color="0.9")
    return finish(figure, [top, bottom], title)


def finish(figure: plt.Figure, axes: list[plt.Axes], title: str) -> plt.Figure:
    """Add the title and, outside of the axes, one legend for all; align the labels of `axes`."""
    figure.suptitle(title)
    figure.align_ylabels(axes)
    drawn = [axis.get_legend_handles_labels() for axis in figure.axes]
    legend = {label: handle for pair in drawn for handle, label in zip(*pair, strict=True)}
    figure.legend(legend.values(), legend, loc="outside lower center", ncols=4, frameon=False)
    return figure
