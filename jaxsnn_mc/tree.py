"""The topology of a neuron: named compartments joined into a tree.

The user numbers the compartments in any way. Inside, they are renumbered so that the root is 0 and
every parent comes before its children (depth first): the order in which Hines elimination runs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .checks import shown


@dataclass(frozen=True)
class Tree:
    """A rooted tree; hashable, so that it is static under jit.

    **Fields:** `names` (N,) in the user's order; `order` (N,), the user's index at each internal
    position; `parent` (N,), the internal position of the parent, -1 for the root and otherwise
    smaller than the child's; `edge` (N,), the index of the user's coupling to the parent, -1 for
    the root.
    """

    names: tuple[str, ...]
    order: tuple[int, ...]
    parent: tuple[int, ...]
    edge: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of compartments, N."""
        return len(self.names)

    def index(self, name: str) -> int:
        """The user's index of a compartment. Raises ValueError for a name that is not there."""
        if name not in self.names:
            raise ValueError(
                f"There is no compartment {name!r}; the neuron has {shown(self.names)}."
            )
        return self.names.index(name)

    def ends(self, edge: int) -> tuple[str, str]:
        """The names of the two compartments of the user's coupling with index `edge`."""
        child = self.edge.index(edge)
        return self.names[self.order[self.parent[child]]], self.names[self.order[child]]


def build_tree(names: Sequence[str], pairs: Sequence[tuple[str, str]], root: int = 0) -> Tree:
    """The tree of `names` joined by `pairs` of them, rooted at the compartment with index `root`.

    Raises ValueError for no or repeated names, a coupling to an unknown compartment or to itself,
    a repeated coupling, a cycle, and compartments that are not connected.
    """
    index = _indices(names)
    neighbours: list[list[tuple[int, int]]] = [[] for _ in names]
    for edge, (a, b) in enumerate(_checked(index, pairs)):
        neighbours[a].append((b, edge))
        neighbours[b].append((a, edge))
    order, parent, edges = _depth_first(neighbours, root)
    if len(order) < len(names):
        reached = set(order)
        missing = [name for i, name in enumerate(names) if i not in reached]
        raise ValueError(
            f"The compartments are not connected: {shown(missing)} cannot be reached from "
            f"{names[root]!r}. Add a coupling between the two parts."
        )
    return Tree(tuple(names), tuple(order), tuple(parent), tuple(edges))


def _indices(names: Sequence[str]) -> dict[str, int]:
    if not names:
        raise ValueError("A neuron needs at least one compartment, got none.")
    for name in names:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"A compartment's name is a string without dots, got {name!r}.")
    index = {name: i for i, name in enumerate(names)}
    if len(index) < len(names):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        raise ValueError(f"Compartment names must differ, got {shown(repeated)} more than once.")
    return index


def _checked(index: dict[str, int], pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """The pairs as indices; raises for whatever would not make a tree (union-find for cycles)."""
    group = list(range(len(index)))

    def find(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    seen, result = set(), []
    for a, b in pairs:
        for name in (a, b):
            if not isinstance(name, str) or name not in index:
                raise ValueError(
                    f"The coupling ({a!r}, {b!r}) names {name!r}, which is not a compartment; "
                    f"there are {shown(index)}."
                )
        i, j = index[a], index[b]
        if i == j:
            raise ValueError(f"{a!r} is coupled to itself; remove that coupling.")
        if frozenset((i, j)) in seen:
            raise ValueError(f"{a!r} and {b!r} are coupled more than once; keep one coupling.")
        if find(i) == find(j):
            raise ValueError(
                f"The coupling of {a!r} and {b!r} closes a cycle; a neuron is a tree, remove a "
                "coupling of that cycle."
            )
        group[find(i)] = find(j)
        seen.add(frozenset((i, j)))
        result.append((i, j))
    return result


def _depth_first(
    neighbours: list[list[tuple[int, int]]], root: int
) -> tuple[list[int], list[int], list[int]]:
    order, parents, edges = [], [], []
    stack = [(root, -1, -1)]
    seen = {root}
    while stack:
        node, parent, edge = stack.pop()
        here = len(order)
        order.append(node)
        parents.append(parent)
        edges.append(edge)
        for child, child_edge in reversed(neighbours[node]):
            if child not in seen:
                seen.add(child)
                stack.append((child, here, child_edge))
    return order, parents, edges
