"""A small morphology of several hundred compartments, written as SWC and read by Jaxley."""

from pathlib import Path

import jaxley as jx
import numpy as np


def write_swc(path: Path, levels: int = 4, points: int = 4, seed: int = 0) -> Path:
    """A soma of two points with three dendritic trees that branch in two at each level."""
    rng = np.random.default_rng(seed)
    rows: list[tuple] = [(1, 1, 0.0, 0.0, 0.0, 8.0, -1), (2, 1, 0.0, 0.0, 8.0, 8.0, 1)]

    def grow(parent: int, kind: int, at: np.ndarray, along: np.ndarray, radius: float, level: int):
        for _ in range(points):
            at = at + 12.0 * along
            rows.append((len(rows) + 1, kind, *at, radius, parent))
            parent = len(rows)
        if level < levels:
            for side in (-1.0, 1.0):
                turned = along + 0.8 * side * rng.normal(size=3)
                turned /= np.linalg.norm(turned)
                grow(parent, kind, at, turned, max(0.8 * radius, 0.4), level + 1)

    for kind, end, along in ((3, 1, [1.0, 0, 0]), (3, 1, [0, 1.0, 0]), (4, 2, [0, 0, 1.0])):
        start = np.array([0.0, 0.0, 8.0 * (end - 1)])
        grow(end, kind, start, np.array(along), 1.5, 1)
    np.savetxt(path, np.array(rows), fmt="%d %d %.4f %.4f %.4f %.4f %d")
    return path


def read(path: Path, ncomp: int) -> jx.Cell:
    """The cell, with plausible axial resistivity, all at -65 mV."""
    cell = jx.read_swc(str(write_swc(path)), ncomp=ncomp)
    cell.set("axial_resistivity", 150.0)
    cell.set("v", -65.0)
    return cell
