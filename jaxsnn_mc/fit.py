"""Training: an optax optimiser, a loss of a neuron, and what may change in it.

A step is compiled once. The loop over steps is Python's, so that the progress bar, saving, and
stopping need nothing inside of what is compiled.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import numpy as np
import optax
from jaxtyping import Array
from tqdm.auto import tqdm

from .checkpoint import digest
from .neuron import Neuron
from .trainable import Where, find, start_values, transforms
from .training import Batches, Run, Task, start

T = TypeVar("T")
SECONDS_IN_A_PIPE = 10.0
"""How often the progress bar prints a line where it cannot redraw one."""


@dataclasses.dataclass(frozen=True)
class Fit(Generic[T]):
    """The result of `fit`. With S starts, `neuron` and `best` are populations of S neurons.

    - `neuron`, after the last step; `best`, where the loss was lowest;
    - `losses` (n,) or (S, n), before each of the n steps; nan after a start has stopped;
    - `history`, by name the values (n, ...) or (S, n, ...) at these losses, in their units;
    - `best_loss`, `best_step`: a number, or (S,); inf and -1 if no loss was finite;
    - `stopped`, why it ended: a text, or one for each start.
    """

    neuron: T
    best: T
    losses: np.ndarray
    history: dict[str, np.ndarray]
    best_loss: Any
    best_step: Any
    stopped: Any

    @property
    def best_start(self) -> int:
        """Which of the starts had the lowest loss."""
        return int(np.argmin(self.best_loss))

    def __str__(self) -> str:
        losses = np.atleast_2d(self.losses)
        i = self.best_start
        text = f"lowest loss {np.min(self.best_loss):.6g} in step {np.ravel(self.best_step)[i]}"
        if self.losses.ndim == 2:
            text += f" of start {i} of {len(losses)}"
        stopped = self.stopped if isinstance(self.stopped, str) else self.stopped[i]
        return f"{losses.shape[-1]} steps, {text}; {stopped}"


def fit(
    neuron: T,
    loss: Callable[..., Array],
    trainable: Where,
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    scale: float | str | Mapping[str, Any] = 1.0,
    batches: Any = None,
    starts: Mapping[str, Any] | None = None,
    project: Callable[[T], T] | None = None,
    patience: int | None = None,
    key: Array | None = None,
    progress: bool = True,
    save: str | Path | None = None,
    save_every: int = 100,
    resume: str | Path | None = None,
) -> Fit[T]:
    """Minimises `loss(neuron)`, or `loss(neuron, batch)`, over some of a neuron's numbers.

    A parameter is trained in its own unit: away from its bounds, `optax.adam(1.0)` moves a tau_w by
    about 1 ms a step. Bounds hold whatever the learning rate.

    **Arguments:**

    - `neuron`: a `Neuron`, or any pytree with a function as `trainable`; `loss`: a scalar, by jit.
    - `trainable`: paths, as for `Neuron.get`, or a function of the neuron that gives the leaves, as
      for `eqx.tree_at`; their names are then like ".mechanisms[0].tau_w".
    - `optimizer`: any of optax; `steps`: how many steps in total.
    - `bounds`: by name (low, high), to narrow the declared ones; -inf or inf leaves an end.
    - `scale`: a parameter is trained in units of it: a number, "initial" for its starting value
      (one learning rate then suits all, relative to that), or either by name.
    - `batches`: a pytree of arrays whose leading axis counts minibatches, or an iterable of
      minibatches (pytrees of numbers, alike in shape). A step takes one. `key` shuffles the arrays'
      order anew in each pass; without it, and for an iterable, the order is as it is.
    - `starts`: by name values (S, ...) to start from, all trained at once; what is not in it starts
      from the neuron's value. A start whose loss or gradient is not finite is frozen there.
    - `project`: applied to the neuron before the loss, such as a straight-through quantiser. The
      results are not projected.
    - `patience`: stop after so many steps without a new lowest loss.
    - `progress`: whether to show a bar with the loss (the lowest, of many starts).
    - `save`: a file to write every `save_every` steps and at the end. `resume`: such a file to go on
      from, with the same arguments but `steps`; the result is the same to the bit.

    Raises ValueError for an argument that does not fit, or a file that is damaged or from another
    fit. Warns (RuntimeWarning) where a loss or gradient is not finite: which step, which parameter.
    """
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a positive integer, got {steps!r}.")
    limit = np.iinfo(np.int32).max if patience is None else patience
    if limit < 1:
        raise ValueError(f"patience must be a positive number of steps, got {patience!r}.")
    trained, source = find(neuron, trainable), Batches(batches, key)
    values = start_values(trained, neuron, starts)
    limits = transforms(trained, neuron, values, bounds or {}, scale)
    task = Task(loss, project, optimizer, trained, source.indexed)
    state = start(task, limits, values, many=starts is not None)
    problem = digest((neuron, values, limits, source.arrays, source.seed))
    run = Run(task, neuron, limits, state, problem)
    if resume is not None:
        run.load(resume)
    stream = source.stream(run.step)
    with _bar(run.step, steps, progress) as bar:
        while run.step < steps and np.any(run.going):
            run.advance(*next(stream), limit)
            bar.set_postfix_str(f"loss {run.lowest():.4g}", refresh=False)
            bar.update()
            if save is not None and run.step % save_every == 0:
                run.save(save)
    if save is not None:
        run.save(save)
    return _result(run)


def random_starts(
    neuron: Neuron, paths: Sequence[str], number: int, key: Array, spread: float = 0.4
) -> dict[str, Array]:
    """`number` random starts for `fit`: each value times a uniform number in 1 +- `spread`."""
    names, keys = list(paths), jax.random.split(key, len(paths))
    return {
        name: neuron.get(name) * jax.random.uniform(k, (number,), minval=1 - spread, maxval=1 + spread)
        for name, k in zip(names, keys, strict=True)
    }  # fmt: skip


def _bar(first: int, steps: int, progress: bool) -> tqdm:
    in_notebook = any("notebook" in cls.__module__ for cls in tqdm.__mro__)
    redraws = in_notebook or sys.stderr.isatty()
    every = 0.1 if redraws else SECONDS_IN_A_PIPE
    return tqdm(total=steps, initial=first, disable=not progress, unit="step", desc="fit",
                mininterval=every, maxinterval=max(every, 10.0))  # fmt: skip


def _result(run: Run) -> Fit[Any]:
    many, state, trained = run.going.ndim == 1, run.state, run.task.trained
    losses = np.asarray(run.losses)
    values = [np.stack(v) for v in zip(*run.values, strict=True)]
    if many:  # the starts' axis first
        losses, values = losses.T, [np.swapaxes(v, 0, 1) for v in values]
    reasons = run.reasons()
    return Fit(
        neuron=trained.put(run.neuron, run.constrained(state.x)),
        best=trained.put(run.neuron, run.constrained(state.best)),
        losses=losses,
        history=dict(zip(trained.names, values, strict=True)),
        best_loss=np.asarray(state.best_loss) if many else float(state.best_loss),
        best_step=np.asarray(state.best_step) if many else int(state.best_step),
        stopped=tuple(reasons) if many else reasons[0],
    )
