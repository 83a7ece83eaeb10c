"""Recovers eight parameters of a neuron at once, from spike times and a noisy soma voltage.

A Table 1 neuron gets three step currents. Observed are its spike times and its soma voltage every
0.5 ms with 0.5 mV of noise. Many random starts within 40 % are trained together (one vmap), with
exact spike-time gradients through the splitting at dt = 0.1 ms. The loss is smooth in what is seen
while the number of spikes changes: the mean squared voltage error, and the van Rossum distance of the
spike trains. What the data cannot tell is read from the Fisher information J^T J at the truth.
Prints a table and draws a figure. Units: ms, mV, pF, nS, pA.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import matplotlib

import jaxsnn_mc as mc

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")

import jax.numpy as jnp  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import report_neurons as report  # noqa: E402

from jaxsnn_mc.fit import Fit, fit, random_starts  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["soma-apical", "soma-basal", "soma.AdEx.g_leak", "apical.Leak.g_leak",
         "basal.Leak.g_leak", "soma.AdEx.a", "soma.AdEx.b", "soma.AdEx.tau_w"]  # fmt: skip
STEPS = ((-600.0, 10.0, 60.0), (350.0, 20.0, 190.0), (500.0, 10.0, 120.0))  # pA, from, to (ms)
T_MAX, EVERY, SPIKES = 200.0, 5, 16  # record every 5 steps of 0.1 ms
V_NOISE, T_NOISE = 0.5, 0.1  # mV, ms: what the observations are worth
TAU, SPIKE_WEIGHT = 10.0, 4.0  # van Rossum's (ms), and its weight beside the voltage
CLOSE, KNOWN = 0.05, 0.05  # recovered within; identifiable with a standard error below


def observe(neuron: mc.Neuron) -> tuple[jax.Array, jax.Array]:
    """Soma voltages (3, R) in mV and spike times (3, SPIKES) in ms, padded with inf."""

    def one(amplitude: jax.Array, start: jax.Array, stop: jax.Array):
        current = mc.StepCurrent("soma", amplitude, start, stop)
        run = mc.simulate(neuron, [current], t_max=T_MAX, dt=0.1, method=mc.Splitting(),
                          record=["soma"], record_every=EVERY)  # fmt: skip
        return run["soma"], run.spikes("soma")[:SPIKES]

    return jax.vmap(one)(*jnp.asarray(STEPS).T)


def make_loss(voltages: jax.Array, spikes: jax.Array) -> Any:
    """The loss of a neuron against observed voltages and spike times.

    The voltage's errors count up to some 10 mV: the reset of a spike that is not at its place is
    left to the spike times.
    """

    def loss(neuron: mc.Neuron) -> jax.Array:
        v, times = observe(neuron)
        errors = mc.losses.squared_voltage(v, voltages)
        trains = mc.losses.van_rossum(times, spikes, TAU)
        return jnp.mean(errors / (1.0 + errors / 100.0)) + SPIKE_WEIGHT * jnp.mean(trains)

    return loss


def standard_errors(neuron: mc.Neuron) -> tuple[np.ndarray, np.ndarray]:
    """Relative standard errors (8,) by the Cramer-Rao bound, and the eigenvalues of J^T J (8,)."""
    truth = jnp.stack([neuron.get(name) for name in NAMES])

    def features(factors: jax.Array) -> jax.Array:
        v, times = observe(neuron.set(dict(zip(NAMES, truth * factors, strict=True))))
        # a sample beside a spike is told by the spike's time
        times = jnp.where(jnp.isfinite(times), times, 0.0)
        return jnp.concatenate([v.ravel() / V_NOISE, times.ravel() / T_NOISE])

    slopes = np.array(jax.jit(jax.jacfwd(features))(jnp.ones(len(NAMES))))
    v = np.asarray(observe(neuron)[0])
    near = (v > -50.0).ravel()
    slopes[: v.size][near] = 0.0
    fisher = slopes.T @ slopes
    return np.sqrt(np.diag(np.linalg.inv(fisher))), np.linalg.eigvalsh(fisher)


def train(neuron: mc.Neuron, data: tuple, starts: int, steps: int, seed: int) -> Fit:
    """Trains all starts at once; each parameter in units of where it starts."""
    return fit(
        neuron,
        make_loss(*data),
        NAMES,
        optimizer=optax.adam(optax.cosine_decay_schedule(0.03, steps, alpha=0.02), b2=0.98),
        steps=steps,
        starts=random_starts(neuron, NAMES, starts, jax.random.key(seed)),
        scale="initial",
    )


def best_values(done: Fit) -> np.ndarray:
    """The parameters (S, 8) where each start's loss was lowest."""
    return np.stack([np.asarray(done.best.get(name)) for name in NAMES], axis=-1)


