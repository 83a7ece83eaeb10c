"""What sits in a compartment: currents, states, events. One interface for all of them.

A mechanism is pointwise over the compartments that hold it and never sees the tree. It has a *flow*
(`current`, `advance`), may have an *event* (a margin that crosses zero from below) and then a *jump*
(what the event does). A change at a time known beforehand needs no event: of a conductance, `mean`
accounts for it in closed form; of the voltage, the step is divided at `due` and `switch` makes the
change. A user's own mechanism overrides what it needs; the rest is neutral:

    class MType(mc.Mechanism):                                   # a slow potassium current
        g_max: Array = mc.parameter("nS", 5.0, low=0.0)
        tau: Array = mc.parameter("ms", 50.0, low=0.0, exclusive=True)

        def init(self, v):
            return {"n": self.opening(v)}

        def current(self, state, v):
            return self.g_max * state["n"] * (-90.0 - v)

        def advance(self, state, v, dt):
            n = self.opening(v)
            return {"n": n + (state["n"] - n) * jnp.exp(-dt / self.tau)}

        def opening(self, v):
            return jax.nn.sigmoid((v + 35.0) / 10.0)
"""

import dataclasses
import math
from functools import partial
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .checks import as_float, check_bounds

State: TypeAlias = dict[str, Array]
"""A mechanism's state: named arrays over the compartments that hold it."""


SHORTEST = 1e-9
"""ms. Divisions by the length of a part of a step take no shorter one."""


def parameter(
    unit: str,
    default: float | None = None,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    exclusive: bool = False,
    optional: bool = False,
    kw_only: bool = False,
) -> Any:
    """Declares a parameter of a mechanism: its unit, default and bounds, once.

    **Arguments:** `unit`; `default`, none for a parameter that must be given; `low` and `high`, the
    bounds, themselves allowed unless `exclusive`; `optional`, whether it may be None, which is then
    the default; `kw_only`, whether it is given by its name only.
    """
    metadata = {"unit": unit, "low": low, "high": high, "exclusive": exclusive}
    kwargs: dict[str, Any] = {} if default is None and not optional else {"default": default}
    # The name is put in by Mechanism.__init_subclass__.
    converter = partial(as_float, what="", optional=optional)
    return eqx.field(converter=converter, metadata=metadata, kw_only=kw_only, **kwargs)


def parameters(module: eqx.Module) -> dict[str, dict[str, Any]]:
    """The declared parameters of a module by name, each with its unit, low, high, exclusive; without
    optional ones that are None."""
    declared = {
        f.name: {key: f.metadata[key] for key in ("unit", "low", "high", "exclusive")}
        for f in dataclasses.fields(module)
        if "unit" in f.metadata and getattr(module, f.name) is not None
    }
    return declared | (module.more_parameters() if isinstance(module, Mechanism) else {})


def check(module: eqx.Module) -> None:
    """Runs all the checks that ran when the module was made, as after a change of its leaves."""
    for cls in type(module).__mro__:
        if "__check_init__" in vars(cls):
            cls.__check_init__(module)


class Mechanism(eqx.Module):
    """The interface, with neutral defaults. Units: ms, mV, nS, pA, pF.

    Fields declared with `parameter` are scalars, or arrays (k,) over the k compartments that hold
    the mechanism. All hooks are pointwise and must work for scalars as for arrays.
    """

    name: str = eqx.field(static=True, default="", kw_only=True)

    linear: ClassVar[bool] = False
    """Whether `current` is affine in v for a given state. Newton evaluates such a current once."""

    clocks: ClassVar[tuple[str, ...]] = ()
    """Names of states that only tell the time (ms). A `Surrogate` has nothing to say about them."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name, field in vars(cls).items():
            if isinstance(field, dataclasses.Field) and "unit" in field.metadata:
                field.metadata["converter"].keywords["what"] = f"{cls.__name__}.{name}"

    def __check_init__(self):
        for name, declared in parameters(self).items():
            check_bounds(f"{type(self).__name__}.{name}", getattr(self, name), **declared)

    @property
    def key(self) -> str:
        """The name under which paths and records find the mechanism: `name`, or the class's."""
        return self.name or type(self).__name__

    def more_parameters(self) -> dict[str, dict[str, Any]]:
        """Parameters besides the declared fields, found as attributes: those of what it wraps."""
        return {}

    def init(self, v: Array) -> State:
        """The state at rest at voltage `v` (mV)."""
        return {}

    def receive(self, state: State, drive: Array) -> State:
        """The state after input spikes whose weights add up to `drive`."""
        raise NotImplementedError

    def current(self, state: State, v: Array) -> Array:
        """The current (pA) into the compartment, without the part that `stiff_current` gives."""
        return jnp.zeros_like(v)

    def advance(self, state: State, v: Array, dt: Array) -> State:
        """The state after `dt` (ms) at voltage `v` (mV)."""
        return state

    def mean(self, state: State, v: Array, dt: Array) -> State:
        """The mean state over `dt` (ms) at voltage `v` (mV), for the mean current of a step.

        By default by Simpson's rule. To be overridden where it is known in closed form, and must be
        where a state may jump within `dt` (at a time that it knows).
        """
        middle = self.advance(state, v, 0.5 * dt)
        end = self.advance(middle, v, 0.5 * dt)
        return jax.tree.map(lambda a, b, c: (a + 4.0 * b + c) / 6.0, state, middle, end)

    def stiff_current(self, v: Array, max_slope: Array) -> Array | None:
        """A current (pA) that explodes with v, continued linearly once its slope is `max_slope`."""
        return None

    def stiff_flow(self, v: Array, c_m: Array, dt: Array) -> Array | None:
        """The voltage after `dt` under the stiff current alone, exactly; finite for all v."""
        return None

    def event(self, state: State, v: Array) -> Array | None:
        """A margin that is positive once the mechanism fires; None if it never does."""
        return None

    def jump(self, state: State, v: Array) -> tuple[State, Array]:
        """State and voltage just after firing, from those just before."""
        return state, v

    def held(self, state: State) -> Array | None:
        """For how much longer (ms) the compartment's voltage stays frozen; None if it never is."""
        return None

    def due(self, state: State) -> Array | None:
        """The time (ms) to the next `switch`, 0 where none is planned; None if there never is one."""
        return None

    def switch(self, state: State, v: Array) -> tuple[State, Array]:
        """State and voltage just after a planned change, from those just before."""
        return state, v
