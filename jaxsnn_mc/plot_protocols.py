"""Figures of protocols: one for each, with the numbers that a modeller reads from it."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .protocols import BackPropagation, FICurve, InputOutput, StepResponse, SynapticAttenuation

BEFORE = 3.0
"""ms. What is shown before a back-propagating spike."""

MOST_TRACES = 10
"""Voltages in one axis. Of more compartments, some evenly spaced in distance are drawn."""


def plot_step_response(step: StepResponse, neuron: int = 0) -> Figure:
    """The voltage with rest, peak and steady state, and its approach to the peak with both time
    constants."""
    if step.v_rest.ndim and neuron not in range(len(step.v_rest)):
        raise ValueError(f"neuron must be from 0 to {len(step.v_rest) - 1}, got {neuron!r}.")
    figure, (left, right) = _axes(2, widths=[1.6, 1.0])
    solution = step.solution

    def of(x: Any) -> np.ndarray:
        x = np.asarray(x)
        return x[neuron] if step.v_rest.ndim else x

    for name in solution.compartments[:MOST_TRACES]:
        style = {"color": "black", "zorder": 3} if name == step.at else {"linewidth": 0.9}
        left.plot(solution.ts, of(solution[name]), label=name, **style)
    rest, top, steady = (float(of(v)) for v in (step.v_rest, step.v_peak, step.v_steady))
    levels = [(rest, "rest"), (top, "peak"), (steady, "steady")]
    if abs(top - steady) < 0.05 * abs(top - rest):
        levels[1:] = [(steady, "peak, steady")]
    for value, text in levels:
        left.axhline(value, color="grey", linewidth=0.6, linestyle=":")
        left.annotate(text, (solution.t_max, value), color="grey", fontsize="x-small", ha="right",
                      va="bottom")  # fmt: skip
    amplitude = of(np.broadcast_to(step.amplitude, step.v_rest.shape))
    left.set_title(
        f"{float(amplitude):g} pA into {step.at}: {float(of(step.input_resistance)):.4g} MOhm, sag "
        f"ratio {float(of(step.sag_ratio)):.3f}",
        fontsize="small",
    )
    _label(left, "time (ms)", "voltage (mV)")
    _legend_beside(left)
    part = (of(solution[step.at])[step._during] - rest) / (top - rest)
    tau, crossing = float(of(step.time_constant)), float(of(step.time_to_63))
    shown = slice(0, int(np.searchsorted(step.ts, 5.0 * tau)))
    right.plot(step.ts[shown], part[shown], color="black", label=step.at)
    right.plot([crossing], [1.0 - np.exp(-1.0)], "o", color="C1", label=f"63 %: {crossing:.3g} ms")
    line = _fitted(step.ts[shown], part[shown], tau)
    right.plot(step.ts[shown], line, "--", color="C0", label=f"fit: {tau:.3g} ms")
    right.set_ylim(-0.05, 1.1)
    _label(right, "time in the step (ms)", "part of the peak")
    right.legend(fontsize="x-small", frameon=False)
    return figure


def _fitted(ts: np.ndarray, part: np.ndarray, tau: float) -> np.ndarray:
    """The exponential approach to 1 with a time constant, through the curve's middle."""
    middle = int(np.argmax(part >= 0.5))
    return 1.0 - (1.0 - part[middle]) * np.exp(-(ts - ts[middle]) / tau)


def plot_f_i_curve(curves: dict[str, FICurve]) -> Figure:
    """Rate against current: spikes over the duration, and the rate between first and last spike."""
    figure, (axis,) = _axes(1)
    for k, (label, curve) in enumerate(curves.items()):
        color, name = f"C{k}", f"{label}: " if label else ""
        axis.plot(
            curve.currents, curve.rates, "o-", color=color, markersize=4,
            label=f"{name}spikes / {curve.duration:g} ms",
        )  # fmt: skip
        axis.plot(
            curve.currents, curve.interval_rates, ":", color=color,
            label=f"{name}1 / mean interval",
        )  # fmt: skip
    _label(axis, "current (pA)", "rate (Hz)")
    axis.legend(fontsize="small", frameon=False)
    return figure


