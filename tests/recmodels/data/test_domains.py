import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recmodels.data import (
    Dataset,
    Histories,
    domain_ids,
    split_domain_ids,
    unite,
    without_overlap,
)
from semantic_ids import Features

IDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
NAMES = IDS.filter(lambda name: name and ":" not in name)


@given(NAMES, st.lists(IDS, min_size=1, max_size=20))
def test_ids_come_back_from_their_domain(domain, ids):
    domains, own = split_domain_ids(domain_ids(domain, ids))
    assert domains.tolist() == [domain] * len(ids)
    assert own.tolist() == ids


@given(NAMES, st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_numbers_come_back_as_text(domain, ids):
    assert split_domain_ids(domain_ids(domain, ids))[1].tolist() == [str(item) for item in ids]


@given(st.lists(st.tuples(NAMES, IDS), unique=True, min_size=1, max_size=20))
def test_items_of_different_domains_stay_apart(pairs):
    ids = np.concatenate([domain_ids(domain, [item]) for domain, item in pairs])
    assert len(set(ids.tolist())) == len(pairs)


def test_what_is_no_domain_is_refused():
    for name in ("", "a:b"):
        with pytest.raises(ValueError, match="domain: expected a name without ':'"):
            domain_ids(name, ["x"])
    for item in ("bare", ":x", ""):
        with pytest.raises(ValueError, match="ids: expected a domain"):
            split_domain_ids(["a:x", item])


def dataset(name, size, histories, *, users=None, ids=None, **fields):
    ids = np.arange(size) if ids is None else np.array(ids, dtype=np.dtypes.StringDType())
    rng = np.random.default_rng(size)
    present = {"image": rng.random(size) < 0.5}
    features = Features(
        {"text": rng.normal(size=(size, 3)), "image": rng.normal(size=(size, 2))}, present, ids
    )
    users = tuple(users or [None] * len(histories or []))
    known = None if histories is None else Histories.of(histories)
    whole = {"features": features, "histories": known, "users": users}
    return Dataset(name, ids, **{**whole, **fields})


def test_a_union_holds_every_domain_as_it_was():
    parts = [
        dataset("a", 4, [[0, 3, 2], [1]], users=["ann", None]),
        dataset("b", 3, [[2, 2]], users=["ann"], titles=("x", "y", "z")),
        dataset("c", 2, [[1, 0], []], users=["bob", "cy"]),
    ]
    union = unite(parts)
    assert union.users == ("ann", None, "ann", "bob", "cy")
    assert union.titles == ("",) * 4 + ("x", "y", "z") + ("", "")
    assert union.categories is None
    item = user = 0
    for part in parts:
        for row in range(part.size):
            assert union.ids[item + row] == f"{part.name}:{row}"
            for name in ("text", "image"):
                values, present = part.features.modality(name)
                ours, there = union.features.modality(name)
                assert np.array_equal(ours[item + row], values[row])
                assert there[item + row] == present[row]
        for history in part.histories:
            assert union.histories[user].tolist() == (history + item).tolist()
            user += 1
        item += part.size
    assert union.size == item
    assert len(union.histories) == user


def test_modalities_may_come_in_another_order():
    one, other = dataset("a", 3, [[0]]), dataset("b", 4, [[1]])
    turned = Features(
        dict(reversed(other.features.modalities.items())),
        dict(zip(other.features.modalities, other.features.present.T, strict=True)),
        other.ids,
    )
    found = unite([one, dataset("b", 4, [[1]], features=turned)]).features
    expected = unite([one, other]).features
    for name in ("text", "image"):
        for ours, theirs in zip(found.modality(name), expected.modality(name), strict=True):
            assert np.array_equal(ours, theirs)


def test_what_does_not_fit_together_is_refused_by_name():
    one = dataset("a", 3, [[0]])
    text = Features({"text": np.ones((2, 3))}, ids=np.arange(2))
    wide = Features({"text": np.ones((2, 9)), "image": np.ones((2, 2))}, ids=np.arange(2))
    for features in (text, wide):
        with pytest.raises(ValueError, match=r"datasets: odd has features .*as a has"):
            unite([one, dataset("odd", 2, [[0]], features=features)])
    with pytest.raises(ValueError, match="datasets: odd has no features"):
        unite([one, dataset("odd", 2, [[0]], features=None)])
    with pytest.raises(ValueError, match="datasets: odd has no histories"):
        unite([one, dataset("odd", 2, None)])
    with pytest.raises(ValueError, match="name of its own"):
        unite([one, one])
    with pytest.raises(ValueError, match="expected at least one"):
        unite([])


USERS = st.sampled_from(["ann", "bob", "cy", "dan", "eve"])


@st.composite
def catalogues(draw, name, least):
    """Draw a data set of up to five named users and some without an id, over shared item ids."""
    ids = draw(st.lists(st.sampled_from("pqrstuvw"), min_size=3, unique=True))
    users = [*draw(st.lists(USERS, unique=True)), *[None] * draw(st.integers(1, 3))]
    rows = st.lists(st.integers(0, len(ids) - 1), min_size=least, max_size=7)
    return dataset(name, len(ids), [draw(rows) for _ in users], users=users, ids=ids)


@given(catalogues("source", 0), catalogues("target", 3))
def test_nobody_is_left_whom_the_target_has(source, target):
    (rest,), (overlap,) = without_overlap([source], target)
    known = [user for user in target.users if user is not None]
    left, users, events, held_out = [], 0, 0, 0
    for user, history in zip(source.users, source.histories, strict=True):
        if user not in known:
            left.append((user, history.tolist()))
            continue
        users += 1
        ends = target.ids[target.histories[target.users.index(user)][-2:]].tolist()
        for item in source.ids[history].tolist():
            events += 1
            held_out += item in ends
    found = zip(rest.users, [history.tolist() for history in rest.histories], strict=True)
    assert list(found) == left
    assert (overlap.users, overlap.events, overlap.held_out) == (users, events, held_out)
    assert overlap.unnamed_users == source.users.count(None)
    assert overlap.items == len(set(source.ids.tolist()) & set(target.ids.tolist()))
    assert rest.size == source.size
    again = without_overlap([rest], target)[1][0]
    assert (again.users, again.events, again.held_out) == (0, 0, 0)


def test_row_numbers_are_no_common_items():
    source = dataset("a", 4, [[0, 1, 2], [3, 2, 1]], users=["ann", "bob"])
    target = dataset("b", 4, [[0, 1, 2]], users=["ann"])
    (rest,), (overlap,) = without_overlap([source], target)
    assert rest.users == ("bob",)
    assert (overlap.items, overlap.held_out) == (0, 0)
    assert repr(overlap) == (
        "Overlap('a' with 'b': 1 users and their 3 events removed, 0 of them held out in the "
        "target; 0 items in both; 0 users without an id)"
    )


def test_a_target_needs_something_to_hold_out():
    one = dataset("a", 4, [[0, 1, 2]])
    with pytest.raises(ValueError, match="needs 3 items a user"):
        without_overlap([one], dataset("b", 4, [[0, 1]]))
    with pytest.raises(ValueError, match="'b' has no histories"):
        without_overlap([one], dataset("b", 4, None))
    with pytest.raises(ValueError, match="'b' has no histories"):
        without_overlap([dataset("b", 4, None)], one)
