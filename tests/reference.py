"""Event-locating reference for spiking multi-compartment neurons: numpy and scipy only.

Independent of the package under test: DOP853 at tight tolerances between discontinuities, spikes
located in continuous time. Units: ms, mV, pF, nS, pA. For compartment i::

    C_i dV_i/dt = g_leak_i (v_leak_i - V_i) + sum_j g_ij (V_j - V_i) + I_i
                  [+ g_exp delta_T exp((V_i - v_exp) / delta_T) - w]      where i is AdEx
    tau_w dw/dt = a (V_i - v_w) - w

At V >= v_th: V -> v_reset, w -> w + b, and V is frozen for t_ref while all else goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

Array = NDArray[np.float64]
MAX_STEP = 1.0  # ms; a LIF excursion above v_th and back inside one solver step would be missed


@dataclass(frozen=True)
class Spiking:
    """A spiking compartment: LIF where g_exp = 0 (no exponential, w stays 0), else AdEx.

    v_w (mV), against which the adaptation is measured: the compartment's v_leak where None.
    """

    compartment: int
    v_th: float
    v_reset: float
    t_ref: float
    g_exp: float = 0.0
    v_exp: float = 0.0
    delta_T: float = 0.0
    a: float = 0.0
    tau_w: float = 1.0
    b: float = 0.0
    v_w: float | None = None


@dataclass(frozen=True)
class Synapse:
    """A current synapse: dI/dt = -I / tau (ms), I += weights[k] (pA) at times[k] (ms)."""

    compartment: int
    tau: float
    times: Sequence[float]
    weights: Sequence[float]


@dataclass(frozen=True, eq=False)
class Problem:
    """A neuron of N compartments and its input; w = 0 at t = 0.

    c_m (pF), g_leak (nS), v_leak (mV), v_init (mV): (N,). couplings: (i, j, g in nS), each pair
    once. steps: (compartment, pA, start, stop), on for start <= t < stop (ms).
    """

    c_m: Array
    g_leak: Array
    v_leak: Array
    v_init: Array
    couplings: tuple[tuple[int, int, float], ...] = ()
    spiking: tuple[Spiking, ...] = ()
    steps: tuple[tuple[int, float, float, float], ...] = ()
    synapses: tuple[Synapse, ...] = ()


@dataclass(frozen=True, eq=False)
class Reference:
    """spikes: compartment -> times (ms); v (len(ts), N) in mV; w (len(ts), n_spiking) in pA.

    v and w are right-continuous: at a spike time they hold the values after the reset.
    """

    spikes: dict[int, Array]
    v: Array
    w: Array


def solve(
    problem: Problem,
    t_max: float,
    ts: ArrayLike | None = None,
    rtol: float = 1e-12,
    atol: float = 1e-10,
) -> Reference:
    """Solve from 0 to t_max (ms); voltages and w at ts (within [0, t_max])."""
    p, cells = problem, problem.spiking
    n, k = len(p.c_m), len(cells)
    grid = np.array([] if ts is None else ts, dtype=float)
    if np.any((grid < 0.0) | (grid > t_max)):
        raise ValueError(f"ts must lie within [0, {t_max}]")
    out = np.full((grid.size, n + k), np.nan)

    # dy/dt = matrix @ y + const + synapses + exponentials, with y = (V, w)
    matrix, const = np.zeros((n + k, n + k)), np.zeros(n + k)
    matrix[range(n), range(n)] = -p.g_leak
    const[:n] = p.g_leak * p.v_leak
    for i, j, g in p.couplings:
        matrix[[i, j], [i, j]] -= g
        matrix[[i, j], [j, i]] += g
    for m, s in enumerate(cells):
        if s.v_reset >= s.v_th:
            raise ValueError("v_reset must lie below v_th")
        if s.g_exp:
            i, v_w = s.compartment, p.v_leak[s.compartment] if s.v_w is None else s.v_w
            matrix[i, n + m] = -1.0
            matrix[n + m, [i, n + m]] = s.a / s.tau_w, -1.0 / s.tau_w
            const[n + m] = -s.a * v_w / s.tau_w
    scale = np.concatenate([1.0 / np.asarray(p.c_m), np.ones(k)])  # of the rows: 1 / C, and 1 for w
    tau = np.array([s.tau for s in p.synapses])
    kicks = [np.broadcast_arrays(np.array(s.times, float), s.weights) for s in p.synapses]
    edges = [t for step in p.steps for t in step[2:]] + [t for times, _ in kicks for t in times]
    spikes: list[list[float]] = [[] for _ in cells]
    held_until = np.full(k, -math.inf)
    y, t = np.concatenate([np.asarray(p.v_init, float), np.zeros(k)]), 0.0

    def fire(m: int) -> None:
        s = cells[m]
        spikes[m].append(t)
        y[s.compartment] = s.v_reset
        y[n + m] += s.b if s.g_exp else 0.0
        held_until[m] = t + s.t_ref

    while t < t_max:
        free = [m for m in range(k) if held_until[m] <= t]
        over = [m for m in free if y[cells[m].compartment] >= cells[m].v_th]
        if over:
            fire(over[0])
            continue
        stop = min([t_max] + [e for e in [*edges, *held_until] if e > t])
        rows = scale.copy()
        rows[[cells[m].compartment for m in range(k) if m not in free]] = 0.0
        drive = const.copy()
        for i, amplitude, begin, end in p.steps:
            drive[i] += amplitude * (begin <= t < end)
        synaptic = np.zeros((n + k, tau.size))
        for c, (s, (times, weights)) in enumerate(zip(p.synapses, kicks, strict=True)):
            past = times <= t
            synaptic[s.compartment, c] = weights[past] @ np.exp((times[past] - t) / s.tau)
        rhs = _right_hand_side(
            t, rows[:, None] * matrix, rows * drive, rows[:, None] * synaptic, tau,
            [(s.compartment, s.g_exp * s.delta_T / p.c_m[s.compartment], s.v_exp, s.delta_T,
              s.v_th + 2.0 * s.delta_T) for s in (cells[m] for m in free) if s.g_exp],
        )  # fmt: skip

        events = [_crossing(cells[m].compartment, cells[m].v_th) for m in free]
        options = {"method": "DOP853", "rtol": rtol, "atol": atol, "max_step": MAX_STEP}
        dense = bool(np.any((t <= grid) & (grid <= stop)))
        run = solve_ivp(rhs, (t, stop), y, events=events or None, dense_output=dense, **options)
        if run.status < 0:
            raise RuntimeError(f"at {run.t[-1]} ms: {run.message}")
        begin, t, y = t, float(run.t[-1]), run.y[:, -1].copy()
        fired = [m for m, hits in zip(free, run.t_events or [], strict=False) if len(hits)]
        if fired:  # Newton from the last whole step: more exact than the dense output
            i, v_th = cells[fired[0]].compartment, cells[fired[0]].v_th
            for _ in range(4):
                y = solve_ivp(rhs, (run.t[-2], t), run.y[:, -2], **options).y[:, -1].copy()
                slope = rhs(t, y)[i]
                if not 1e-13 * max(t, 1.0) < abs(v_th - y[i]) / abs(slope) < 1e-5:
                    break
                t += (v_th - y[i]) / slope
        inside = (begin <= grid) & (grid <= t)
        if inside.any():
            out[inside] = run.sol(grid[inside]).T
        if fired:
            fire(fired[0])
        out[grid == t] = y  # right-continuous
    out[grid == t] = y
    trains = {s.compartment: np.array(times) for s, times in zip(cells, spikes, strict=True)}
    return Reference(trains, out[:, :n], out[:, n:])


def _right_hand_side(
    t0: float,
    matrix: Array,
    const: Array,
    synaptic: Array,
    tau: Array,
    exponentials: list[tuple[int, float, float, float, float]],
) -> Callable[[float, Array], Array]:
    """Return the smooth right-hand side of one segment; exponentials are flat beyond v_top."""

    def rhs(t: float, y: Array) -> Array:
        dy: Array = matrix @ y
        dy += const
        if tau.size:
            dy += synaptic @ np.exp((t0 - t) / tau)
        for i, factor, v_exp, delta_t, v_top in exponentials:
            dy[i] += factor * math.exp((min(y[i], v_top) - v_exp) / delta_t)
        return dy

    return rhs


def _crossing(i: int, v_th: float) -> Callable[[float, Array], float]:
    def margin(_: float, y: Array) -> float:
        return float(y[i] - v_th)

    margin.terminal, margin.direction = True, 1.0  # type: ignore[attr-defined]
    return margin


def sensitivity(
    make: Callable[[float], Problem],
    theta: float,
    t_max: float,
    compartment: int,
    rel: float = 1e-4,
) -> Array:
    """d(spike times of a compartment) / d theta at theta, (n_spikes,): ms per unit of theta.

    Central differences at a step of rel * |theta| (rel itself at 0) and its half, extrapolated.
    """
    step = rel * (abs(theta) or 1.0)

    def times(x: float) -> Array:
        return solve(make(x), t_max).spikes[compartment]

    coarse = (times(theta + step) - times(theta - step)) / (2.0 * step)
    fine = (times(theta + step / 2.0) - times(theta - step / 2.0)) / step
    if coarse.shape != fine.shape:
        raise ValueError("the number of spikes changes within the step")
    return np.asarray((4.0 * fine - coarse) / 3.0)


def table1(t_max: float = math.inf) -> Problem:
    """Table 1: soma (0), apical (1), basal (2); 280 pA into the soma until t_max (ms)."""
    v = np.full(3, -65.0)
    soma = Spiking(0, -40.0, -70.0, 5.0, 10.0, -50.0, 2.0, a=4.0, tau_w=100.0, b=100.0, v_w=-65.0)
    return Problem(
        np.array([125.0, 100.0, 50.0]), np.array([10.0, 2.0, 5.0]), v, v,
        ((0, 1, 5.0), (0, 2, 5.0)), (soma,), steps=((0, 280.0, 0.0, t_max),),
    )  # fmt: skip


def table2(tau_w: float = 100.0, t_max: float = math.inf) -> Problem:
    """Table 2: soma (0), apical (1), basal (2); synapses with their input before t_max (ms)."""
    v = np.full(3, -65.0)
    soma = Spiking(0, -40.0, -70.0, 5.0, 10.0, -55.0, 3.0, a=4.0, tau_w=tau_w, b=100.0, v_w=-65.0)
    inputs = (
        (1, 1000.0, (10.0, 30.0, 70.0, 100.0, 110.0, 150.0, 190.0)),
        (0, 300.0, (20.0, 80.0, 140.0)),
    )
    kept = [(i, weight, tuple(t for t in times if t < t_max)) for i, weight, times in inputs]
    return Problem(
        np.array([120.0, 60.0, 40.0]), np.array([10.0, 8.0, 5.0]), v, v,
        ((0, 1, 30.0), (0, 2, 5.0)), (soma,),
        synapses=tuple(Synapse(i, 5.0, times, (weight,) * len(times)) for i, weight, times in kept),
    )  # fmt: skip


def random_problem(rng: np.random.Generator, n: int) -> Problem:
    """Draw a tree of n >= 2 compartments; its AdEx soma fires at least twice in 150 ms."""
    u = rng.uniform
    g_leak, v_leak = u(1.0, 12.0, n), u(-72.0, -62.0, n)
    soma = int(rng.integers(n))
    v_exp, delta_t = float(u(-55.0, -48.0)), float(u(1.0, 3.0))
    cell = Spiking(
        soma, v_exp + 5.0 * delta_t, float(u(-72.0, -60.0)), float(u(0.5, 5.0)),
        float(g_leak[soma]), v_exp, delta_t, a=float(u(0.0, 6.0)), tau_w=float(u(20.0, 200.0)),
        b=float(u(20.0, 150.0)), v_w=float(v_leak[soma]),
    )  # fmt: skip
    times = tuple(np.sort(u(2.0, 180.0, 4)).tolist())
    synapse = Synapse(
        int(rng.choice([i for i in range(n) if i != soma])), float(u(2.0, 10.0)),
        times, tuple(u(50.0, 400.0, 4).tolist()),
    )  # fmt: skip
    couplings = tuple((int(rng.integers(i)), i, float(u(1.0, 40.0))) for i in range(1, n))
    step = (soma, 100.0, float(u(1.0, 5.0)), float(u(185.0, 200.0)))
    problem = Problem(
        u(40.0, 150.0, n), g_leak, v_leak, v_leak + u(-2.0, 2.0, n),
        couplings, (cell,), (step,), (synapse,),
    )  # fmt: skip
    while len(solve(problem, 150.0, rtol=1e-6, atol=1e-6).spikes[soma]) < 2:
        step = (soma, 1.2 * step[1], *step[2:])
        problem = replace(problem, steps=(step,))
    return problem
