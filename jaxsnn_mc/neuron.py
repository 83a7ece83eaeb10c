"""A neuron as the user writes it: compartments, mechanisms placed on them, couplings.

Inside, a mechanism is placed once per kind, its parameters arrays over the compartments that hold
it; a tree of thousands of compartments is a handful of objects. Any number may carry a leading batch
axis: such a neuron is a population.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .checks import as_float, as_tuple, check_bounds, known, shown
from .mechanism import Mechanism, State, check, parameters
from .placement import common_batch, fill, group, kinds, line_up, pair, place, root
from .tree import Tree, build_tree


class Compartment(eqx.Module):
    """A compartment: capacitance `c_m` (pF), mechanisms, and the voltage `v_init` (mV) to start at.

    Without `v_init` it starts at the `v_leak` of the first of its mechanisms that has one.
    """

    c_m: Array = eqx.field(converter=partial(as_float, what="A compartment's c_m"))
    mechanisms: tuple[Mechanism, ...] = eqx.field(
        converter=partial(as_tuple, what="A compartment's mechanisms"), default=()
    )
    v_init: Array | None = eqx.field(
        converter=partial(as_float, what="A compartment's v_init", optional=True), default=None
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
        if not isinstance(compartments, Mapping):
            raise ValueError(f"compartments must be a dict by name, got {compartments!r}.")
        couplings = as_tuple(couplings, "couplings")
        for coupling in couplings:
            if not isinstance(coupling, Sequence) or len(coupling) != 3:
                raise ValueError(f"A coupling is (compartment, compartment, nS), got {coupling!r}.")
        for name, c in compartments.items():
            if not isinstance(c, Compartment):
                raise ValueError(f"Compartment {name!r} must be a Compartment, got {c!r}.")
        placed = group(c.mechanisms for c in compartments.values())
        self.placements = tuple(where for _, where in placed)
        self.mechanisms = tuple(mechanism for mechanism, _ in placed)
        pairs = [(a, b) for a, b, _ in couplings]
        of_kind = kinds(placed, len(compartments))
        self.tree = build_tree(list(compartments), pairs, root(placed), of_kind)
        self.c_m = line_up("c_m", [c.c_m for c in compartments.values()])
        what = "The conductance of the coupling ({!r}, {!r})"
        self.g = line_up("g", [as_float(g, what.format(a, b)) for a, b, g in couplings])
        self.v_init = line_up("v_init", [_start(name, c) for name, c in compartments.items()])

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
        c_m = as_float(c_m, "c_m")
        if c_m.ndim == 0:
            raise ValueError(
                "c_m must be an array with one capacitance a compartment, got a scalar."
            )
        n = c_m.shape[-1]
        names = tuple(map(str, range(n))) if names is None else as_tuple(names, "names")
        if len(names) != n:
            raise ValueError(f"Expected {n} names, one for each c_m, got {len(names)}.")
        pairs = [pair(coupling, n) for coupling in as_tuple(couplings, "couplings")]
        placed = [place(one, n) for one in as_tuple(mechanisms, "mechanisms")]
        fields = {
            "tree": build_tree(
                names, [(names[i], names[j]) for i, j in pairs], root(placed), kinds(placed, n)
            ),
            "placements": tuple(where for _, where in placed),
            "c_m": c_m,
            "g": fill(as_float(g, "g"), len(pairs)),
            "v_init": fill(as_float(v_init, "v_init"), n),
            "mechanisms": tuple(mechanism for mechanism, _ in placed),
        }
        self = object.__new__(cls)
        for field, value in fields.items():
            object.__setattr__(self, field, value)
        check(self)
        return self

    def __check_init__(self):
        n, names = self.tree.size, self.names
        for what, size in (("c_m", n), ("g", n - 1), ("v_init", n)):
            shape = getattr(self, what).shape
            if shape[-1:] != (size,):
                raise ValueError(f"{what} must have shape ({size},), got {shape}.")
        check_bounds(lambda i: f"c_m of {names[i]!r}", self.c_m, "pF", low=0.0)
        self._check_massless()
        check_bounds(lambda i: f"v_init of {names[i]!r}", self.v_init, "mV")
        of = "The conductance g between {!r} and {!r}"
        check_bounds(lambda i: of.format(*self.tree.ends(i)), self.g, "nS", low=0.0)
        held = set()
        for mechanism, where in zip(self.mechanisms, self.placements, strict=True):
            for i in where:
                if (mechanism.key, i) in held:
                    raise ValueError(
                        f"Compartment {names[i]!r} holds {mechanism.key!r} twice; give one of them "
                        "a name of its own (name=...)."
                    )
                held.add((mechanism.key, i))
            for name, declared in parameters(mechanism).items():
                value, end = getattr(mechanism, name), f".{mechanism.key}.{name}"
                check_bounds(lambda i, w=where, end=end: names[w[i]] + end, value, **declared)

    def _check_massless(self) -> None:
        """Raises ValueError where a c_m is 0 and it would matter."""
        if not (known(self.c_m) and known(self.g)) or (np.asarray(self.c_m) > 0).all():
            return
        massless = np.any(np.asarray(self.c_m) == 0, axis=tuple(range(self.c_m.ndim - 1)))
        joined = np.any(np.asarray(self.g) == 0, axis=tuple(range(self.g.ndim - 1)))
        lonely = massless & (self.tree.size == 1)
        for edge, zero in enumerate(joined):
            ends = [self.tree.index(name) for name in self.tree.ends(edge)]
            if zero or massless[ends].all():
                lonely[ends] |= massless[ends]
        for where in self.placements:
            lonely[list(where)] |= massless[list(where)]
        if lonely.any():
            raise ValueError(
                f"c_m of {self.names[np.argmax(lonely)]!r} must be above 0 (pF), got 0: only a branch "
                "point, which holds no mechanism and is coupled to compartments with a capacitance "
                "alone, has none."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The compartments' names (N,)."""
        return self.tree.names

    def init(self) -> NeuronState:
        """The state at the start: all at `v_init`, each mechanism at rest there."""
        v = np.asarray(self.v_init) if known(self.v_init) else self.v_init  # NumPy: no dispatch
        at = (jnp.asarray(v[..., np.array(where)]) for where in self.placements)
        states = tuple(m.init(v) for m, v in zip(self.mechanisms, at, strict=True))
        return NeuronState(self.v_init, states)

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
        get, place = self.locate(path)
        return get(self)[..., place]

    def set(self, values: Mapping[str, Any]) -> "Neuron":
        """The same neuron with other values at some paths (as for `get`); (B,) makes a population."""
        neuron = self
        for path, value in values.items():
            get, place = self.locate(path)
            old, value = get(neuron), as_float(value, path)
            batch = common_batch(f"{path} and of its like", {old.shape[:-1], value.shape})
            new = jnp.broadcast_to(old, (*batch, old.shape[-1])).at[..., place].set(value)
            neuron = eqx.tree_at(get, neuron, new)
        for module in (neuron, *neuron.mechanisms):
            check(module)
        return neuron

    def locate(self, path: str) -> tuple[Callable[["Neuron"], Array], int]:
        """What gets the array that holds a parameter, and its place along the last axis."""
        words = path.split(".") if isinstance(path, str) else []
        unknown = ""
        if len(words) == 1:
            for a, b in _splits(path):
                if a in self.names and b in self.names:
                    return (lambda n: n.g), self._edge(a, b)
                if a in self.names or b in self.names:
                    unknown = f" ({b if a in self.names else a!r} is no compartment)"
        if len(words) == 2 and words[1] in ("c_m", "v_init"):
            return (lambda n: getattr(n, words[1])), self.tree.index(words[0])
        if len(words) == 3:
            k, place = self.find(words[0], words[1])
            there = list(parameters(self.mechanisms[k]))
            if words[2] not in there:
                raise ValueError(f"{words[1]} has no parameter {words[2]!r}; it has {there}.")
            return (lambda n: getattr(n.mechanisms[k], words[2])), place
        raise ValueError(
            f"There is no parameter {path!r}{unknown}; a path is like 'soma.AdEx.tau_w', "
            "'soma.c_m', 'soma.v_init' or, for a coupling, 'soma-apical'."
        )

    def _edge(self, a: str, b: str) -> int:
        """The index of the coupling of two compartments."""
        i, j = (self.tree.order.index(self.tree.index(name)) for name in (a, b))
        if self.tree.parent[i] == j:
            return self.tree.edge[i]
        if self.tree.parent[j] == i:
            return self.tree.edge[j]
        ends = map(self.tree.ends, range(self.tree.size - 1))
        there = ["-".join(pair) for pair in ends if a in pair]
        raise ValueError(f"{a!r} and {b!r} are not coupled; of {a!r} there are {shown(there)}.")


def _splits(path: str) -> list[tuple[str, str]]:
    """All ways to cut "a-b" in two at a dash (names may hold dashes)."""
    words = path.split("-")
    return [("-".join(words[:i]), "-".join(words[i:])) for i in range(1, len(words))]


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