def draw(neuron: mc.Neuron, done: Fit, data: tuple, known: np.ndarray) -> plt.Figure:
    """Traces before and after training, parameter errors, and the loss by step."""
    truth = np.array([float(neuron.get(name)) for name in NAMES])
    begun = np.stack([done.history[name][:, 0] for name in NAMES], axis=-1)
    ended, i = best_values(done), int(np.argsort(done.best_loss)[len(done.losses) // 2])
    figure, axes = plt.subplot_mosaic(
        [["0", "1", "2"], ["errors", "errors", "loss"]], figsize=(11.0, 6.5), layout="constrained"
    )
    ts = np.arange(data[0].shape[-1]) * EVERY * 0.1
    for values, colour, label in ((begun[i], "0.6", "before"), (ended[i], "#D55E00", "after")):
        v, _ = observe(neuron.set(dict(zip(NAMES, values, strict=True))))
        for k in range(3):
            axes[str(k)].plot(ts, v[k], color=colour, label=f"{label} (median start)", zorder=2)
    for k, (amplitude, *_) in enumerate(STEPS):
        axes[str(k)].plot(ts, data[0][k], ".", color="black", markersize=2, label="observed")
        axes[str(k)].set(title=f"{amplitude:g} pA", xlabel="time (ms)", ylabel="soma (mV)")
    axes["0"].legend(frameon=False, fontsize="small", loc="lower right")
    for shift, values, colour, label in ((-0.15, begun, "0.6", "before"),
                                         (0.15, ended, "#D55E00", "after")):  # fmt: skip
        errors = np.clip(100.0 * (values / truth - 1.0), -60.0, 60.0)
        x = np.broadcast_to(np.arange(len(NAMES)) + shift, errors.shape)
        axes["errors"].plot(x.ravel(), errors.ravel(), ".", color=colour, alpha=0.5, label=label)
    labels = [
        n + ("" if ok else "\n(not identifiable)") for n, ok in zip(NAMES, known, strict=True)
    ]
    axes["errors"].set_xticks(range(len(NAMES)), labels, rotation=20, fontsize="small",
                              ha="right", rotation_mode="anchor")  # fmt: skip
    axes["errors"].set(ylabel="error (%), cut at 60", ylim=(-63.0, 63.0))
    axes["errors"].axhspan(-100 * CLOSE, 100 * CLOSE, color="0.9", zorder=0)
    axes["errors"].legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    axes["loss"].semilogy(done.losses.T, color="#0072B2", alpha=0.3, linewidth=0.8)
    axes["loss"].set(xlabel="step", ylabel="loss")
    return figure


def summarise(neuron: mc.Neuron, done: Fit, sigma: np.ndarray) -> dict[str, Any]:
    """Prints the table; what the JSON file holds."""
    truth = np.array([float(neuron.get(name)) for name in NAMES])
    values, known = best_values(done), sigma < KNOWN
    errors = np.abs(values / truth - 1.0)
    good = errors < CLOSE
    best = done.best_start
    print(f"\n  {'parameter':<22}{'true':>8}{'best start':>12}{'median error':>14}"
          f"{'within 5 %':>12}{'standard error':>16}")  # fmt: skip
    for k, name in enumerate(NAMES):
        print(f"  {name:<22}{truth[k]:>8g}{values[best, k]:>12.4g}{np.median(errors[:, k]):>13.1%}"
              f"{good[:, k].sum():>8}/{len(good)}{sigma[k]:>15.2%}"
              f"{'' if known[k] else '  not identifiable'}")  # fmt: skip
    recovered = int(good[:, known].all(axis=1).sum())
    print(f"\n{recovered} of {len(good)} starts have all {known.sum()} identifiable parameters "
          f"within {CLOSE:.0%}; {int(good.all(axis=1).sum())} have all {len(NAMES)}.")  # fmt: skip
    return {
        "names": NAMES,
        "true": truth.tolist(),
        "best": values.tolist(),
        "best_loss": np.asarray(done.best_loss).tolist(),
        "relative_standard_errors": sigma.tolist(),
        "identifiable": known.tolist(),
        "recovered": recovered,
        "starts": len(good),
    }


def main() -> int:
    """Makes the data, trains, and writes the results."""
    parser = argparse.ArgumentParser(description="Recovers eight parameters of a neuron at once.")
    add = parser.add_argument
    add("--starts", type=int, default=64, help="random starts (%(default)s)")
    add("--steps", type=int, default=700, help="training steps (%(default)s)")
    add("--seed", type=int, default=0, help="of the starts and of the noise (%(default)s)")
    add("--out", type=Path, default=ROOT / "figures", help="folder for the figure (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="also write the results")
    args = parser.parse_args()
    began, neuron = time.perf_counter(), report.table1()
    voltages, spikes = observe(neuron)
    noise = np.random.default_rng(args.seed).normal(0.0, V_NOISE, voltages.shape)
    data = (voltages + noise, spikes)
    print("Spikes:", *(np.asarray(s)[np.isfinite(s)].round(1).tolist() for s in spikes))
    sigma, eigenvalues = standard_errors(neuron)
    print(f"Fisher information: eigenvalues from {eigenvalues[0]:.3g} to {eigenvalues[-1]:.3g}")
    done = train(neuron, data, args.starts, args.steps, args.seed)
    print(f"{done}; trained in {time.perf_counter() - began:.0f} s")
    truth_loss = float(make_loss(*data)(neuron))
    print(f"The loss at the truth is {truth_loss:.4g} (the noise).")
    content = summarise(neuron, done, sigma) | {"loss_at_truth": truth_loss}
    args.out.mkdir(parents=True, exist_ok=True)
    files = [args.out / "fit_neuron.png"]
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        draw(neuron, done, data, sigma < KNOWN).savefig(files[0], dpi=150)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(content, indent=2) + "\n")
        files.append(args.json)
    print("\nWrote:", *(f"  {path}" for path in files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
