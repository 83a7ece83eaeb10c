"""The switches of neuron circuits, and what is wrong with them (constraints C1 to C9 and C18).

Circuits stand in two rows of columns. Membranes of neighbours join by `connect_right` and, if set on
both, `connect_vertical`: joined circuits are one compartment. Each row has a shared line, closed to the
right by `connect_soma_right`; a circuit is on it directly (`connect_soma`) or through its resistor
(`enable_conductance`). On a closed piece of a line, the one compartment that is on it directly is
coupled to each that is on it through a resistor.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .ranges import COLUMNS, ROWS


class Circuit(NamedTuple):
    """A neuron circuit: where it is, the compartment it is part of (None: only its line is used), and
    its switches, by their names in lola (`connect_vertical` is haldls's `connect_bottom`)."""

    row: int
    column: int
    compartment: str | None = None
    connect_right: bool = False
    connect_vertical: bool = False
    connect_soma: bool = False
    enable_conductance: bool = False
    connect_soma_right: bool = False

    @property
    def place(self) -> tuple[int, int]:
        return self.row, self.column

    @property
    def number(self) -> int:
        """The AtomicNeuron's coordinate: row * 128 + column within its hemisphere (PyNN's enum)."""
        return self.row * COLUMNS + self.column


class Violation(NamedTuple):
    """A constraint that is not kept: its number in the list (C1 to C18), what is wrong, where, what is
    allowed, and what to do."""

    constraint: str
    what: str
    where: str
    allowed: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.constraint} {self.where}: {self.what}; allowed: {self.allowed}. {self.remedy}"
        )


class Segment(NamedTuple):
    """A closed piece of a shared line: its row, columns, and circuits on it directly or by resistor."""

    row: int
    start: int
    stop: int
    direct: tuple[Circuit, ...]
    resistors: tuple[Circuit, ...]


def segments(circuits: Sequence[Circuit]) -> list[Segment]:
    """The pieces of both lines on which anything is."""
    found = []
    for row in range(ROWS):
        here = sorted((c for c in circuits if c.row == row), key=lambda c: c.column)
        closed = {c.column for c in here if c.connect_soma_right}
        nodes = {c.column for c in here if c.connect_soma or c.enable_conductance}
        nodes |= closed | {column + 1 for column in closed}
        for start in sorted(column for column in nodes if column - 1 not in closed):
            stop = start
            while stop in closed:
                stop += 1
            on = [c for c in here if start <= c.column <= stop]
            direct = tuple(c for c in on if c.connect_soma)
            resistors = tuple(c for c in on if c.enable_conductance)
            found.append(Segment(row, start, stop, direct, resistors))
    return found


def wiring_violations(
    circuits: Sequence[Circuit], couplings: Iterable[tuple[str, str]]
) -> list[Violation]:
    """What is wrong with the switches of a neuron whose compartments are coupled in these pairs."""
    found = _places(circuits)
    if found:  # the rest makes no sense of circuits that are not there, or twice
        return found
    lines = segments(circuits)
    found += _membranes(circuits) + _lines(lines)
    return found or _couplings(circuits, lines, couplings)


def _places(circuits: Sequence[Circuit]) -> list[Violation]:
    found, seen = [], set()
    first = min((c.column for c in circuits), default=0) // COLUMNS * COLUMNS
    for c in circuits:
        if c.row not in range(ROWS) or c.column not in range(first, first + COLUMNS):
            found.append(
                Violation(
                    "C1",
                    f"column {c.column}, row {c.row}",
                    _name(c),
                    f"columns {first} to {first + COLUMNS - 1}, rows 0 and 1",
                    "Move it into the hemisphere of the others.",
                )
            )
        if c.place in seen:
            found.append(
                Violation(
                    "C2",
                    "the circuit is used twice",
                    _name(c),
                    "one compartment a circuit",
                    "Give one of the two another circuit.",
                )
            )
        seen.add(c.place)
        if c.connect_soma and c.enable_conductance:
            found.append(
                Violation(
                    "C5",
                    "connect_soma and enable_conductance are both set",
                    _name(c),
                    "one of them",
                    "Use two circuits of the compartment.",
                )
            )
    return found


