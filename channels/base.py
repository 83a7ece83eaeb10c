"""What our channels share as guests of Jaxley: both of its interfaces, and prefixed names.

Jaxley 0.14 calls `update_states(states, dt, v, params)`, its 1.0.0 branch
`update_states(states, params, voltage, delta_t)`, and so on. The methods here are written with the
names of the latter, in any order, and take only what they need.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from jaxley.channels import Channel

SAME = {"dt": "delta_t", "v": "voltage"}
"""What 0.14 calls by another name."""

C = TypeVar("C", bound=type)


def either_jaxley(channel: C) -> C:
    """Class decorator: makes a channel's methods callable as the installed Jaxley calls them."""
    for name in ("update_states", "compute_current", "init_state"):
        called = inspect.signature(getattr(Channel, name))
        order = [SAME.get(p, p) for p in called.parameters if p != "self"]
        setattr(channel, name, _reordered(vars(channel)[name], order))
    return channel


def _reordered(method: Callable, order: list[str]) -> Callable:
    wanted = [p for p in inspect.signature(method).parameters if p != "self"]

    @functools.wraps(method)
    def called(self, *arguments):
        given = dict(zip(order, arguments, strict=True))
        return method(self, **{name: given[name] for name in wanted})

    return called


def prefixed(values: dict[str, Any], name: str) -> dict[str, Any]:
    """States or parameters under their full names, for the channel called `name`."""
    return {f"{name}_{key}": value for key, value in values.items()}


def own(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The states or parameters of the channel called `name`, without its prefix."""
    return {k[len(name) + 1 :]: value for k, value in values.items() if k.startswith(f"{name}_")}
