"""An independent judge of placements, from the electrical meaning of the switches alone.

Each circuit has a membrane node and each place of a shared line a line node. Closed switches are wires
between nodes; what they connect is a net, found as a connected component of a matrix. It shares no code
with the package's placement and checks.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

COLUMNS = 128


def node(kind, row, column):
    return (kind * 2 + row) * (2 * COLUMNS + 2) + column


def legal(circuits, edges) -> bool:
    """Whether the switches realise exactly these couplings of compartments."""
    places = [(c.row, c.column) for c in circuits]
    columns = [c.column for c in circuits]
    if len(set(places)) < len(places) or {c.row for c in circuits} - {0, 1}:
        return False
    if min(columns) < 0 or max(columns) > 255 or min(columns) // COLUMNS != max(columns) // COLUMNS:
        return False
    below = dict(zip(places, circuits, strict=True))
    wires, attached, ends = [], {}, set()
    for c in circuits:
        membrane, line = node(0, c.row, c.column), node(1, c.row, c.column)
        if c.connect_right:
            wires.append((membrane, node(0, c.row, c.column + 1)))
        if c.connect_vertical:
            other = below.get((1 - c.row, c.column))
            if other is None or not other.connect_vertical:
                return False
            wires.append((membrane, node(0, 1 - c.row, c.column)))
        if c.connect_soma_right:
            wires.append((line, node(1, c.row, c.column + 1)))
            ends |= {line, node(1, c.row, c.column + 1)}
        if c.connect_soma and c.enable_conductance:
            return False
        if c.connect_soma or c.enable_conductance:
            attached[line] = c
    size = node(2, 0, 0)
    if any(c.compartment is None for c in attached.values()):
        return False
    nets = components(wires, size)
    for i in ends:  # a closed line whose first or last place has no circuit on it is dangling
        mine = [j for j in ends if nets[j] == nets[i]]
        if min(mine) not in attached or max(mine) not in attached:
            return False
    by_net = {}
    for c in circuits:
        by_net.setdefault(nets[node(0, c.row, c.column)], set()).add(c.compartment)
    owners = {net: next(iter(who)) for net, who in by_net.items() if None not in who}
    if any(len(who) > 1 for who in by_net.values()):
        return False  # shorted
    if len(owners) != len({c.compartment for c in circuits} - {None}):
        return False  # a compartment in pieces
    if any(nets[node(0, c.row, c.column + 1)] not in owners for c in circuits if c.connect_right):
        return False
    made, direct = [], {}
    for line, c in attached.items():
        if c.connect_soma:
            direct.setdefault(nets[line], []).append(c)
    if any(len(who) != 1 for who in direct.values()):
        return False
    used = set()
    for line, c in attached.items():
        if c.enable_conductance:
            if nets[line] not in direct:
                return False
            used.add(nets[line])
            made.append(tuple(sorted((direct[nets[line]][0].compartment, c.compartment))))
    if set(direct) - used:
        return False
    return sorted(made) == sorted(tuple(sorted(edge)) for edge in edges)


def components(wires, size):
    i, j = np.array(wires or [(0, 0)]).T
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(size, size))
    return connected_components(graph, directed=False)[1]
