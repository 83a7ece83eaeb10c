"""Gradients: what one costs beside a forward run, and against PyTorch's.

The loss is the mean of the squared soma voltage after each step, its gradient by every number of the
neuron and its input. Units: ms, mV, pF, nS, pA; wall-clock times in s.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import peers
from peers import NEURON, Run
from problems import DT, EULER, NAMES, SPLITTING, reference, spread
from race import Contestant, Table
from report_neurons import table1

import jaxsnn_mc as mc

STEPS = 5_000
STEP = 1e-6  # relative, of the differences: no spike crosses a point where the loss is taken
LEAKS = ("soma.AdEx", "apical.Leak", "basal.Leak")
NUMBERS = [
    (name, k)
    for name, value in vars(NEURON).items()
    if name != "t_ref"
    for k in range(np.size(value))
]
"""What the neuron's gradient is compared by: the numbers of NEURON that PyTorch differentiates by."""


def gradient(quick: bool) -> Iterator[Table]:
    """Reverse mode beside forward, both in `jax.jit`, 5,000 steps; then PyTorch's gradient."""
    n_steps = 500 if quick else STEPS
    for n in (1, 64) if quick else (1, 1_000):
        for dtype in ("float64",) if quick else ("float64", "float32"):
            rows = []
            for method, dt in ((EULER, DT), (SPLITTING, DT), (SPLITTING, 10 * DT)):
                rows += _pair(n, n_steps, dtype, method, dt)
            size = "one neuron" if n == 1 else f"{n:,} neurons"
            title = f"Gradient beside forward, {size}, {dtype}, {n_steps:,} steps"
            yield Table(title, rows, None, ratio="x forward")
    for t_max in (3.0,) if quick else (STEPS * DT, STEPS * DT / 2):
        yield _against_torch(t_max)


def _pair(
    n: int, n_steps: int, dtype: str, method: mc.StepMethod, dt: float
) -> tuple[Contestant, Contestant]:
    """The forward run and the gradient, which is compared with it."""
    make = _one if n == 1 else partial(spread, n)
    build = partial(ours, make, n_steps, dtype, method, dt)
    name = f"{NAMES[method]}, dt = {dt:g} ms"
    forward = Contestant(f"{name}, forward", partial(build, reverse=False), n, n_steps, dt)
    forward.base = forward
    return forward, Contestant(f"{name}, gradient", build, n, n_steps, dt, base=forward)


def _one() -> tuple[mc.Neuron, list]:
    return table1(), [mc.StepCurrent("soma", NEURON.current)]


def _loss(
    moving: tuple[mc.Neuron, list], n_steps: int, dt: float, method: mc.StepMethod
) -> jax.Array:
    options: dict[str, Any] = {"t_max": n_steps * dt, "dt": dt, "method": method}
    solution = mc.simulate(*moving, record=["soma"], **options)
    return jnp.mean(solution["soma"][..., 1:] ** 2)


def ours(
    make: Callable[[], tuple[mc.Neuron, list]],
    n_steps: int,
    dtype: str,
    method: mc.StepMethod,
    dt: float,
    reverse: bool = True,
) -> Run:
    """The loss and in `reverse` its gradient, too, of a neuron and its inputs; all of it traced and
    compiled at once."""
    loss = partial(_loss, n_steps=n_steps, dt=dt, method=method)
    with jax.enable_x64(dtype == "float64"):
        moving = jax.block_until_ready(make())
        begin = time.perf_counter()
        run = jax.jit(jax.value_and_grad(loss) if reverse else loss).lower(moving).compile()
        setup_s = time.perf_counter() - begin

    def call() -> float:
        begin = time.perf_counter()
        jax.block_until_ready(run(moving))
        return time.perf_counter() - begin

    with jax.enable_x64(dtype == "float64"):
        by = _by_numbers(*run(moving)[1]) if reverse and make is _one else None
    return Run("jaxsnn_mc", call, setup_s, np.array([]), gradient=by)


