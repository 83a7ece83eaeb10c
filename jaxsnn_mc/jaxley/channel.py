"""Jaxley's channels as mechanisms.

Jaxley works per membrane area, this solver per compartment. With an area A in um2, the outward
current density i in mA/cm2 is the inward current I = -10 A i in pA (1 mA/cm2 = 10 pA/um2).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval
from jaxley.channels import Channel
from jaxtyping import Array

from ..checks import as_float, shown
from ..mechanism import Mechanism, State, parameter

PER_AREA = 10.0
"""pA/um2 per mA/cm2, and nS/um2 per S/cm2."""

GEOMETRY = ("radius", "length", "axial_resistivity", "capacitance")
"""What Jaxley tells a channel about its compartment (um, um, ohm cm, uF/cm2)."""


@dataclass(frozen=True, eq=False)
class _Same:
    """A channel; equal to another of the same class, name and settings, so that it is static."""

    channel: Channel

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same) or type(self.channel) is not type(other.channel):
            return False
        return vars(self.channel) == vars(other.channel)

    def __hash__(self) -> int:
        return hash((type(self.channel), self.channel._name))


class JaxleyChannel(Mechanism):
    """A channel of Jaxley's, such as `JaxleyChannel(HH(), area=1000.0, HH_gNa=0.1)`, unchanged.

    Its current enters the solver with its exact slope; `update_states` moves its states. Several
    channels that read each other's states or currents are wrapped together, `[CaL(), Pool()]`: they
    act in that order, and one reads another's current at the present voltage.

    **Arguments:** `channel`, or a list; `area` of membrane, um2; `name`, by default the channel's;
    parameters by Jaxley's names, in Jaxley's units (S/cm2, mA/cm2, mV, ms), by default the channel's
    own. A channel that reads its compartment's `capacitance`, `radius`, `length` or
    `axial_resistivity` (uF/cm2, um, um, ohm cm) needs it given too.

    Paths are like "soma.HH.HH_gNa", "soma.HH.area", and for records "soma.HH.HH_m". It starts at rest,
    as after Jaxley's `init_states`. Raises ValueError for a channel that writes the voltage (Jaxley's
    AdEx, Izhikevich, Fire, Rate), or that reads or writes what is not there.
    """

    values: dict[str, Array]
    linear: bool = eqx.field(static=True)
    wrapped: tuple[_Same, ...] = eqx.field(static=True)
    area: Array = parameter("um2", low=0.0, exclusive=True)

    def __init__(
        self, channel: Channel | Iterable[Channel], area: Any, *, name: str = "", **values: Any
    ):
        channels = tuple(channel) if isinstance(channel, Iterable) else (channel,)
        for one in channels:
            _check_type(one)
        own = {k: v for one in channels for k, v in (one.channel_params or {}).items()}
        asked = _check(channels)
        known = [*own, *(key for key in GEOMETRY if key in asked)]
        label = "+".join(str(one.name) for one in channels)
        for key in values:
            if key not in known:
                raise ValueError(f"{label} has no parameter {key!r}; it has {shown(known, 20)}.")
        for key in known:
            if key not in own and key not in values:
                raise ValueError(
                    f"{label} reads the {key} of its compartment; give it: "
                    f"JaxleyChannel(..., {key}=...)."
                )
        self.name = name or label
        self.area = as_float(area, f"{label}.area")
        self.values = {k: as_float((own | values)[k], f"{label}.{k}") for k in known}
        self.wrapped = tuple(map(_Same, channels))
        self.linear = all(_is_affine(one) for one in channels)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("values", {})
        if name not in values:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        return values[name]

    @property
    def channels(self) -> tuple[Any, ...]:
        """The channels, in the order in which they act."""
        return tuple(one.channel for one in self.wrapped)

    def more_parameters(self) -> dict[str, dict[str, Any]]:
        free = {"unit": "in Jaxley's unit", "low": -jnp.inf, "high": jnp.inf, "exclusive": False}
        return dict.fromkeys(self.values, free)

    def init(self, v: Array) -> State:
        wide, params = _wide(v), self._params()
        states = {k: jnp.full_like(wide, x) for k, x in _states(self.channels).items()}
        for one in self.channels:
            states |= one.init_state(states, wide, params, 0.025)
        return _like(v, states)

    def current(self, state: State, v: Array) -> Array:
        wide, states, params = _wide(v), jax.tree.map(_wide, state), self._params()
        density = sum(one.compute_current(states, wide, params) for one in self.channels)
        return -PER_AREA * self.area * _like(v, {"i": density})["i"]

    def advance(self, state: State, v: Array, dt: Array) -> State:
        wide, states, params = _wide(v), jax.tree.map(_wide, state), self._params()
        currents: State = {}
        for one in self.channels if len(self.channels) > 1 else ():
            i, key = one.compute_current(states, wide, params), str(one.current_name)
            currents[key] = currents.get(key, 0.0) + i + jnp.zeros_like(wide)
        for one in self.channels:
            states |= one.update_states({**currents, **states}, dt, wide, params)
        return _like(v, states)

    def _params(self) -> dict[str, Array]:
        return jax.tree.map(_wide, self.values)


def _wide(x: Array) -> Array:
    """Jaxley's channels see arrays (n,)."""
    return jnp.atleast_1d(x)