def _membranes(circuits: Sequence[Circuit]) -> list[Violation]:
    """C3, C4, and C7 through membranes."""
    found, at = [], {c.place: c for c in circuits}
    joined: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for c in circuits:
        right, across = at.get((c.row, c.column + 1)), at.get((1 - c.row, c.column))
        if c.connect_vertical and not (across and across.connect_vertical):
            found.append(
                Violation(
                    "C4",
                    "connect_vertical is set on one side only",
                    _name(c),
                    "set on both circuits of the column or on none",
                    "Set the other.",
                )
            )
        partners = [right] if c.connect_right else []
        partners += [across] if c.connect_vertical and across and across.connect_vertical else []
        for other in partners:
            if other is not None and other.compartment == c.compartment:
                joined[c.place].append(other.place)
                joined[other.place].append(c.place)
            elif other is not None and None not in (other.compartment, c.compartment):
                pair = f"{c.compartment!r} and {other.compartment!r}"
                found.append(
                    Violation(
                        "C7",
                        f"{pair} are shorted",
                        _name(c),
                        "separate membranes",
                        "Open the switch between them.",
                    )
                )
            else:
                found.append(
                    Violation(
                        "C3",
                        "a membrane is joined to a circuit outside of it",
                        _name(c),
                        "circuits of the compartment",
                        "Open the switch.",
                    )
                )
    for name in dict.fromkeys(c.compartment for c in circuits if c.compartment is not None):
        mine = [c.place for c in circuits if c.compartment == name]
        if len(_reached(mine[0], joined)) < len(mine):
            found.append(
                Violation(
                    "C3",
                    "its circuits are not all joined",
                    f"{name!r}",
                    "one contiguous membrane",
                    "Close the switches between them.",
                )
            )
    return found


def _reached(start, joined) -> set:
    seen, todo = {start}, [start]
    while todo:
        new = [place for place in joined[todo.pop()] if place not in seen]
        seen.update(new)
        todo += new
    return seen


def _lines(lines: Sequence[Segment]) -> list[Violation]:
    """C6, C7 through a line, C8, and C18."""
    found = []
    for line in lines:
        where = f"line of row {line.row}, columns {line.start} to {line.stop}"
        on = {c.column for c in (*line.direct, *line.resistors)}
        owners = {c.compartment for c in line.direct}
        others = [c.compartment for c in line.resistors]
        if {line.start, line.stop} - on:
            found.append(
                Violation(
                    "C8",
                    "an end of the line is open",
                    where,
                    "a circuit on both ends",
                    "Open connect_soma_right beyond the last circuit.",
                )
            )
        elif len(owners) > 1:
            found.append(
                Violation(
                    "C7",
                    f"{sorted(map(str, owners))} are shorted",
                    where,
                    "one compartment directly on it",
                    "Give each a line of its own.",
                )
            )
        elif len(line.direct) != 1 or not others or owners & set(others):
            found.append(
                Violation(
                    "C6",
                    f"{len(line.direct)} circuits directly, {len(others)} by resistor",
                    where,
                    "one directly, others by resistor",
                    "Attach one circuit directly, and the coupled ones by resistor.",
                )
            )
        elif len(set(others)) < len(others):
            found.append(
                Violation(
                    "C18",
                    "a coupling has several resistors",
                    where,
                    "one resistor for each coupling",
                    "Switch off all but one.",
                )
            )
    return found


def _couplings(
    circuits: Sequence[Circuit], lines: Sequence[Segment], couplings: Iterable[tuple[str, str]]
) -> list[Violation]:
    """C9: what is coupled is a tree, the neuron's."""
    made = [
        frozenset((str(line.direct[0].compartment), str(c.compartment)))
        for line in lines
        for c in line.resistors
    ]
    wanted = {frozenset(pair) for pair in couplings}
    wrong = [sorted(pair) for pair in wanted.symmetric_difference(made)]
    wrong += [sorted(pair) for pair in set(made) if made.count(pair) > 1]
    if not wrong:
        return []
    return [
        Violation(
            "C9",
            f"couplings missing, added or doubled: {sorted(wrong)[:4]}",
            "the neuron",
            "the couplings of the neuron, a connected tree",
            "Attach them to a common line.",
        )
    ]


def _name(c: Circuit) -> str:
    of = "" if c.compartment is None else f" of {c.compartment!r}"
    return f"circuit (row {c.row}, column {c.column}){of}"
