"""Minimum-cost assignment of rows to columns in sparse bipartite graphs: exact, and by auction."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from semantic_ids.resolvers.base import buckets, spans

#: Rows of small components that are matched in one call of scipy.
_BLOCK_ROWS = 256
#: Bids that a row wins in an auction, to be outbid again, before it bids twice as boldly.
_PATIENCE = 32


@dataclass(frozen=True)
class Edges:
    """E edges of a bipartite graph, each once, sorted by (row, column); every row has one.

    Attributes
    ----------
    row, column : (E,) int64.
    cost : (E,) float64.
    """

    row: np.ndarray
    column: np.ndarray
    cost: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where each row's edges begin, and E, (rows + 1,) int64."""
        rows = int(self.row[-1]) + 1 if len(self.row) else 0
        return np.searchsorted(self.row, np.arange(rows + 1))

    def components(self) -> np.ndarray:
        """Number the connected components; return each row's, (rows,) int64."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        rows = len(self.starts) - 1
        nodes = rows + int(self.column.max(initial=-1)) + 1
        ends = self.row.astype(np.int32), (rows + self.column).astype(np.int32)
        graph = coo_array((np.ones(len(self.row), dtype=np.int8), ends), shape=(nodes, nodes))
        labels = connected_components(graph, directed=False)[1][:rows]
        return np.unique(labels, return_inverse=True)[1]

    def of_rows(self, rows: np.ndarray) -> tuple[Self, np.ndarray]:
        """Return the edges of some rows, numbered anew in this order, and which they were.

        Columns are numbered anew, too, in ascending order.
        """
        starts, lengths = self.starts[rows], np.diff(self.starts)[rows]
        at = spans(starts, lengths)
        column = np.unique(self.column[at], return_inverse=True)[1]
        return type(self)(np.repeat(np.arange(len(rows)), lengths), column, self.cost[at]), at


def cheapest_matching(edges: Edges, component: np.ndarray) -> np.ndarray:
    """Match every row to a column of its own at the smallest total cost.

    Components are matched by scipy's ``min_weight_full_bipartite_matching`` (Jonker and
    Volgenant, 1987), many small ones in one call as the blocks of a diagonal.

    Parameters
    ----------
    edges : the graph.
    component : (rows,) number of each row's connected component, from 0 on.

    Returns
    -------
    chosen : (rows,) int64, the edge of each row.

    Raises
    ------
    ValueError
        if not all rows can be matched.

    Examples
    --------
    >>> edges = Edges(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([1.0, 3.0, 1.5]))
    >>> cheapest_matching(edges, edges.components()).tolist()
    [1, 2]
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    order = np.argsort(component, kind="stable")
    ordered, source = edges.of_rows(order)
    starts, rows = ordered.starts, np.arange(len(order))
    blocks, columns = _blocks(ordered, component[order])
    cost, escape = _positive(ordered, component[order])
    # Each row has a costly column of its own before the others: scipy looks for any full
    # matching first, which can take exponential time (scipy issue 26147), and so finds one.
    data, indices = np.empty(len(cost) + len(rows)), np.empty(len(cost) + len(rows), dtype=np.int32)
    own, others = starts[:-1] + rows, np.arange(len(cost)) + ordered.row + 1
    data[own], data[others] = escape, cost
    indices[others] = columns
    pointers = (starts + np.arange(len(starts))).astype(np.int32)
    picked = np.empty(len(rows), dtype=np.int32)
    for start, stop, width in blocks:
        part = slice(pointers[start], pointers[stop])
        indices[own[start:stop]] = np.arange(stop - start)
        graph = csr_array(
            (data[part], indices[part], pointers[start : stop + 1] - part.start),
            shape=(stop - start, stop - start + width),
        )
        picked[start:stop] = min_weight_full_bipartite_matching(graph)[1]
    places = np.flatnonzero(indices == np.repeat(picked, np.diff(pointers)))
    if (places == own).any():
        raise ValueError(f"{(places == own).sum()} of {len(rows)} rows cannot be matched")
    chosen = np.empty(len(rows), dtype=np.int64)
    chosen[order] = source[places - rows - 1]
    return chosen


