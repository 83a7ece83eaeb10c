"""A neuron as the user writes it: compartments, mechanisms placed on them, couplings.

Inside, a mechanism is placed once per kind, its parameters arrays over the compartments that hold
it; a tree of thousands of compartments is a handful of objects. Any number may carry a leading batch
axis: such a neuron is a population.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .mechanism import Mechanism, State, as_float, check, check_bounds, parameters
from .tree import Tree, build_tree


class Compartment(eqx.Module):
    """A compartment: capacitance `c_m` (pF), mechanisms, and the voltage `v_init` (mV) to start at.

    Without `v_init` it starts at the `v_leak` of the first of its mechanisms that has one.
    """

    c_m: Array = eqx.field(converter=as_float)
    mechanisms: tuple[Mechanism, ...] = eqx.field(converter=tuple, default=())
    v_init: Array | None = eqx.field(
        converter=lambda v: None if v is None else as_float(v), default=None
    )

    def __check_init__(self):
        for mechanism in self.mechanisms:
            if not isinstance(mechanism, Mechanism):
                raise ValueError(f"Expected a Mechanism in a compartment, got {mechanism!r}.")


class NeuronState(eqx.Module):
    """All that changes in a run: `v` (N,) in mV and, for each mechanism, its state (k,)."""

    v: Array
    mechanisms: tuple[State, ...]


class Neuron(eqx.Module):
    """A tree of compartments. Leaves: `c_m` (N,) pF, `g` (N-1,) nS in the order of the couplings,
    `v_init` (N,) mV, and the mechanisms' parameters (k,), each with batch axes before if any.

    **Arguments:** `compartments`, by name; `couplings`, triples (name, name, conductance in nS).

    Raises ValueError if that is no tree, or for a number that is NaN or out of its bounds.
    """

    tree: Tree = eqx.field(static=True)
    placements: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    c_m: Array
    g: Array
    v_init: Array
    mechanisms: tuple[Mechanism, ...]

    def __init__(
        self,
        compartments: Mapping[str, Compartment],
        couplings: Sequence[tuple[str, str, Any]] = (),
    ):
        for coupling in couplings:
            if not isinstance(coupling, Sequence) or len(coupling) != 3:
                raise ValueError(f"A coupling is (compartment, compartment, nS), got {coupling!r}.")
        for name, c in compartments.items():
            if not isinstance(c, Compartment):
                raise ValueError(f"Compartment {name!r} must be a Compartment, got {c!r}.")
        groups = _group(compartments)
        self.placements = tuple(tuple(where) for where, _ in groups)
        self.mechanisms = tuple(_stack(members) for _, members in groups)
        self.tree = build_tree(list(compartments), [(a, b) for a, b, _ in couplings], _root(groups))
        self.c_m = _line([c.c_m for c in compartments.values()])
        self.g = _line([as_float(g) for _, _, g in couplings])
        self.v_init = _line([_start(name, c) for name, c in compartments.items()])

    @classmethod
    def from_arrays(
        cls,
        c_m: Any,
        couplings: Sequence[tuple[int, int]],
        g: Any,
        mechanisms: Sequence[Mechanism | tuple[Mechanism, Sequence[int]]],
        v_init: Any = -65.0,
        names: Sequence[str] | None = None,
    ) -> "Neuron":
        """A neuron from arrays, for large trees.

        **Arguments:** `c_m` (N,) pF; `couplings`, N-1 pairs of compartment numbers, and their
        conductances `g` (N-1,) or scalar, nS; `mechanisms`, each on all compartments or, as a pair
        (mechanism, compartment numbers), on some, with parameters scalar or one a compartment;
        `v_init` (N,) or scalar, mV; `names`, by default the numbers.
        """
        c_m = as_float(c_m)
        if c_m.ndim == 0:
            raise ValueError(
                "c_m must be an array with one capacitance a compartment, got a scalar."
            )
        n = c_m.shape[-1]
        names = [str(i) for i in range(n)] if names is None else list(names)
        if len(names) != n:
            raise ValueError(f"Expected {n} names, one for each c_m, got {len(names)}.")
        groups = [m if isinstance(m, tuple) else (m, range(n)) for m in mechanisms]
        for mechanism, where in groups:
            _check_where(mechanism, where, n)
        for i, j in couplings:
            if not (0 <= i < n and 0 <= j < n):
                raise ValueError(f"The coupling ({i}, {j}) is outside the {n} compartments.")
        self = object.__new__(cls)
        set_ = object.__setattr__
        set_(self, "placements", tuple(tuple(int(i) for i in where) for _, where in groups))
        set_(self, "mechanisms", tuple(_widen(m, len(where)) for m, where in groups))
        root = _root([(list(where), [m]) for m, where in groups])
        set_(self, "tree", build_tree(names, [(names[i], names[j]) for i, j in couplings], root))
        set_(self, "c_m", c_m)
        set_(self, "g", _fill(as_float(g), len(couplings)))
        set_(self, "v_init", _fill(as_float(v_init), n))
        check(self)
        return self

    def __check_init__(self):
        n = self.tree.size
        for what, value, size in (("c_m", self.c_m, n), ("g", self.g, n - 1)):
            if value.shape[-1:] != (size,):
                raise ValueError(f"{what} must have shape ({size},), got {value.shape}.")
        for name, i in zip(self.tree.names, range(n), strict=True):
            check_bounds(f"c_m of {name!r}", self.c_m[..., i], "pF", low=0.0, exclusive=True)
            check_bounds(f"v_init of {name!r}", self.v_init[..., i], "mV")
        check_bounds("The conductance g of a coupling", self.g, "nS", low=0.0)
        held = {}
        for mechanism, where in zip(self.mechanisms, self.placements, strict=True):
            for i in where:
                if mechanism.key in held.setdefault(i, set()):
                    raise ValueError(
                        f"Compartment {self.tree.names[i]!r} holds {mechanism.key!r} twice; give "
                        "one of them a name of its own (name=...)."
                    )
                held[i].add(mechanism.key)

    @property
    def names(self) -> tuple[str, ...]:
        """The compartments' names (N,)."""
        return self.tree.names

    def init(self) -> NeuronState:
        """The state at the start: all at `v_init`, each mechanism at rest there."""
        at = (self.v_init[..., jnp.array(where)] for where in self.placements)
        return NeuronState(
            self.v_init, tuple(m.init(v) for m, v in zip(self.mechanisms, at, strict=True))
        )

    def find(self, compartment: str, mechanism: str) -> tuple[int, int]:
        """Where a mechanism is: its index in `mechanisms`, and the place of the compartment in it."""
        i = self.tree.index(compartment)
        there = []
        for k, (m, where) in enumerate(zip(self.mechanisms, self.placements, strict=True)):
            if i in where:
                there.append(m.key)
                if m.key == mechanism:
                    return k, where.index(i)
        raise ValueError(
            f"Compartment {compartment!r} has no mechanism {mechanism!r}; it has "
            f"{', '.join(there) or 'none'}."
        )

    def get(self, path: str) -> Array:
        """A parameter by its path: "soma.AdEx.tau_w", "soma.c_m", "soma.v_init", "soma-apical"."""
        get, place = self._locate(path)
        return get(self)[..., place]

    def set(self, values: Mapping[str, Any]) -> "Neuron":
        """The same neuron with other values at some paths (as for `get`); (B,) makes a population."""
        neuron = self
        for path, value in values.items():
            get, place = self._locate(path)
            old, value = get(neuron), as_float(value)
            batch = jnp.broadcast_shapes(old.shape[:-1], value.shape)
            new = jnp.broadcast_to(old, (*batch, old.shape[-1])).at[..., place].set(value)
            neuron = eqx.tree_at(get, neuron, new)
        for module in (neuron, *neuron.mechanisms):
            check(module)
        return neuron

    def _locate(self, path: str):
        words = path.split(".")
        if len(words) == 1 and "-" in path:
            for a, b in _splits(path):
                if a in self.names and b in self.names:
                    return (lambda n: n.g), self._edge(a, b)
        if len(words) == 2 and words[1] in ("c_m", "v_init"):
            return (lambda n: getattr(n, words[1])), self.tree.index(words[0])
        if len(words) == 3:
            k, place = self.find(words[0], words[1])
            known = parameters(self.mechanisms[k])
            if words[2] not in known:
                raise ValueError(f"{words[1]} has no parameter {words[2]!r}; it has {list(known)}.")
            return (lambda n: getattr(n.mechanisms[k], words[2])), place
        raise ValueError(
            f"There is no parameter {path!r}; a path is like 'soma.AdEx.tau_w', 'soma.c_m', "
            "'soma.v_init' or, for a coupling, 'soma-apical'."
        )

    def _edge(self, a: str, b: str) -> int:
        at = {user: inside for inside, user in enumerate(self.tree.order)}
        i, j = sorted((at[self.tree.index(a)], at[self.tree.index(b)]))
        if self.tree.parent[j] != i:
            raise ValueError(f"{a!r} and {b!r} are not coupled.")
        return self.tree.edge[j]