def _by_numbers(neuron: mc.Neuron, inputs: list) -> np.ndarray:
    """Our gradient by the numbers of NEURON: one v_leak stands for all of them and their v_init."""
    paths = {
        "c_m": ["soma.c_m", "apical.c_m", "basal.c_m"],
        "g_leak": [f"{place}.g_leak" for place in LEAKS],
        "g_axial": ["soma-apical", "soma-basal"],
    }
    starts = ["soma.v_init", "apical.v_init", "basal.v_init"]
    leak = sum(neuron.get(path) for path in [*(f"{place}.v_leak" for place in LEAKS), *starts])
    known: dict[str, Any] = {"v_leak": leak, "current": inputs[0].amplitude}
    by = [
        known[name] if name in known else neuron.get(paths.get(name, [f"soma.AdEx.{name}"])[k])
        for name, k in NUMBERS
    ]
    return np.array(by, float)


# --- against PyTorch ------------------------------------------------------------------------------


def _against_torch(t_max: float) -> Table:
    """The time to one gradient of the same run in float64, and the errors of the gradients."""
    n_steps = round(t_max / DT)
    torch = Contestant(
        "PyTorch, implicit Euler, dt = 0.01 ms",
        lambda: _judged(peers.torch_gradient(n_steps, DT), n_steps, DT),
        1,
        n_steps,
        DT,
    )
    rows = [torch]
    for method, dt in ((EULER, DT), (SPLITTING, DT), (SPLITTING, 10 * DT)):
        steps = round(t_max / dt)
        name = f"ours, {NAMES[method]}, dt = {dt:g} ms"
        build = partial(_ours_judged, steps, method, dt)
        rows.append(Contestant(name, build, 1, steps, dt))
    spikes = len(reference.solve(reference.table1(), t_max).spikes[0])
    after = f"{t_max:g} ms with {spikes or 'no'} spike{'s' * (spikes != 1)}"
    title = f"Gradient against PyTorch, one neuron, float64, {after}"
    return Table(title, rows, None, "us", "x faster", faster=True, rounds=2)


def _ours_judged(n_steps: int, method: mc.StepMethod, dt: float) -> Run:
    return _judged(ours(_one, n_steps, "float64", method, dt), n_steps, dt)


def _judged(run: Run, n_steps: int, dt: float) -> Run:
    """With the relative error of its gradient: by the logarithm of each number (so that units do
    not matter), the norm of the difference over the norm."""
    assert run.gradient is not None
    exact = exact_gradient(n_steps, dt)
    found = run.gradient * [np.ravel(getattr(NEURON, name))[k] for name, k in NUMBERS]
    return replace(run, error=float(np.linalg.norm(found - exact) / np.linalg.norm(exact)))


@cache
def exact_gradient(n_steps: int, dt: float) -> np.ndarray:
    """The loss's derivative by the logarithm of each of NUMBERS: differences of the event-locating
    reference, of its voltages at the ends of the steps."""
    ts = np.arange(1, n_steps + 1) * dt

    def loss(name: str, k: int, factor: float) -> float:
        values = np.array(getattr(NEURON, name), float)
        values.flat[k] *= factor
        neuron = replace(NEURON, **{name: values.tolist()})
        return float(np.mean(reference.solve(_problem(neuron), ts[-1], ts).v[:, 0] ** 2))

    return np.array(
        [(loss(*x, 1 + STEP) - loss(*x, 1 - STEP)) / (2 * STEP) for x in NUMBERS],
    )


def _problem(n: peers.Table1) -> reference.Problem:
    """The reference's form of a neuron like NEURON."""
    v, (apical, basal) = np.full(3, n.v_leak), n.g_axial
    soma = reference.Spiking(
        0, n.v_th, n.v_reset, n.t_ref, n.g_leak[0], n.v_exp, n.delta_T, n.a, n.tau_w, n.b, n.v_leak
    )
    couplings = ((0, 1, apical), (0, 2, basal))
    current = ((0, n.current, 0.0, math.inf),)
    c_m, g_leak = np.array(n.c_m), np.array(n.g_leak)
    return reference.Problem(c_m, g_leak, v, v, couplings, (soma,), current)
