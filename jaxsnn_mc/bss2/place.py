"""A tree of compartments on neuron circuits.

Columns are filled from left to right, along the heaviest path through the tree. Of the two shared lines
and two rows of membranes, each depth of branching keeps one busy until its branches are placed:

- a path whose side branches are leaves ("rank 1") needs one row with its line;
- side branches of rank 1 hang off a membrane that runs in the other row ("rank 2");
- side branches of rank 2 hang off a piece of that row's line above them ("rank 3").

Trees of higher rank are refused. Those of up to 40 compartments practically never are. A coupling's
resistor is on the side of the child, the parent is on the line directly.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from ..neuron import Neuron
from ..tree import Tree
from .ranges import COLUMNS, MOST_COMPARTMENTS, ROWS
from .wiring import Circuit, Segment, segments

HIGHEST = 3
"""The highest rank of a tree that the placement can lay out."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """The circuits of a neuron, with their switches; `draw()` gives a picture."""

    circuits: tuple[Circuit, ...]

    def of(self, compartment: str) -> list[Circuit]:
        """The circuits of a compartment; the first has its leak, threshold and capacitance."""
        return [c for c in self.circuits if c.compartment == compartment]

    @property
    def lines(self) -> list[Segment]:
        """The closed pieces of shared lines."""
        return segments(self.circuits)

    @property
    def columns(self) -> int:
        """How many columns it takes."""
        return 1 + max(c.column for c in self.circuits) - min(c.column for c in self.circuits)

    def draw(self, **kwargs):
        """A picture; see `jaxsnn_mc.bss2.draw.draw_placement`."""
        from .draw import draw_placement

        return draw_placement(self, **kwargs)


class Refusal(ValueError):
    """Why a neuron cannot be placed; `constraint` names the one of the list that is in the way."""

    def __init__(self, constraint: str, reason: str):
        super().__init__(reason)
        self.constraint = constraint


def place(neuron: Neuron, circuits: Mapping[str, int] | None = None) -> Placement:
    """A neuron's compartments on circuits of a hemisphere, from column 0 on.

    **Arguments:** `circuits`, by compartment how many it needs at least, by default 1 (see `needed`).

    Raises Refusal (a ValueError) where it does not fit, and says why.
    """
    if neuron.tree.size > MOST_COMPARTMENTS:
        raise Refusal(
            "C10",
            f"The neuron has {neuron.tree.size} compartments; the chip allows "
            f"{MOST_COMPARTMENTS}: join some.",
        )
    layout = _Layout(neuron.tree, dict(circuits or {}))
    layout.fill()
    if layout.column > COLUMNS:
        raise Refusal(
            "C10",
            f"This placement needs {layout.column} columns of neuron circuits and a "
            f"neuron has {COLUMNS}: join compartments or use fewer inputs.",
        )
    return Placement(layout.switches())


class _Layout:
    """A placement under way: the next free column, who has which circuit, and what is on the lines."""

    def __init__(self, tree: Tree, need: dict[str, int]):
        names = [tree.names[i] for i in tree.order]
        self.children: dict[str, list[str]] = {name: [] for name in names}
        for name, parent in zip(names[1:], tree.parent[1:], strict=True):
            self.children[names[parent]].append(name)
        self.root, self.need = names[0], need
        self.rank: dict[str, int] = {}
        self.size: dict[str, int] = {}
        for name in reversed(names):
            self._weigh(name)
        self.column = 0
        self.owner: dict[tuple[int, int], str] = {}
        self.direct: set[tuple[int, int]] = set()
        self.resistor: set[tuple[int, int]] = set()
        self.closed: set[tuple[int, int]] = set()

    def _weigh(self, name: str) -> None:
        """Sets rank and size, and sorts the children: leaves first, the heaviest last."""
        mine = self.children[name]
        mine.sort(key=lambda child: (self.rank[child], self.size[child]))
        ranks = [self.rank[child] for child in mine]
        rank = max(1, ranks[-1]) if ranks else 0
        if len(ranks) > 1 and ranks[-2] > 0:
            rank = max(rank, ranks[-2] + 1)
        if rank > HIGHEST:
            branches = [child for child in mine if self.rank[child] >= HIGHEST]
            raise Refusal(
                "placement",
                f"The tree branches too often in turn below {name!r} (branches "
                f"{branches[:4]} all branch {HIGHEST} times again): two rows and two "
                "shared lines cannot carry them. Join or move a branch.",
            )
        self.rank[name] = rank
        self.size[name] = 1 + sum(self.size[child] for child in mine)

    def fill(self) -> None:
        """Rank 3: along the heaviest path, each parent's piece of a line runs over all its branches."""
        name, row = self.root, 0
        self._start(name, row)
        while self.children[name]:
            begin = self.column - 1
            if name != self.root:
                row = 1 - row
            self._own(name, row, begin)
            self.direct.add((row, begin))
            for child in self.children[name]:
                end = self._attach(child, row)
                if child != self.children[name][-1]:
                    self._bus(child, row)
            self._close(row, begin, end)
            name = self.children[name][-1]

    def _bus(self, name: str, row: int) -> None:
        """Rank 2: the membrane runs in `row`, side branches hang below it; `name` is in `row`."""
        below, here = 1 - row, row
        while self.children[name]:
            for group in self._groups(name):
                first = self.column - 1
                if here == row or len(self._groups(name)) > 1:
                    for column in range(self._end_of(name, row, first), self.column + 1):
                        self._own(name, row, column)
                self._hang(name, group, below)
                if group[-1] != self.children[name][-1]:
                    self._path(group[-1], below)
            name, here = self.children[name][-1], below

    def _end_of(self, name: str, row: int, default: int) -> int:
        """The last column that a membrane has in a row."""
        mine = [column for (r, column), owner in self.owner.items() if owner == name and r == row]
        return max(mine, default=default)

    def _groups(self, name: str) -> list[list[str]]:
        """The children by line: all leaves and the first branch, and each other branch alone."""
        leaves = [child for child in self.children[name] if self.rank[child] == 0]
        branches = self.children[name][len(leaves) :]
        if not branches:
            return [leaves]
        return [[*leaves, branches[0]], *([branch] for branch in branches[1:])]

    def _path(self, name: str, row: int) -> None:
        """Rank 1: a path with leaves, in one row and on its line."""
        while self.children[name]:
            self._hang(name, self.children[name], row)
            name = self.children[name][-1]

    def _hang(self, name: str, children: Sequence[str], row: int) -> None:
        """A new circuit of `name`, directly on a line of its own, and on it the children."""
        begin = end = self.column
        self._own(name, row, begin)
        self.direct.add((row, begin))
        self.column += 1
        for child in children:
            end = self._attach(child, row)
        self._close(row, begin, end)

    def _attach(self, name: str, row: int) -> int:
        """The circuit of `name` with its resistor, in a new column, which is returned."""
        column = self.column
        self.resistor.add((row, column))
        self._start(name, row)
        return column

    def _start(self, name: str, row: int) -> None:
        """The first circuits of `name`, in new columns: as many as it needs beside the later ones."""
        later = 1 if self.children[name] and name != self.root else 0
        for _ in range(max(1, self.need.get(name, 1) - later)):
            self._own(name, row, self.column)
            self.column += 1

    def _own(self, name: str, row: int, column: int) -> None:
        if self.owner.setdefault((row, column), name) != name:
            raise AssertionError(f"{name!r} and {self.owner[row, column]!r} at {(row, column)}")

    def _close(self, row: int, begin: int, end: int) -> None:
        self.closed |= {(row, column) for column in range(begin, end)}

    def switches(self) -> tuple[Circuit, ...]:
        """The circuits, in the order in which compartments got them."""
        order = dict.fromkeys(self.owner.values())
        places = [p for name in order for p, owner in self.owner.items() if owner == name]
        places += sorted(self.closed - self.owner.keys())
        owner = self.owner.get
        circuits = []
        for row, column in places:
            name, here = owner((row, column)), (row, column)
            right = name is not None and owner((row, column + 1)) == name
            across = name is not None and owner((ROWS - 1 - row, column)) == name
            circuits.append(
                Circuit(
                    row,
                    column,
                    name,
                    right,
                    across,
                    here in self.direct,
                    here in self.resistor,
                    here in self.closed,
                )
            )
        return tuple(circuits)