def _like(v: Array, values: dict[str, Any]) -> State:
    """The values in the shape and type of `v` (a parameter's batch axes kept)."""
    result = {}
    for key, value in values.items():
        x = jnp.asarray(value, v.dtype)
        wide = jnp.broadcast_to(x, jnp.broadcast_shapes(x.shape, _wide(v).shape))
        result[key] = wide.reshape(v.shape) if v.ndim == 0 else wide
    return result


def _states(channels: Iterable[Channel]) -> dict[str, float]:
    return {k: float(x) for one in channels for k, x in (one.channel_states or {}).items()}


# --- what a channel reads and writes ----------------------------------------------------------------


def _check_type(channel: Any) -> None:
    if isinstance(channel, type) and issubclass(channel, Channel):
        raise ValueError(f"Expected a channel, got its class: write {channel.__name__}().")
    if not isinstance(channel, Channel):
        kind = f"{type(channel).__module__}.{type(channel).__name__}"
        raise ValueError(
            f"Only Jaxley channels can be wrapped (no pump, synapse or other module), got a {kind}."
        )


class Asked(dict):
    """A dictionary that notes what it is asked for, and has a value for everything."""

    def __init__(self, value: Any):
        super().__init__()
        self.value, self.keys_asked = value, []

    def __missing__(self, key: str) -> Any:
        self.keys_asked.append(key)
        return self.value


def traffic(channel: Any) -> tuple[set[str], set[str], set[str]]:
    """What `update_states` and `compute_current` read of states and of parameters, and write."""
    read: list[Asked] = []
    written: set[str] = set()

    def run(x: Array) -> None:
        states, params = Asked(x), Asked(x)
        read.extend((states, params))
        written.update(channel.update_states(states, x[0], x, params))
        channel.compute_current(states, x, params)

    jax.eval_shape(run, jnp.zeros(1))
    return set(read[0].keys_asked), set(read[1].keys_asked), written


def _check(channels: tuple[Channel, ...]) -> set[str]:
    """The parameters that the channels read. Raises ValueError for what cannot be wrapped."""
    states, asked = _states(channels), set()
    currents = {str(one.current_name) for one in channels} if len(channels) > 1 else set()
    for one in channels:
        read, params, written = traffic(one)
        if "v" in written:
            raise ValueError(
                f"{one.name} writes the voltage v in update_states, past the solver: only channels "
                "that act by a current can be wrapped. For spikes use mc.AdEx or mc.LIF."
            )
        for key in sorted((read | written) - states.keys() - currents):
            raise ValueError(
                f"{one.name} uses the state or current {key!r}, which is not its own; wrap it together "
                "with the channel that has it: JaxleyChannel([...], area=...)."
            )
        for key in sorted(params - set(GEOMETRY) - (one.channel_params or {}).keys()):
            raise ValueError(f"{one.name} reads {key!r}, which is none of its channel_params.")
        asked |= params
    return asked


def _is_affine(channel: Any) -> bool:
    """Whether the current's slope is the same at all voltages: its program does not use v."""

    def slope(v: Array, x: Array) -> Array:
        def current(v: Array) -> Array:
            return channel.compute_current(Asked(x), v, Asked(x)) + jnp.zeros_like(v)

        return jax.jvp(current, (v,), (jnp.ones_like(v),))[1]

    jaxpr = jax.make_jaxpr(slope)(jnp.zeros(1), jnp.zeros(1)).jaxpr
    _, used = partial_eval.dce_jaxpr(jaxpr, [True])
    return not used[0]
