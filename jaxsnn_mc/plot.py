"""Figures of solutions. Nothing else in the package needs matplotlib."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .solution import Solution


def plot_solution(
    solution: Solution,
    records: list[str] | None = None,
    neuron: int = 0,
    overlay: dict[str, Solution] | None = None,
    label: str | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """One axis for each recorded voltage (mV) and state, over time (ms), spikes marked above.

    **Arguments:** `records`, which ones (all); `neuron`, which one of a population; `overlay`, other
    solutions by label, drawn dashed; `label`, this solution's name then; `figsize` in inches.
    """
    names = [*solution.compartments, *solution.states] if records is None else records
    if not names:
        raise ValueError(
            "Nothing was recorded, so there is nothing to plot; see simulate(record=)."
        )
    size = figsize or (7.0, 1.0 + 1.5 * len(names))
    figure, axes = plt.subplots(
        len(names), 1, sharex=True, figsize=size, squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[:, 0], names, strict=True):
        _draw(axis, solution, name, neuron, label=label, color="C0")
        for i, (other_label, other) in enumerate((overlay or {}).items()):
            _draw(axis, other, name, neuron, label=other_label, color=f"C{i + 1}", linestyle="--")
        axis.set_ylabel(name + (" (mV)" if "." not in name else ""))
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("time (ms)")
    axes[-1, 0].set_xlim(0.0, solution.t_max)
    if label or overlay:
        axes[0, 0].legend(loc="upper right", frameon=False, fontsize="small")
    return figure


def _draw(axis: Any, solution: Solution, name: str, neuron: int, color: str, **style: Any) -> None:
    trace = np.asarray(solution[name])
    trace = trace if trace.ndim == 1 else trace[neuron]
    axis.plot(solution.ts, trace, color=color, linewidth=1.2, **style)
    for source in [f"{c}.{m}" for c, m in solution.sources if c == name]:
        times = solution.spike_times(source)
        times = times if isinstance(times, np.ndarray) else times[neuron]
        transform = axis.get_xaxis_transform()
        axis.plot(times, np.full_like(times, 1.02), "v", color=color, markersize=5,
                  transform=transform, clip_on=False)  # fmt: skip