def _blocks(edges: Edges, component: np.ndarray) -> tuple[list[tuple[int, int, int]], np.ndarray]:
    """Gather components, whose rows stand side by side, into blocks of some _BLOCK_ROWS rows.

    Returns
    -------
    blocks : first row, row after the last and number of columns of each.
    columns : (E,) the number of each edge's column in its block, after as many as it has rows.
    """
    sizes = np.bincount(component)
    block = ((np.cumsum(sizes) - sizes) // _BLOCK_ROWS)[component]
    first = np.flatnonzero(np.diff(block, prepend=-1))
    column = np.unique(
        component[edges.row] * (edges.column.max(initial=0) + 1) + edges.column,
        return_inverse=True,
    )[1]
    # Columns are numbered component by component now, so those of a block stand together.
    used = np.maximum.accumulate(column) + 1
    ends = used[edges.starts[np.append(first[1:], len(component))] - 1]
    widths, heights = np.diff(ends, prepend=0), np.diff(np.append(first, len(component)))
    block = np.repeat(np.arange(len(first)), heights)[edges.row]
    columns = column - (ends - widths)[block] + heights[block]
    return list(
        zip(first.tolist(), (first + heights).tolist(), widths.tolist(), strict=True)
    ), columns


def _positive(edges: Edges, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring costs to between 1 and 2 without changing what is cheapest.

    Returns
    -------
    cost : (E,) float64; none is 0, which scipy would take for no edge.
    escape : (rows,) more than all the rows of a component could save.
    """
    cost = edges.cost - np.minimum.reduceat(edges.cost, edges.starts[:-1])[edges.row]
    of_edge = component[edges.row]
    span = np.zeros(component.max() + 1)
    np.maximum.at(span, of_edge, cost)
    return 1 + cost / np.where(span > 0, span, 1)[of_edge], np.bincount(component)[component] + 2.0


def auction(
    edges: Edges, component: np.ndarray, epsilon: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Match every row to a column of its own at nearly the smallest total cost.

    All rows without a column bid at once for the one that is cheapest for them, prices included,
    and raise its price until another would be cheaper by epsilon; the highest bid gets it
    (Bertsekas, 1988). Prices begin at 0, so columns that are left cost nothing, and the total is
    within the sum of epsilon of the smallest (Bertsekas and Castanon, 1992). Rows that are
    outbid again and again raise their epsilon: equal rows would haggle for very long. How good
    the result is, the prices tell.

    Parameters
    ----------
    edges : the graph; a matching of all rows must exist, or this never ends.
    component : (rows,) number of each row's connected component, from 0 on.
    epsilon : (rows,) positive.

    Returns
    -------
    chosen : (rows,) int64, the edge of each row.
    bound : (components,) float64, no matching costs less.

    Examples
    --------
    >>> edges = Edges(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([1.0, 3.0, 1.5]))
    >>> chosen, bound = auction(edges, edges.components(), np.full(2, 0.01))
    >>> chosen.tolist(), bool(4.5 - 0.02 <= bound[0] <= 4.5)
    ([1, 2], True)
    """
    starts = edges.starts
    place = np.arange(len(edges.row)) - starts[edges.row]
    shape = (len(starts) - 1, int(place.max()) + 1)
    columns, costs = np.zeros(shape, dtype=np.int64), np.full(shape, np.inf)
    columns[edges.row, place], costs[edges.row, place] = edges.column, edges.cost
    reach = float(np.ptp(edges.cost))  # what a row may bid that has no other column
    prices = np.zeros(edges.column.max() + 1)
    owner = np.full(len(prices), -1)
    picked, wins = np.empty(shape[0], dtype=np.int64), np.zeros(shape[0], dtype=np.int64)
    seeking = np.arange(shape[0])
    while len(seeking):
        values = costs[seeking] + prices[columns[seeking]]
        best, each = values.argmin(axis=1), np.arange(len(seeking))
        lowest = values[each, best]
        values[each, best] = np.inf
        bold = epsilon[seeking] * np.exp2(wins[seeking] // _PATIENCE)
        wanted = columns[seeking, best]
        bids = prices[wanted] + np.minimum(values.min(axis=1) - lowest, reach) + bold
        order, rank = buckets(wanted, -bids, seeking)
        won, lost = order[rank == 0], order[rank > 0]
        outbid = owner[wanted[won]]
        prices[wanted[won]] = bids[won]
        owner[wanted[won]] = seeking[won]
        picked[seeking[won]] = best[won]
        wins[seeking[won]] += 1
        seeking = np.concatenate([seeking[lost], outbid[outbid >= 0]])
    least = np.bincount(component, (costs + prices[columns]).min(axis=1))
    of_column = np.zeros(len(prices), dtype=np.int64)
    of_column[edges.column] = component[edges.row]
    return starts[:-1] + picked, least - np.bincount(of_column, prices, minlength=len(least))
