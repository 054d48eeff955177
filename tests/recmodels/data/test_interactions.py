"""Interactions: order, k-core and time split against loops over every interaction."""

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recmodels.data import Interactions, Split

ROWS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 6), st.integers(0, 5)),
    min_size=1,
    max_size=40,
)


def read_back(seen):
    """The interactions by their ids, in order."""
    users, items = seen.user_ids[seen.users].tolist(), seen.item_ids[seen.items].tolist()
    return list(zip(users, items, seen.times.tolist(), strict=True))


@given(ROWS)
def test_interactions_are_by_user_and_time_and_ties_keep_their_order(rows):
    seen = Interactions.of(*zip(*rows, strict=True))
    assert read_back(seen) == sorted(rows, key=lambda row: (row[0], row[2]))
    expected = {user: [] for user, _, _ in rows}
    for user, item, _ in sorted(rows, key=lambda row: row[2]):
        expected[user].append(item)
    found = [seen.item_ids[row].tolist() for row in seen.histories]
    assert dict(zip(seen.user_ids.tolist(), found, strict=True)) == expected


@given(ROWS)
def test_without_times_the_order_is_that_they_come_in(rows):
    users, items, _ = zip(*rows, strict=True)
    seen = Interactions.of(users, items)
    kept = [row[:2] for row in read_back(seen)]
    assert kept == sorted(zip(users, items, strict=True), key=lambda row: row[0])


def slow_core(rows, users, items):
    """Leave out one interaction at a time, as long as there is one too many."""
    rows = list(rows)
    while True:
        for row in rows:
            of_user = sum(other[0] == row[0] for other in rows)
            of_item = sum(other[1] == row[1] for other in rows)
            if of_user < users or of_item < items:
                rows.remove(row)
                break
        else:
            return rows


@given(rows=ROWS, users=st.integers(0, 4), items=st.integers(0, 4))
def test_a_core_is_what_is_left_when_one_after_the_other_goes(rows, users, items):
    seen, expected = Interactions.of(*zip(*rows, strict=True)), slow_core(rows, users, items)
    if not expected:
        with pytest.raises(ValueError, match=f"no user is left with {users} interactions"):
            seen.k_core(users, items)
        return
    core = seen.k_core(users, items)
    assert sorted(read_back(core)) == sorted(expected)
    assert core.item_ids.tolist() == sorted({item for _, item, _ in expected})
    assert core.user_ids.tolist() == sorted({user for user, _, _ in expected})
    assert read_back(core.k_core(users, items)) == read_back(core)


def test_a_core_is_that_of_graph_theory():
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.zipf(1.6, size=(3000, 2)) % 300, axis=0)
    graph = networkx.Graph([(("u", u), ("i", i)) for u, i in pairs.tolist()])
    expected = networkx.k_core(graph, 5)
    core = Interactions.of(pairs[:, 0], pairs[:, 1]).k_core(5, 5)
    assert 5 < len(core.user_ids) < 200
    found = {("u", user) for user in core.user_ids.tolist()}
    found |= {("i", item) for item in core.item_ids.tolist()}
    assert found == set(expected.nodes)
    assert len(core) == expected.number_of_edges()


@given(rows=ROWS, first=st.integers(0, 5), gap=st.integers(1, 3))
def test_a_time_split_asks_for_the_first_item_after_each_moment(rows, first, gap):
    seen = Interactions.of(*zip(*rows, strict=True))
    second = first + gap
    train, asked = [], {first: [], second: []}
    for user in sorted({row[0] for row in rows}):
        mine = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])
        before = [item for _, item, time in mine if time < first]
        train += [before] if before else []
        for start, end in ((first, second), (second, np.inf)):
            past = [item for _, item, time in mine if time < start]
            later = [(item, time) for _, item, time in mine if time >= start]
            if past and later and later[0][1] < end:
                asked[start].append((past, later[0][0]))
    if not (train and asked[first] and asked[second]):
        with pytest.raises(ValueError, match="nothing is left for"):
            seen.split_by_time(first, second)
        return
    split = seen.split_by_time(first, second)
    assert isinstance(split, Split)
    assert [seen.item_ids[row].tolist() for row in split.train] == train
    for held, expected in ((split.validation, asked[first]), (split.test, asked[second])):
        histories = [seen.item_ids[row].tolist() for row in held.histories]
        targets = seen.item_ids[held.targets].tolist()
        assert list(zip(histories, targets, strict=True)) == expected


def test_a_dataset_of_them_can_be_left_one_out():
    seen = Interactions.of(["b", "a", "b", "b"], [9, 9, 5, 7], [3, 1, 1, 2])
    dataset = seen.dataset("toy")
    assert dataset.ids.tolist() == [5, 7, 9]
    assert dataset.users == ("a", "b")
    split = Split.leave_one_out(dataset.histories.take([1]), dataset.size)
    assert dataset.ids[split.test.targets].tolist() == [9]


@pytest.mark.parametrize(
    ("users", "items", "times", "message"),
    [
        (["a"], ["x", "y"], None, "expected as many users as items and times, got 1, 2 and 1"),
        (["a"], ["x"], [1, 2], "got 1, 1 and 2"),
        (["a"], ["x"], [np.nan], "times: expected finite numbers"),
        (["a"], ["x"], ["noon"], "times: expected finite numbers"),
        ([], [], None, "expected at least one interaction"),
        (["a", 1], ["x", "y"], None, "users: expected str or int ids"),
    ],
)
def test_what_are_no_interactions_is_refused(users, items, times, message):
    with pytest.raises(ValueError, match=message):
        Interactions.of(users, items, times)


def test_moments_must_be_in_order():
    with pytest.raises(ValueError, match="test=1 should be after validation=1"):
        Interactions.of([1], [1]).split_by_time(1, 1)


@given(rows=ROWS, items=st.sets(st.integers(0, 8)))
def test_interactions_of_some_items_are_those_rows(rows, items):
    seen = Interactions.of(*zip(*rows, strict=True))
    expected = [row for row in read_back(seen) if row[1] in items]
    if not expected:
        with pytest.raises(ValueError, match=r"ids: none of the \d+ items is among them"):
            seen.of_items(items)
        return
    some = seen.of_items(items)
    assert read_back(some) == expected
    assert some.item_ids.tolist() == sorted({item for _, item, _ in expected})
    assert some.user_ids.tolist() == sorted({user for user, _, _ in expected})
