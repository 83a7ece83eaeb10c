"""A picture of a placement. Nothing else in this folder needs matplotlib."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .place import Placement
from .ranges import ROWS

HEIGHT = {0: 1.3, 1: -1.3}
LINE = {0: 2.45, 1: -2.45}
"""The heights of the two rows of circuits, and of their shared lines."""


def draw_placement(placement: Placement, figsize: tuple[float, float] | None = None) -> Figure:
    """Circuits as boxes, a colour for each compartment; closed switches between them, and the shared
    lines above and below, with a circuit's direct switch as a dot and its resistor as a zigzag."""
    first = min(c.column for c in placement.circuits)
    width = placement.columns
    size = figsize or (min(max(4.0, 1.6 + 0.45 * width), 22.0), 3.6)
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    names = dict.fromkeys(c.compartment for c in placement.circuits if c.compartment is not None)
    palette = plt.get_cmap("tab20")
    colours = {name: palette(2 * i % 20 + (i // 10) % 2) for i, name in enumerate(names)}
    for c in placement.circuits:
        if c.compartment is not None:
            _circuit(axis, c, c.column - first, colours[c.compartment])
    for row in range(ROWS):
        axis.plot([-0.6, width - 0.4], [LINE[row]] * 2, color="0.88", linewidth=1.0, zorder=0)
        axis.text(-0.75, HEIGHT[row], f"row {row}", ha="right", va="center", fontsize=8)
        axis.text(-0.75, LINE[row], "line", ha="right", va="center", fontsize=8, color="0.5")
    for line in placement.lines:
        ends = [line.start - first, line.stop - first]
        axis.plot(ends, [LINE[line.row]] * 2, color="black", linewidth=2.2, zorder=1)
    labelled = set()
    for c in placement.circuits:
        if c.compartment is not None and c.compartment not in labelled:
            labelled.add(c.compartment)
            at = c.column - first, HEIGHT[c.row]
            turned = 0 if len(c.compartment) < 3 else 90
            axis.text(*at, c.compartment[:9], ha="center", va="center", fontsize=7.5, rotation=turned,
                      zorder=5)  # fmt: skip
    step = max(1, width // 16)
    axis.set_xticks(range(0, width, step), [str(first + i) for i in range(0, width, step)])
    axis.set(xlim=(-1.9, width), ylim=(-3.0, 3.0), yticks=[], xlabel="column of neuron circuits")
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _circuit(axis: Any, c: Any, x: int, colour: Any) -> None:
    """A circuit, its membrane switches, and how it is on its line."""
    y, up = HEIGHT[c.row], 1 if c.row == 0 else -1
    box = FancyBboxPatch((x - 0.3, y - 0.6), 0.6, 1.2, boxstyle="round,pad=0.02,rounding_size=0.1",
                         facecolor=colour, edgecolor="black", linewidth=0.6, zorder=3)  # fmt: skip
    axis.add_patch(box)
    if c.connect_right:
        axis.plot([x + 0.3, x + 0.7], [y, y], color=colour, linewidth=5.0, zorder=2)
    if c.connect_vertical and c.row == 0:
        axis.plot([x, x], [HEIGHT[0], HEIGHT[1]], color=colour, linewidth=5.0, zorder=2)
    edge, line = y + 0.62 * up, LINE[c.row]
    if c.connect_soma:
        axis.plot([x, x], [edge, line], color="black", linewidth=1.4, zorder=2)
        axis.plot([x], [line], "o", color="black", markersize=4.5, zorder=4)
    if c.enable_conductance:
        n, step = 8, (line - edge) / 8
        zigzag = [0.0, *(0.09 * (-1) ** k for k in range(n - 1)), 0.0]
        heights = [edge + k * step for k in range(n + 1)]
        axis.plot([x + dx for dx in zigzag], heights, color="black", linewidth=1.0, zorder=2)
