"""Timing contestants against each other, interleaved, and tables of it.

Machines slow down and speed up: each round times every contestant once, and a ratio is the median
over the rounds of the ratio within a round. A call just before, untimed, makes up for what the
previous contestant did to the caches and the heap.
"""

import importlib.metadata
import math
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from peers import Missing, Run
from tqdm import tqdm

PACKAGES = ("jaxsnn_mc", "jax", "jaxlib", "equinox", "numpy", "scipy", "jaxley", "brian2",
            "cython", "dendrify", "torch")  # fmt: skip
SCALES = {"ns": 1e9, "us": 1e6}
LONG = 1.0  # s; a call that takes longer needs no call before it


@dataclass
class Contestant:
    """What is built, then timed: `n` neurons through `n_steps` of `dt` (ms). Its ratio is to `base`,
    or if there is none to the first row."""

    name: str
    build: Callable[[], Run]
    n: int
    n_steps: int
    dt: float
    base: "Contestant | None" = None
    run: Run | None = None
    missing: str = ""
    walls: list[float] = field(default_factory=list)  # s, one a round
    cpus: list[float] = field(default_factory=list)  # s

    @property
    def work(self) -> float:
        """ms simulated, all neurons together: contestants are compared per this."""
        return self.n * self.n_steps * self.dt


@dataclass
class Table:
    """Contestants on one problem. `exact`: spike times (ms) of neuron 0, the voltage (mV) of the
    recorded compartment at the end, or None where a run knows its own error; `unit`, of the time of a
    step; `ratio`, what the ratios are called; `faster`, whether they say how many times faster
    instead of slower; `rounds`, at most."""

    title: str
    contestants: list[Contestant]
    exact: np.ndarray | float | None
    unit: str = "ns"
    ratio: str = "x first"
    faster: bool = False
    rounds: int | None = None


def race(table: Table, rounds: int) -> None:
    """Build all contestants, and time `rounds` rounds of those that are not missing."""
    bar = tqdm(table.contestants, desc=f"{table.title[:40]}: building", leave=False, disable=None)
    for one in bar:
        try:
            one.run = one.build()
        except Missing as missing:
            one.missing = str(missing)
    rounds = min(rounds, table.rounds or rounds)
    present = [one for one in table.contestants if one.run is not None]
    for _ in tqdm(range(rounds), desc=f"{table.title[:40]}: timing", leave=False, disable=None):
        for one in present:
            assert one.run is not None
            if not one.walls or one.walls[-1] < LONG:
                one.run.call()
            before = _cpu_s()
            one.walls.append(one.run.call())
            one.cpus.append(_cpu_s() - before)


def _cpu_s() -> float:
    """CPU time (s) of this process, all its threads, and the processes that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def figures(one: Contestant, table: Table) -> dict[str, Any]:
    """All that was measured of a contestant, and its medians; times in s unless named otherwise."""
    if one.run is None:
        return {"name": one.name, "missing": one.missing}
    base, run = one.base or table.contestants[0], one.run
    pair = (base, one) if table.faster else (one, base)
    steps = one.n * one.n_steps
    return {
        "name": one.name,
        "kind": run.name,
        "neurons": one.n,
        "steps": one.n_steps,
        "dt_ms": one.dt,
        "setup_s": run.setup_s,
        "wall_s": float(np.median(one.walls)),
        "cpu_s": float(np.median(one.cpus)),
        "ns_per_step": 1e9 * float(np.median(one.walls)) / steps,
        "ratio": _ratio(*[[wall / x.work for wall in x.walls] for x in pair]),
        "cpu_ratio": _ratio(*[[cpu / x.work for cpu in x.cpus] for x in pair]),
        "error": _finite(_error(one, table)),
        "spikes_ms": [float(t) for t in run.spikes],
        "voltage_mV": _finite(run.voltage),
        "parts_s": run.parts,
        "note": run.note,
        "walls_s": one.walls,
        "cpus_s": one.cpus,
    }


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _ratio(ones: list[float], others: list[float]) -> float | None:
    """The median over the rounds, None if one of the two is missing."""
    ratios = [a / b for a, b in zip(ones, others, strict=False)]
    return float(np.median(ratios)) if ratios else None


def _error(one: Contestant, table: Table) -> float:
    """Largest spike-time error (ms), error of the voltage (mV), or the run's own; nan if unknown."""
    assert one.run is not None
    if table.exact is None:
        return one.run.error
    if not isinstance(table.exact, np.ndarray):
        return abs(one.run.voltage - table.exact)
    expected = table.exact[table.exact < one.n_steps * one.dt]
    if len(expected) != len(one.run.spikes) or not len(expected):
        return float("nan")
    return float(np.max(np.abs(one.run.spikes - expected)))


def render(table: Table) -> str:
    """The table as text."""
    exact = [] if table.exact is None else np.atleast_1d(table.exact)
    shown = " ".join(f"{x:.4f}" for x in exact)
    if table.exact is None:
        title, error, last = table.title, "rel. error", ""
    elif isinstance(table.exact, np.ndarray):
        title, error = f"{table.title}; exact: {shown} ms", "error ms"
        last = "spikes of neuron 0 (ms)"
    else:
        title, error = f"{table.title}; exact: {shown} mV", "error mV"
        last = "voltage at the end (mV)"
    head = f"{'setup s':>8}{'run ms':>10}{'CPU ms':>10}{table.unit + '/step':>9}"
    head += f"{table.ratio:>11}{'CPU x':>9}{error:>11}"
    lines = [title, f"  {'':41}{head}  {last}".rstrip()]
    for one in table.contestants:
        lines.append(f"  {one.name:41}{_row(figures(one, table), table)}".rstrip())
    return "\n".join(lines)


def _row(f: dict[str, Any], table: Table) -> str:
    if "missing" in f:
        return f"  missing: {f['missing']}"
    step = _short(f["ns_per_step"] * 1e-9 * SCALES[table.unit], ".4g")
    times = f"{f['setup_s']:8.2f}{1e3 * f['wall_s']:10.3f}{1e3 * f['cpu_s']:10.3f}{step:>9}"
    error = "-" if f["error"] is None else f"{f['error']:.2g}"
    ratios = f"{_short(f['ratio'], '.3f'):>11}{_short(f['cpu_ratio'], '.3f'):>9}{error:>11}"
    result = " ".join(f"{t:.4f}" for t in f["spikes_ms"]) or "none"
    if f["voltage_mV"] is not None:
        result = f"{f['voltage_mV']:.6f}"
    notes = [f"{name} {1e3 * s:.1f} ms of it" for name, s in f["parts_s"].items()]
    notes += [f["note"]] if f["note"] else []
    note = "; ".join(notes)
    if table.exact is None:
        return f"{times}{ratios}  {note}"
    return f"{times}{ratios}  {result}" + (f"  ({note})" if note else "")


def _short(x: float | None, form: str) -> str:
    if x is None:
        return "-"
    return f"{x:,.0f}" if x >= 1e3 else f"{x:{form}}"


def environment() -> dict[str, Any]:
    """What a figure depends on: date, processor, versions, options, and the load at the start."""
    versions = {"python": platform.python_version(), "gcc": _gcc()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load_average": os.getloadavg(),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "versions": versions,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _gcc() -> str:
    try:
        answer = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True)
    except FileNotFoundError:
        return "missing"
    return answer.stdout.strip()
