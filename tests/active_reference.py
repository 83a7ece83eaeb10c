"""Event-locating reference for neurons with receptors, dendritic spikes and spike shapes: numpy and
scipy only, independent of the package under test.

DOP853 between discontinuities for the voltages and the adaptation; conductances are closed forms of the
times of input spikes and events. Units: ms, mV, pF, nS, pA. The semantics are those of Dendrify, with
all times in ms: refractory periods only keep from firing, unless `frozen`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.integrate import solve_ivp


@dataclass(frozen=True)
class Receptor:
    """I = g open (e - v) / (1 + mg exp(-alpha (v + gamma)) / beta); mg = 0: no block."""

    compartment: int
    times: Sequence[float]
    weight: float
    g: float
    tau_decay: float
    e: float = 0.0
    mg: float = 0.0
    alpha: float = 0.062
    beta: float = 3.57
    gamma: float = 0.0

    def conductance(self, t: float, v: float) -> float:
        opened = self.weight * sum(math.exp((s - t) / self.tau_decay) for s in self.times if s <= t)
        return (
            self.g * opened / (1.0 + self.mg * math.exp(-self.alpha * (v + self.gamma)) / self.beta)
        )


@dataclass(frozen=True)
class DSpike:
    """Exponential with tau_rise and tau_fall, else rectangular with duration_rise, duration_fall."""

    compartment: int
    g_rise: float
    g_fall: float
    e_rise: float = 70.0
    e_fall: float = -89.0
    v_th: float = -35.0
    offset: float = 0.2
    t_ref: float = 5.0
    tau_rise: float = 0.6
    tau_fall: float = 1.2
    pulses: bool = False
    duration_rise: float = 1.2
    duration_fall: float = 2.4

    def conductances(self, t: float, events: list[float]) -> tuple[float, float]:
        if self.pulses:
            since = t - events[-1] if events else math.inf
            fall = self.offset <= since < self.offset + self.duration_fall
            return self.g_rise * (since < self.duration_rise), self.g_fall * fall
        rise = sum(math.exp((s - t) / self.tau_rise) for s in events)
        starts = [s + self.offset for s in events]
        fall = sum(math.exp((s - t) / self.tau_fall) for s in starts if s <= t)
        return self.g_rise * rise, self.g_fall * fall

    def edges(self, events: list[float]) -> list[float]:
        last = events[-1] if events else -math.inf
        after = [self.offset, self.t_ref]
        if self.pulses:
            after += [self.duration_rise, self.offset + self.duration_fall]
        return [last + dt for dt in after]


@dataclass(frozen=True)
class Soma:
    """A threshold at compartment 0, with adaptation w (pA) or g_a (nS) if there is one."""

    v_th: float
    v_reset: float
    t_ref: float
    v_spike: float | None = None
    spike_width: float = 0.0
    frozen: bool = False
    kind: str = "lif"  # "adaptive": tau w' = a (v - v_a) - w; "cadif": tau g' = a |v - v_a| - g
    a: float = 0.0
    tau: float = 1.0
    b: float = 0.0
    v_a: float = 0.0
    e_a: float = 0.0


@dataclass(frozen=True)
class Problem:
    """Compartments with leaks, couplings (i, j, g), steps (i, pA, start, stop), and what is above."""

    c_m: Sequence[float]
    g_leak: Sequence[float]
    v_leak: float
    couplings: Sequence[tuple[int, int, float]] = ()
    steps: Sequence[tuple[int, float, float, float]] = ()
    receptors: Sequence[Receptor] = ()
    dspikes: Sequence[DSpike] = ()
    soma: Soma | None = None


@dataclass
class Result:
    """Event times of the soma and of each dSpike, the largest V (n,) and the last one."""

    soma: list[float] = field(default_factory=list)
    dspikes: list[list[float]] = field(default_factory=list)
    peak: np.ndarray = field(default_factory=lambda: np.zeros(0))
    v: np.ndarray = field(default_factory=lambda: np.zeros(0))


def solve(p: Problem, t_max: float, rtol: float = 1e-11) -> Result:
    """Solves from rest, 0 to t_max (ms)."""
    n, soma = len(p.c_m), p.soma
    c_m, g_leak = np.array(p.c_m, float), np.array(p.g_leak, float)
    axial = np.zeros((n, n))
    for i, j, g in p.couplings:
        axial[[i, j], [j, i]] += g
        axial[[i, j], [i, j]] -= g
    result = Result([], [[] for _ in p.dspikes])
    y, t = np.append(np.full(n, p.v_leak), 0.0), 0.0
    if soma and soma.kind == "cadif":
        y[n] = soma.a * abs(y[0] - soma.v_a)
    peak = y[:n].copy()
    inputs = [e for s in p.steps for e in s[2:]] + [s for r in p.receptors for s in r.times]
    margins = [(0, soma.v_th)] if soma else []
    margins += [(d.compartment, d.v_th) for d in p.dspikes]
    trains = ([result.soma] if soma else []) + result.dspikes
    block = [soma.t_ref] if soma else []
    block += [d.t_ref if d.pulses else max(d.t_ref, d.offset) for d in p.dspikes]

    def ready(k: int) -> bool:
        return not trains[k] or t >= trains[k][-1] + block[k]

    def fire(k: int) -> None:
        trains[k].append(t)
        if soma and k == 0:
            y[0] = soma.v_reset if soma.v_spike is None else soma.v_spike
            y[n] += soma.b

    while t < t_max:
        over = [k for k, (i, v_th) in enumerate(margins) if ready(k) and y[i] >= v_th]
        if over:
            fire(over[0])
            continue
        edges = [
            *inputs,
            *(e for d, s in zip(p.dspikes, result.dspikes, strict=True) for e in d.edges(s)),
        ]
        edges += [s[-1] + b for s, b in zip(trains, block, strict=True) if s]
        second = math.inf
        if soma and soma.v_spike is not None and result.soma:
            second = result.soma[-1] + soma.spike_width
        stop = min([t_max] + [e for e in [*edges, second] if e > t])
        frozen = bool(soma and soma.frozen and not ready(0))
        middle = 0.5 * (t + stop)  # on which side of each edge this segment is

        def rhs(s: float, y: np.ndarray, middle=middle, frozen=frozen) -> np.ndarray:
            v = y[:n]
            current = g_leak * (p.v_leak - v) + axial @ v
            for i, amplitude, start, end in p.steps:
                current[i] += amplitude * (start <= middle < end)
            for r in p.receptors:
                past = [x for x in r.times if x <= middle]
                at = Receptor(**{**vars(r), "times": past})
                current[r.compartment] += at.conductance(s, v[r.compartment]) * (
                    r.e - v[r.compartment]
                )
            for d, events in zip(p.dspikes, result.dspikes, strict=True):
                if d.pulses:
                    rise, fall = d.conductances(middle, events)
                else:
                    rise, _ = d.conductances(s, events)
                    past = [x for x in events if x + d.offset <= middle]
                    fall = d.g_fall * sum(math.exp((x + d.offset - s) / d.tau_fall) for x in past)
                u = v[d.compartment]
                current[d.compartment] += rise * (d.e_rise - u) + fall * (d.e_fall - u)
            slow = 0.0
            if soma and soma.kind == "adaptive":
                current[0] -= y[n]
                slow = (soma.a * (v[0] - soma.v_a) - y[n]) / soma.tau
            if soma and soma.kind == "cadif":
                current[0] += y[n] * (soma.e_a - v[0])
                slow = (soma.a * abs(v[0] - soma.v_a) - y[n]) / soma.tau
            dv = current / c_m
            if frozen:
                dv[0] = 0.0
            return np.append(dv, slow)

        free = [k for k in range(len(margins)) if ready(k)]
        crossings = [_crossing(*margins[k]) for k in free]
        tops = [_top(i, rhs) for i in range(n)]
        run = solve_ivp(
            rhs, (t, stop), y, method="DOP853", rtol=rtol, atol=1e-10, max_step=0.5,
            events=[*crossings, *tops],
        )  # fmt: skip
        if run.status < 0:
            raise RuntimeError(run.message)
        t, y = float(run.t[-1]), run.y[:, -1].copy()
        for i in range(n):
            tops_of_i = [state[i] for state in run.y_events[len(free) + i]]
            peak[i] = max([peak[i], y[i], *tops_of_i])
        fired = [k for k, hits in zip(free, run.t_events, strict=False) if len(hits)]
        if fired:
            fire(fired[0])
        elif t == second and soma:
            y[0] = soma.v_reset
    result.peak, result.v = peak, y[:n]
    return result


def _crossing(i: int, v_th: float):
    def margin(_: float, y: np.ndarray) -> float:
        return float(y[i] - v_th)

    margin.terminal, margin.direction = True, 1.0  # type: ignore[attr-defined]
    return margin


def _top(i: int, rhs):
    def slope(t: float, y: np.ndarray) -> float:
        return float(rhs(t, y)[i])

    slope.direction = -1.0  # type: ignore[attr-defined]
    return slope


def derivative(f, theta: float, step: float):
    """df/dtheta by central differences at a step and half of it, extrapolated."""
    wide = (f(theta + step) - f(theta - step)) / (2.0 * step)
    narrow = (f(theta + step / 2) - f(theta - step / 2)) / step
    return (4.0 * narrow - wide) / 3.0


def active(n: int = 0, into: int = 3, soma: bool = True, dspikes: bool = True, **kwargs) -> Problem:
    """Dendrify's example 2: soma (0), trunk, prox and dist (3), with n synapses, 0.1 ms apart from 20
    ms, on one of them. Further arguments replace those of `Problem`."""
    sizes = ((25.0, 25.0, 1.0), (100.0, 2.5, 1.5), (100.0, 1.0, 1.5), (100.0, 0.5, 1.5))
    area = np.array([math.pi * length * d * 2.8 * spine for length, d, spine in sizes]) * 1e-8
    times = [20.0 + 0.1 * k for k in range(n)]
    one = Soma(-40.0, -55.0, 4.0, v_spike=40.0, spike_width=0.5)
    synapses = [Receptor(into, times, 1.0, 0.8, 2.0), Receptor(into, times, 1.0, 0.8, 60.0, mg=1.0)]
    spikes = [DSpike(1, 34.0, 27.2), DSpike(2, 15.3, 12.24), DSpike(3, 7.0, 5.6)]
    given = {
        "c_m": area * 1e6,
        "g_leak": area * 40.0 * 1e3,
        "v_leak": -70.0,
        "couplings": ((0, 1, 15.0), (1, 2, 10.0), (2, 3, 4.0)),
        "receptors": synapses if n else [],
        "dspikes": spikes if dspikes else [],
        "soma": one if soma else None,
    }
    return Problem(**{**given, **kwargs})
