"""What users give, converted and checked: a ValueError names the thing, what it got, and what to do."""

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array


def as_float(x: Any, what: str, optional: bool = False) -> Any:
    """`x` as an array of JAX's default float type; arrays of floats keep theirs, and None if it is
    `optional`."""
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating):
        return x
    if x is None and optional:
        return None
    try:
        return jnp.asarray(x, dtype=jnp.result_type(float))
    except (TypeError, ValueError):
        raise ValueError(
            f"{what} must be a number or an array of numbers, got {x!r:.200}."
        ) from None


def as_positive(x: Any, what: str) -> float:
    """`x`, a time in ms, as a plain positive number."""
    if isinstance(x, Tracer):
        raise ValueError(f"{what} must be a plain number (ms), not traced: it sets the steps.")
    if np.ndim(x) or np.asarray(x).dtype.kind not in "iuf" or not 0 < x < math.inf:
        raise ValueError(f"{what} must be a positive number (ms), got {x!r}.")
    return float(x)


def as_count(x: Any, what: str) -> int:
    """`x` as a whole number, 1 at least."""
    try:
        count = operator.index(x)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"{what} must be a whole number, 1 at least, got {x!r}.")
    return count


def as_tuple(x: Any, what: str) -> tuple[Any, ...]:
    """The items of a list or of anything like it, but not the letters of a string."""
    if isinstance(x, str) or not isinstance(x, Iterable):
        raise ValueError(f"{what} must be a list, got {x!r}.")
    return tuple(x)


def known(x: Any) -> TypeGuard[Array]:
    """Whether `x` is a concrete array, whose values can be checked: not None, not traced."""
    return isinstance(x, jax.Array | np.ndarray) and not isinstance(x, Tracer)


def check_bounds(
    what: str | Callable[[int], str],
    value: Any,
    unit: str,
    low: float = -math.inf,
    high: float = math.inf,
    exclusive: bool = False,
) -> None:
    """Raises ValueError unless all of a concrete `value` is finite and within its bounds.

    `what` names it, or as a function its member at an index of the last axis.
    """
    if not known(value):
        return
    x = np.asarray(value)
    within = (x > low) & (x < high) if exclusive else (x >= low) & (x <= high)
    good = np.isfinite(x) & within
    if good.all():
        return
    bad = tuple(np.argwhere(~good)[0])
    name = what if isinstance(what, str) else what(int(bad[-1]))
    left, right = ("above", "below") if exclusive else ("at least", "at most")
    wanted = [f"{left} {low:g}"] if low > -math.inf else []
    wanted += [f"{right} {high:g}"] if high < math.inf else []
    raise ValueError(
        f"{name} must be finite{''.join(', ' + w for w in wanted)} ({unit}), got {x[bad]:g}."
    )


def shown(names: Iterable[str], most: int = 8) -> str:
    """The first few of the names, quoted."""
    names = list(names)
    text = ", ".join(repr(name) for name in names[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")
