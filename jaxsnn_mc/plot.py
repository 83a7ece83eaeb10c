"""Figures of solutions. Nothing else in the package needs matplotlib."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .checks import as_tuple
from .solution import Solution

OVERSHOOT = 15.0
"""mV. Spikes are drawn this far above the highest voltage of their axis."""

Line = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The times (R,) of a record, its values (R,), and the spike times of its compartment."""


def plot_solution(
    solution: Solution,
    records: list[str] | None = None,
    neuron: int = 0,
    overlay: dict[str, Solution] | None = None,
    label: str | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """One axis for each recorded voltage (mV) and state, over time (ms).

    An event jumps from the threshold to the reset; it is drawn as a thin line to a common height.

    **Arguments:** `records`, which ones (all); `neuron`, which one of a population; `overlay`, other
    solutions by label, drawn dashed; `label`, this solution's name then; `figsize` in inches.
    """
    everything = [*solution.compartments, *solution.states]
    names = everything if records is None else as_tuple(records, "records")
    if not names:
        raise ValueError(
            "Nothing was recorded, so there is nothing to plot; see simulate(record=)."
        )
    size = figsize or (7.0, 1.0 + 1.5 * len(names))
    others = dict(overlay or {})
    styles = [{"label": label, "color": "C0"}]
    styles += [{"label": k, "color": f"C{i}", "linestyle": "--"} for i, k in enumerate(others, 1)]
    data = [[_data(one, name, neuron) for one in (solution, *others.values())] for name in names]
    figure, axes = plt.subplots(
        len(names), 1, sharex=True, figsize=size, squeeze=False, layout="constrained"
    )
    for axis, name, lines in zip(axes[:, 0], names, data, strict=True):
        _draw(axis, lines, styles)
        axis.set_ylabel(name + (" (mV)" if "." not in name else ""))
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("time (ms)")
    axes[-1, 0].set_xlim(0.0, solution.t_max)
    if label or overlay:
        axes[0, 0].legend(loc="upper right", frameon=False, fontsize="small")
    return figure


def _draw(axis: Any, lines: Sequence[Line], styles: Sequence[dict[str, Any]]) -> None:
    """Draws lines, and from each to a common height its spikes."""
    top = max(np.max(trace) for _, trace, _ in lines) + OVERSHOOT
    for (ts, trace, spikes), style in zip(lines, styles, strict=True):
        axis.plot(ts, trace, linewidth=1.2, **style)
        before = np.maximum(np.searchsorted(ts, spikes) - 1, 0)
        axis.vlines(spikes, trace[before], top, color=style["color"], linewidth=0.8)


def _data(solution: Solution, name: str, neuron: int) -> Line:
    trace = np.asarray(solution[name])
    sources = [f"{c}.{m}" for c, m in solution.sources if c == name]
    spikes: list[Any] = [solution.spike_times(source) for source in sources]
    if trace.ndim > 1:
        if neuron not in range(len(trace)):
            raise ValueError(f"neuron must be from 0 to {len(trace) - 1}, got {neuron!r}.")
        trace, spikes = trace[neuron], [times[neuron] for times in spikes]
    return solution.ts, trace, np.concatenate([np.zeros(0), *spikes])
