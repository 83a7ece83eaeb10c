"""The memory of a gradient over more and more steps.

The loss is the squared voltage of the soma where the run ends, so that nothing is recorded on the
way. It is compiled, not run: XLA says what it will allocate.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from peers import NEURON
from problems import NAMES
from report_neurons import table1
from tqdm import tqdm

import jaxsnn_mc as mc

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)  # steps, equally far apart


@dataclass(frozen=True)
class Memory:
    """Temporary memory (bytes) of a gradient of `steps`, by a method's name."""

    steps: tuple[int, ...]
    used: dict[str, list[int]]

    def growth(self, name: str) -> float:
        """p of the last three sizes, where memory = constant + c steps^p; nan if it is constant."""
        a, b, c = self.used[name][-3:]
        factor = self.steps[-1] / self.steps[-2]
        return math.log((c - b) / (b - a)) / math.log(factor) if c > b > a else math.nan


def measure(quick: bool) -> Memory:
    """For both methods at their own dt, in float64."""
    sizes, used = (SIZES[:3] if quick else SIZES), {}
    for method, name in NAMES.items():
        bar = tqdm(sizes, desc=f"memory, {name}: compiling", leave=False, disable=None)
        used[name] = [_temporary(method, n_steps) for n_steps in bar]
    return Memory(sizes, used)


def _temporary(method: mc.StepMethod, n_steps: int) -> int:
    t_max = n_steps * method.default_dt

    def loss(neuron: mc.Neuron, inputs: list) -> jax.Array:
        end = mc.simulate(neuron, inputs, t_max=t_max, method=method, record=()).state
        return end.v[neuron.names.index("soma")] ** 2

    with jax.enable_x64(True):
        moving = table1(), [mc.StepCurrent("soma", NEURON.current)]
        compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*moving).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None  # some backends have none
    return analysis.temp_size_in_bytes


def render(memory: Memory) -> str:
    """The table as text."""
    head = "".join(f"{f'{n:,} steps':>18}" for n in memory.steps)
    lines = [
        "Temporary memory of a gradient, one neuron, float64 (kB)",
        f"  {'':20}{head}{'exponent':>10}",
    ]
    for name, used in memory.used.items():
        row = "".join(f"{size / 1e3:18,.1f}" for size in used)
        lines.append(f"  {name:20}{row}{memory.growth(name):10.2f}")
    return "\n".join(lines)


def plot(memory: Memory, path: Path) -> None:
    """Memory over steps, with lines as the steps and as their square root."""
    figure, ax = plt.subplots(figsize=(5.0, 3.6), layout="constrained")
    steps = np.array(memory.steps, float)
    for (name, used), marker in zip(memory.used.items(), "os", strict=True):
        ax.loglog(steps, np.array(used) / 1e3, marker=marker, label=name)
    first, last = (max(used[i] for used in memory.used.values()) / 1e3 for i in (0, -1))
    ax.loglog(steps, first * steps / steps[0], "k:", lw=1, label="as the steps")
    ax.loglog(steps, last * np.sqrt(steps / steps[-1]), "k--", lw=1, label="as their square root")
    ax.set(xlabel="steps", ylabel="temporary memory (kB)", title="Gradient of one neuron, float64")
    ax.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