def plot_synaptic_attenuation(result: SynapticAttenuation) -> Figure:
    """The potential at the synapse and at the soma, and their ratio, against distance."""
    figure, (left, right) = _axes(2)
    x, attenuation = np.asarray(result.distances), np.asarray(result.attenuation)
    left.plot(x, result.local, "o", label="at the synapse", markersize=4)
    left.plot(x, result.remote, "o", label=f"in {result.at}", markersize=4)
    right.plot(x, attenuation, "o", color="black", markersize=4)
    right.set_ylim(0.0, 1.05)
    where = _distance(result.electrotonic, result.at)
    _label(left, where, "peak of one synapse (mV)")
    _label(right, where, f"peak in {result.at} / at the synapse")
    if len(x) <= 2 * MOST_TRACES:
        _name_points(right, x, attenuation, result.compartments)
    left.legend(fontsize="small", frameon=False)
    return figure


def plot_input_output(curves: dict[str, InputOutput]) -> Figure:
    """Measured against expected potentials with the line of a linear sum, and both over numbers."""
    figure, (left, right) = _axes(2)
    most = 0.0
    for k, (label, curve) in enumerate(curves.items()):
        style = {"color": f"C{k}", "markersize": 4}
        left.plot(curve.expected, curve.measured, "o-", label=label or "measured", **style)
        right.plot(curve.numbers, curve.local, "o-", label=f"{label} {curve.dendrite}", **style)
        right.plot(curve.numbers, curve.measured, "o--", mfc="white", label=f"{label} {curve.at}",
                   **style)  # fmt: skip
        most = max(most, float(np.max(np.asarray(curve.expected))))
    left.plot([0.0, most], [0.0, most], color="grey", linewidth=0.8, label="linear sum")
    _label(left, "expected peak (mV)", f"measured peak in {next(iter(curves.values())).at} (mV)")
    _label(right, "number of inputs", "peak (mV)")
    left.legend(fontsize="small", frameon=False)
    right.legend(fontsize="small", frameon=False)
    return figure


def plot_back_propagation(result: BackPropagation) -> Figure:
    """Voltages around the spike, nearest compartments darkest, and their peaks against distance."""
    figure, (left, right) = _axes(2)
    x, peaks = np.asarray(result.distances), np.asarray(result.peaks)
    order = np.argsort(x)
    drawn = order[np.unique(np.linspace(0, len(order) - 1, MOST_TRACES).astype(int))]
    ts = result.solution.ts - float(result.spike)
    after = max(4.0 * BEFORE, 1.2 * float(np.max(np.asarray(result.delays))))
    shown = (ts >= -BEFORE) & (ts <= after)
    shades = plt.get_cmap("viridis")(np.linspace(0.0, 0.9, len(drawn)))
    for color, k in zip(shades, drawn, strict=True):
        name = result.compartments[k]
        v = np.asarray(result.solution[name])
        left.plot(ts[shown], v[shown], color=color, label=name)
        right.plot([x[k]], [peaks[k]], "o", color=color, zorder=3)
    right.plot(x, peaks, "o", color="lightgrey", markersize=4)
    _name_points(right, x[drawn], peaks[drawn], [result.compartments[k] for k in drawn])
    right.set_ylim(bottom=0.0)
    _label(left, f"time from the spike of {result.at} (ms)", "voltage (mV)")
    _label(right, _distance(result.electrotonic, result.at), "peak above rest (mV)")
    _legend_beside(left)
    return figure


def _distance(electrotonic: bool, at: str) -> str:
    return f"electrotonic distance to {at}" if electrotonic else f"distance to {at} (um)"


def _axes(number: int, widths: list[float] | None = None) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(
        1, number, figsize=(4.0 * number + 0.5, 3.2), squeeze=False, layout="constrained",
        width_ratios=widths,
    )  # fmt: skip
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes[0]


def _legend_beside(axis: Any) -> None:
    axis.legend(fontsize="x-small", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _name_points(axis: Any, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """Writes names beside points, those at one place together."""
    axis.margins(0.12)
    at: dict[tuple[str, str], list[int]] = {}
    for k in range(len(names)):
        at.setdefault((f"{x[k]:.3g}", f"{y[k]:.3g}"), []).append(k)
    for group in at.values():
        axis.annotate(
            ", ".join(names[k] for k in group), (x[group[0]], y[group[0]]), (4, 4),
            fontsize="x-small", textcoords="offset points",
        )  # fmt: skip


def _label(axis: Any, x: str, y: str) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel(y)