def _splits(path: str):
    """All ways to cut "a-b" in two at a dash (names may hold dashes)."""
    words = path.split("-")
    return [("-".join(words[:i]), "-".join(words[i:])) for i in range(1, len(words))]


def _group(compartments: Mapping[str, Compartment]) -> list[tuple[list[int], list[Mechanism]]]:
    """The compartments and instances of each kind of mechanism (kind: its pytree structure)."""
    groups: dict[Any, tuple[list[int], list[Mechanism]]] = {}
    for i, (name, compartment) in enumerate(compartments.items()):
        for mechanism in compartment.mechanisms:
            kind = (mechanism.key, jax.tree.structure(mechanism))
            where, members = groups.setdefault(kind, ([], []))
            if i in where:
                raise ValueError(
                    f"Compartment {name!r} holds {mechanism.key!r} twice; give one of them a name "
                    "of its own (name=...)."
                )
            where.append(i)
            members.append(mechanism)
    return list(groups.values())


def _stack(members: Sequence[Mechanism]) -> Mechanism:
    return jax.tree.map(lambda *leaves: _line(leaves), *members)


def _line(values: Sequence[Any]) -> Array:
    """Scalars, or arrays over a batch, side by side along a last axis."""
    if not values:
        return jnp.zeros((0,))
    return jnp.stack(jnp.broadcast_arrays(*values), axis=-1)


