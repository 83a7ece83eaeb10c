"""The compiled training step, and a run of it from the outside."""

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from . import checkpoint
from .trainable import Trained
from .transforms import Transform


class State(eqx.Module):
    """All that a step changes, of one start (or of S, with an axis before)."""

    x: list[Array]
    optimizer: Any
    going: Array
    best: list[Array]
    best_loss: Array
    best_step: Array


class Task(eqx.Module):
    """What a step is told that never changes."""

    loss: Callable[..., Array]
    project: Callable[[Any], Any] | None
    optimizer: Any
    trained: Trained = eqx.field(static=True)
    batches: bool | None = eqx.field(static=True)  # None: no batches; True: take one by its index


def start(
    task: Task, transforms: Sequence[Transform], values: Sequence[Array], many: bool
) -> State:
    """The state before the first step."""

    def one(transforms: Sequence[Transform], values: Sequence[Array]) -> State:
        x = [t.free(v) for t, v in zip(transforms, values, strict=True)]
        number = jnp.zeros((), jnp.result_type(float))
        none = jnp.full((), -1, jnp.int32)
        return State(x, task.optimizer.init(x), jnp.array(True), x, number + jnp.inf, none)

    state = (jax.vmap(one) if many else one)(list(transforms), list(values))
    # Neither types nor weak types may change later: the step would be compiled again.
    return jax.tree.map(lambda leaf: jnp.array(leaf, jnp.asarray(leaf).dtype), state)


@eqx.filter_jit
def _step(task: Task, neuron, transforms, state: State, data, index, step, patience):
    batch = jax.tree.map(lambda b: b[index], data) if task.batches else data

    def one(transforms: list[Transform], state: State):
        return _step_of_one(task, neuron, batch, transforms, state, step, patience)

    return (jax.vmap(one) if state.going.ndim else one)(transforms, state)


def _step_of_one(task: Task, neuron, batch, transforms, state: State, step, patience):
    """The state after a step, and (loss, values, finite (1 + leaves,), going) of that step."""

    def objective(x: list[Array]) -> tuple[Array, list[Array]]:
        values = [t.constrain(u) for t, u in zip(transforms, x, strict=True)]
        trial = task.trained.put(neuron, values)
        trial = trial if task.project is None else task.project(trial)
        loss = jnp.asarray(task.loss(trial) if task.batches is None else task.loss(trial, batch))
        if loss.shape != ():
            raise ValueError(f"The loss must be a scalar, got shape {loss.shape}; take its mean.")
        return loss.astype(state.best_loss.dtype), values

    (loss, values), slope = jax.value_and_grad(objective, has_aux=True)(state.x)
    extra = {"value": loss, "grad": slope, "value_fn": lambda x: objective(x)[0]}
    optimizer = optax.with_extra_args_support(task.optimizer)
    updates, optimizer_state = optimizer.update(slope, state.optimizer, state.x, **extra)
    x: Any = optax.apply_updates(state.x, updates)
    leaves = [jnp.isfinite(s).all() & jnp.isfinite(u).all() for s, u in zip(slope, x, strict=True)]
    finite = jnp.stack([jnp.isfinite(loss), *leaves])
    go = state.going & finite.all()
    better = state.going & (loss < state.best_loss) & jnp.isfinite(loss)
    best_step = jnp.where(better, step, state.best_step)
    new = State(
        x=_choose(go, x, state.x),
        optimizer=_choose(go, optimizer_state, state.optimizer),
        going=go & (step - best_step < patience),
        best=_choose(better, state.x, state.best),
        best_loss=jnp.where(better, loss, state.best_loss),
        best_step=best_step,
    )
    return new, (jnp.where(state.going, loss, jnp.nan), values, finite, new.going)


def _choose(condition: Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b).astype(b.dtype), yes, no)


def _is_stream(batches: Any) -> bool:
    """Whether it is iterable but not known to JAX as a pytree (which would warn of it)."""
    known = list | tuple | dict | jax.Array | np.ndarray | eqx.Module
    return hasattr(batches, "__iter__") and not isinstance(batches, known)


class Batches:
    """Minibatches: arrays of which a step takes one by its index, or an iterable, or none."""

    def __init__(self, batches: Any, key: Array | None):
        leaves = jax.tree.leaves(batches, is_leaf=_is_stream)
        arrays = bool(leaves) and all(isinstance(b, jax.Array | np.ndarray) for b in leaves)
        self.indexed = None if batches is None else arrays
        self.arrays = jax.tree.map(jnp.asarray, batches) if arrays else None
        self.seed = None if key is None else jax.random.key_data(key)
        self._key = key
        self._iterable: Any = batches
        if arrays:
            sizes = {b.shape[:1] for b in leaves}
            if len(sizes) != 1 or sizes & {(), (0,)}:
                raise ValueError(
                    "batches must be arrays with one leading axis, got shapes "
                    f"{[b.shape for b in leaves]}."
                )
            ((self._number,),) = sizes
        elif batches is not None and not hasattr(batches, "__iter__"):
            raise ValueError(f"batches must be arrays or an iterable, got {type(batches)}.")

    def stream(self, first: int) -> Iterator[tuple[Any, Array]]:
        """What each step from `first` on takes: data, and an index into it if it is indexed."""
        if self.indexed is None:
            return itertools.repeat((None, jnp.zeros((), jnp.int32)))
        return itertools.islice(
            self._by_index() if self.indexed else self._one_by_one(), first, None
        )

    def _by_index(self) -> Iterator[tuple[Any, Array]]:
        for epoch in itertools.count():
            order = np.arange(self._number)
            if self._key is not None:
                shuffled = jax.random.permutation(
                    jax.random.fold_in(self._key, epoch), self._number
                )
                order = np.asarray(shuffled)
            for i in order:
                yield self.arrays, jnp.asarray(i, jnp.int32)

    def _one_by_one(self) -> Iterator[tuple[Any, Array]]:
        while True:
            number = 0
            for batch in self._iterable:
                number += 1
                yield jax.tree.map(jnp.asarray, batch), jnp.zeros((), jnp.int32)
            if not number:
                raise ValueError("batches ended: give as many minibatches as steps, or a list.")


