"""The topology of a neuron: named compartments joined into a tree.

The user numbers the compartments in any way. Inside, they are renumbered so that the root is 0 and
compartments of a kind, which hold the same mechanisms, are neighbours; within a kind a parent comes
before its children. It is the order of distance from the root (breadth first): successive steps of
an elimination then belong to different branches, and a processor works on several at once.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from .checks import shown


@dataclass(frozen=True)
class Tree:
    """A rooted tree; hashable, so that it is static under jit.

    **Fields:** `names` (N,) in the user's order; `order` (N,), the user's index at each internal
    position; `parent` (N,), the internal position of the parent, -1 for the root, which is 0; `edge`
    (N,), the index of the user's coupling to the parent, -1 for the root.
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


def build_tree(
    names: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    root: int = 0,
    kinds: Sequence[Hashable] | None = None,
) -> Tree:
    """The tree of `names` joined by `pairs` of them, rooted at the compartment with index `root`;
    those of equal `kinds` are neighbours inside (all are, without it).

    Raises ValueError for no or repeated names, a coupling to an unknown compartment or to itself,
    a repeated coupling, a cycle, and compartments that are not connected.
    """
    index = _indices(names)
    neighbours: list[list[tuple[int, int]]] = [[] for _ in names]
    for edge, (a, b) in enumerate(_checked(index, pairs)):
        neighbours[a].append((b, edge))
        neighbours[b].append((a, edge))
    order, parent, edges = _breadth_first(neighbours, root)
    if len(order) < len(names):
        reached = set(order)
        missing = [name for i, name in enumerate(names) if i not in reached]
        raise ValueError(
            f"The compartments are not connected: {shown(missing)} cannot be reached from "
            f"{names[root]!r}. Add a coupling between the two parts."
        )
    if kinds is not None:
        order, parent, edges = _by_kind([kinds[i] for i in order], order, parent, edges)
    return Tree(tuple(names), tuple(order), tuple(parent), tuple(edges))


def _by_kind(
    kinds: Sequence[Hashable], order: list[int], parents: list[int], edges: list[int]
) -> tuple[list[int], list[int], list[int]]:
    """The same tree with equal kinds side by side, in the order in which they first occur."""
    rank = {kind: k for k, kind in enumerate(dict.fromkeys(kinds))}
    old = sorted(range(len(kinds)), key=lambda i: rank[kinds[i]])
    new = {position: i for i, position in enumerate(old)} | {-1: -1}
    return [order[i] for i in old], [new[parents[i]] for i in old], [edges[i] for i in old]


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


def _breadth_first(
    neighbours: list[list[tuple[int, int]]], root: int
) -> tuple[list[int], list[int], list[int]]:
    order, parents, edges = [root], [-1], [-1]
    seen = {root}
    for here, node in enumerate(order):  # which grows
        for child, edge in neighbours[node]:
            if child not in seen:
                seen.add(child)
                order.append(child)
                parents.append(here)
                edges.append(edge)
    return order, parents, edges