def _fill(value: Array, n: int) -> Array:
    return jnp.broadcast_to(value, (n,)) if value.ndim == 0 else value


def _widen(mechanism: Mechanism, k: int) -> Mechanism:
    wide = jax.tree.map(lambda x: _fill(x, k), mechanism)
    for name in parameters(mechanism):
        shape = getattr(wide, name).shape
        if shape[-1:] != (k,):
            raise ValueError(f"{mechanism.key}.{name} must be a scalar or ({k},), got {shape}.")
    return wide


def _check_where(mechanism: Any, where: Sequence[int], n: int) -> None:
    if not isinstance(mechanism, Mechanism):
        raise ValueError(f"Expected a Mechanism, got {mechanism!r}.")
    outside = [i for i in where if not 0 <= i < n]
    if outside or len(set(where)) < len(where) or not len(where):
        raise ValueError(
            f"{mechanism.key} must be placed on different compartments from 0 to {n - 1}, got "
            f"{list(where)[:8]}."
        )


def _root(groups: Sequence[tuple[Sequence[int], Sequence[Mechanism]]]) -> int:
    """The first spiking compartment: elimination then ends there, where Newton has to iterate."""
    for where, members in groups:
        if type(members[0]).event is not Mechanism.event:
            return where[0]
    return 0


def _start(name: str, compartment: Compartment) -> Array:
    if compartment.v_init is not None:
        return compartment.v_init
    for mechanism in compartment.mechanisms:
        v_leak = getattr(mechanism, "v_leak", None)
        if v_leak is not None:
            return v_leak
    raise ValueError(
        f"Compartment {name!r} has no mechanism with a v_leak to start at; give it v_init (mV)."
    )