class Run:
    """Training under way: the state on the device, and what has been recorded of it."""

    def __init__(
        self, task: Task, neuron: Any, transforms: list[Transform], state: State, problem: str
    ):
        self.task, self.neuron, self.transforms, self.state = task, neuron, transforms, state
        self.problem, self.step = problem, 0
        self.going = np.asarray(state.going)
        self.losses: list[np.ndarray] = []
        self.values: list[list[np.ndarray]] = []
        self.stopped: dict[int, str] = {}

    def advance(self, data: Any, index: Array, patience: int) -> None:
        """Takes one step."""
        number = jnp.asarray(self.step, jnp.int32)
        limit = jnp.asarray(patience, jnp.int32)
        self.state, out = _step(
            self.task, self.neuron, self.transforms, self.state, data, index, number, limit
        )
        loss, values, finite, going = jax.device_get(out)
        self.losses.append(loss)
        self.values.append(values)
        for i in np.flatnonzero(np.ravel(self.going) & ~np.ravel(going)):
            self._stop(int(i), finite.reshape(-1, finite.shape[-1])[i])
        self.going = going
        self.step += 1

    def _stop(self, i: int, finite: np.ndarray) -> None:
        """Says why start i has stopped in this step."""
        if finite.all():
            self.stopped[i] = f"no lower loss since step {int(np.ravel(self.state.best_step)[i])}"
            return
        names = self.task.trained.names
        bad = [name for name, good in zip(names, finite[1:], strict=True) if not good]
        what = [] if finite[0] else [f"the loss is {np.ravel(self.losses[-1])[i]}"]
        what += [f"the gradient of {', '.join(bad)} is not finite"] if bad else []
        many = self.going.ndim == 1
        values = (v[i] if many else v for v in self.values[-1])
        at = ", ".join(f"{n} = {v}" for n, v in zip(names, values, strict=True))
        self.stopped[i] = f"in step {self.step} {' and '.join(what)}, at {at}"
        start = f" of start {i}" if many else ""
        warnings.warn(f"The fit{start} stopped: {self.stopped[i]}.", RuntimeWarning, stacklevel=4)

    def lowest(self) -> float:
        """The last loss; of many starts, the lowest."""
        losses = np.ravel(self.losses[-1])
        finite = losses[np.isfinite(losses)]
        return float(finite.min()) if finite.size else float("nan")

    def reasons(self) -> list[str]:
        """Why each start has stopped."""
        return [
            self.stopped.get(i, "all steps done" if go else "stopped")
            for i, go in enumerate(np.ravel(self.going))
        ]

    def constrained(self, x: list[Array]) -> list[Array]:
        """The parameters for unbounded numbers."""
        return [t.constrain(u) for t, u in zip(self.transforms, x, strict=True)]

    def save(self, path: str | Path) -> None:
        """Writes all to a file."""
        values = [np.stack(v) for v in zip(*self.values, strict=True)]
        arrays = (self.state, np.asarray(self.losses), values)
        header = {"step": self.step, "names": self.task.trained.names, "problem": self.problem}
        checkpoint.write(path, arrays, header | {"stopped": list(self.stopped.items())})

    def load(self, path: str | Path) -> None:
        """Goes on from a file. Raises ValueError if it is damaged or of another fit."""
        header, data = checkpoint.read_header(path)
        names = list(self.task.trained.names)
        if header["names"] != names:
            raise ValueError(f"{path} was saved by a fit of {header['names']}, not of {names}.")
        if header["problem"] != self.problem:
            raise ValueError(
                f"{path} was saved by a fit with another neuron, starts, bounds, scale, batches or key."
            )
        n = header["step"]
        losses = np.zeros((n, *self.going.shape), self.state.best_loss.dtype)
        values = [np.zeros((n, *x.shape), x.dtype) for x in self.state.x]
        arrays = checkpoint.read_arrays(path, header, data, (self.state, losses, values))
        self.state, losses, values = arrays
        self.losses = list(losses)
        self.values = [[v[k] for v in values] for k in range(n)]
        self.stopped = dict(header["stopped"])
        self.going, self.step = np.asarray(self.state.going), n
