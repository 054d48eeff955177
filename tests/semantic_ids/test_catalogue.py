"""The catalogue against two dictionaries."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_ids import UnknownItemError, id_index
from semantic_ids.catalogue import Catalogue
from semantic_ids.ids import id_array


def make(ids, codes, sizes, content=None):
    codes = np.array(codes, dtype=np.int32)
    content = codes if content is None else np.array(content, dtype=np.int32)
    return Catalogue(id_array(ids), codes, content, sizes)


@st.composite
def catalogues(draw):
    """Ids and codes as plain lists; code spaces with int64 keys and with byte keys."""
    sizes = draw(st.sampled_from([(3, 3), (2, 4, 3), (2**20,) * 4]))
    rows = st.tuples(*(st.integers(0, min(4, size) - 1) for size in sizes))
    codes = draw(st.lists(rows, min_size=1, max_size=9, unique=True))
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    text = st.text(characters, max_size=3)
    id_lists = [
        st.lists(values, min_size=len(codes), max_size=len(codes), unique=True)
        for values in (text, st.integers(-(2**63), 2**63 - 1))
    ]
    return draw(st.one_of(id_lists)), codes, sizes


@settings(max_examples=50)
@given(catalogues(), st.data())
def test_rows_are_those_of_the_ids(case, data):
    ids, codes, sizes = case
    wanted = data.draw(st.lists(st.sampled_from(ids)))
    catalogue = make(ids, codes, sizes)
    rows = {name: row for row, name in enumerate(ids)}
    assert catalogue.rows(wanted).tolist() == [rows[name] for name in wanted]


@settings(max_examples=50)
@given(catalogues(), st.data())
def test_lookup_gives_the_id_or_none(case, data):
    ids, codes, sizes = case
    strangers = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    wanted = data.draw(st.lists(st.one_of(st.sampled_from(codes), strangers), min_size=1))
    catalogue = make(ids, codes, sizes)
    names = dict(zip(codes, ids, strict=True))
    rows = {code: row for row, code in enumerate(codes)}
    found = catalogue.lookup(wanted)
    assert found == [names.get(code) for code in wanted]
    assert {type(name) for name in found} <= {type(ids[0]), type(None)}
    assert catalogue.find(wanted).tolist() == [rows.get(code, -1) for code in wanted]


@settings(max_examples=50)
@given(catalogues(), st.one_of(st.text(max_size=2), st.integers(-3, 3)))
def test_contains_is_that_of_the_ids(case, stranger):
    ids, codes, sizes = case
    catalogue = make(ids, codes, sizes)
    assert all(name in catalogue for name in ids)
    assert (stranger in catalogue) == (stranger in ids)


@pytest.mark.parametrize("thing", [None, 1.5, True, 2**70, [0], (0, 1), b"a", "a\0", np.nan])
def test_what_is_no_id_is_not_in_it(thing):
    assert thing not in make([0, 1], [[0], [1]], (2,))


def test_ids_and_codes_cannot_be_written_to():
    catalogue = make([0, 1], [[0], [1]], (2,))
    for array in (catalogue.ids, catalogue.codes, catalogue.content_codes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_one_bare_id_is_one_row():
    catalogue = make(["ab", "a", "b"], [[0], [1], [2]], (3,))
    assert catalogue.rows("ab").tolist() == [0]
    assert make([7, 8], [[0], [1]], (2,)).rows(np.int32(8)).tolist() == [1]


def test_no_ids_are_no_rows():
    assert make(["a"], [[0]], (2,)).rows([]).tolist() == []
    assert make(["a"], [[0]], (2,)).lookup([]) == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["a", "zz", "b", "y"], r"ids: 2 of 4 are not in the catalogue (first: 'zz')"),
        ("zz", r"ids: 1 of 1 are not in the catalogue (first: 'zz')"),
        ([3], r"ids: this catalogue's ids are str, got 3"),
    ],
)
def test_unknown_ids_are_named(wanted, message):
    with pytest.raises(UnknownItemError, match=f"^{re.escape(message)}$"):
        make(["a", "b"], [[0], [1]], (2,)).rows(wanted)


def test_an_unknown_number_is_named():
    with pytest.raises(UnknownItemError, match=r"\(first: 5\)"):
        make([1, 2], [[0], [1]], (2,)).rows(np.array([1, 5]))
    with pytest.raises(UnknownItemError, match=r"ids are int, got 'a'"):
        make([1, 2], [[0], [1]], (2,)).rows("a")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", "a"], [[0], [1]], (2,)), "two items have one id"),
        ((["a", "b"], [[1], [1]], (2,)), "two items have one code"),
        ((["a"], [[0], [1]], (2,)), "1 ids, 2 codes, 2 content codes; expected equal numbers"),
        ((["a", "b"], [[0], [2]], (2,)), "codes: row 1 has 2 at level 0"),
        ((["a"], [[0, 1]], (2, 2), [[3]]), "content_codes: row 0 has 3 at level 0"),
    ],
)
def test_a_catalogue_that_is_none_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(*arguments)


def test_items_may_share_a_content_code():
    catalogue = make(["a", "b"], [[0, 0], [0, 1]], (1, 2), content=[[0], [0]])
    assert catalogue.content_codes.tolist() == [[0], [0]]
    assert catalogue.lookup([[0, 1]]) == ["b"]


def test_codes_of_the_wrong_length_are_not_looked_up():
    with pytest.raises(ValueError, match=r"expected integers of shape \(n, 2\)"):
        make(["a"], [[0, 1]], (2, 2)).lookup([[0]])


# --- growing, against lists of all rows that ever were


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["add", "retire", "revive"]), st.data()), max_size=8),
    strings=st.booleans(),
    share_hashes=st.booleans(),
)
def test_a_catalogue_that_changed_is_the_one_made_of_its_rows(steps, strings, share_hashes):
    with pytest.MonkeyPatch.context() as patch:
        if share_hashes:
            patch.setattr(id_index, "hash", lambda text: len(text) % 2, raising=False)
        follow(steps, strings)


def follow(steps, strings):
    sizes = (3, 4, 3)
    every = list(np.ndindex(*sizes))
    name = (lambda k: "x" * (k % 3) + str(k)) if strings else (lambda k: 7 * k % 11 - 3)
    ids, codes, gone = [name(0)], [every[0]], [False]
    catalogue = make(ids, codes, sizes)
    for step, data in steps:
        here = [row for row, is_gone in enumerate(gone) if not is_gone]
        absent = sorted({ids[row] for row in range(len(ids)) if gone[row]} - {ids[r] for r in here})
        before = [part.copy() for part in catalogue.to_rows()]
        earlier = catalogue
        if step == "add":
            free = [name(k) for k in range(11) if name(k) not in {ids[r] for r in here}]
            new = data.draw(st.lists(st.sampled_from(free), unique=True)) if free else []
            new = new[: len(every) - len(codes)]
            fresh = [code for code in every if code not in codes][: len(new)][::-1]
            catalogue = catalogue.extended(
                id_array(np.array(new, dtype=catalogue.to_rows()[0].dtype)),
                np.array(fresh, dtype=np.int32).reshape(-1, 3),
                np.array(fresh, dtype=np.int32).reshape(-1, 3),
            )
            ids, codes, gone = ids + new, codes + fresh, gone + [False] * len(new)
        elif step == "retire":
            places = data.draw(st.sets(st.integers(0, len(here) - 1))) if here else set()
            catalogue = catalogue.retired(np.array(sorted(places), dtype=np.int64))
            gone = [g or row in {here[p] for p in places} for row, g in enumerate(gone)]
        elif absent:
            asked = data.draw(st.lists(st.sampled_from(absent), unique=True, min_size=1))
            rows = [max(r for r in range(len(ids)) if ids[r] == item) for item in asked]
            content = [codes[r] if data.draw(st.booleans()) else (2, 3, 2) for r in rows]
            catalogue = catalogue.revived(id_array(asked), np.array(content, dtype=np.int32))
            for item, code in zip(asked, content, strict=True):
                for row in range(len(ids)):
                    if ids[row] == item and codes[row] == code:
                        gone[row] = False
        assert all(np.array_equal(a, b) for a, b in zip(before, earlier.to_rows(), strict=True))
        here = [row for row, is_gone in enumerate(gone) if not is_gone]
        assert [part.tolist() for part in catalogue.to_rows()] == [
            ids,
            [list(code) for code in codes],
            [list(code) for code in codes],
            gone,
        ]
        assert len(catalogue) == len(here)
        assert catalogue.ids.tolist() == [ids[row] for row in here]
        assert catalogue.codes.tolist() == [list(codes[row]) for row in here]
        known = {ids[row]: place for place, row in enumerate(here)}
        wanted = [name(k) for k in range(11)]
        found = catalogue.rows_or_none(id_array(wanted)).tolist()
        assert found == [known.get(item, -1) for item in wanted]
        places = {codes[row]: place for place, row in enumerate(here)}
        assert catalogue.find(every).tolist() == [places.get(code, -1) for code in every]


@pytest.mark.parametrize("ids", [[1, 5, 9], ["a", "b", "c"], [9, 1, 5]])
def test_what_is_there_already_is_not_added(ids):
    catalogue = make(ids, [[0], [1], [2]], (9,))
    new, other = id_array([type(ids[0])(7), type(ids[0])(8)]), np.array([[3], [4]], dtype=np.int32)
    assert len(catalogue.extended(new, other, other)) == 5
    with pytest.raises(ValueError, match="two items have one id"):
        catalogue.extended(
            id_array([ids[0], new[1].item() if new.dtype == int else "8"]), other, other
        )
    with pytest.raises(ValueError, match="two items have one id"):
        catalogue.extended(new[[0, 0]], other, other)
    with pytest.raises(ValueError, match="two items have one code"):
        catalogue.extended(new, other - 1, other)
    with pytest.raises(ValueError, match="two items have one code"):
        catalogue.retired(np.array([2])).extended(new, other - 1, other)
    with pytest.raises(ValueError, match="1 ids, 2 codes"):
        catalogue.extended(new[:1], other, other)
    with pytest.raises(ValueError, match="row 1 has 9 at level 0"):
        catalogue.extended(new, other + 5, other)


def test_the_bytes_are_those_of_ids_codes_and_indexes():
    codes = np.arange(20, dtype=np.int32)[::-1].reshape(10, 2).copy()
    catalogue = Catalogue(np.arange(10), codes, codes[:, :1].copy(), (32, 32))
    int64, int32 = 8 * 10, 4 * 10
    ids_and_flags = int64 + 10  # the ids are sorted, so that they are their own index
    assert catalogue.nbytes == ids_and_flags + 3 * int32 + 2 * int64


@pytest.mark.parametrize("strings", [False, True])
def test_only_what_is_new_is_sorted(strings, monkeypatch):
    numbers = np.random.default_rng(0).permutation(3000)
    ids = id_array([f"{k}" for k in numbers] if strings else numbers)
    codes = np.stack(np.divmod(numbers[::-1], 64), axis=1).astype(np.int32)
    catalogue = Catalogue(ids[:2950], codes[:2950], codes[:2950], (64, 64))
    sizes = []
    for name in ("sort", "argsort", "lexsort", "unique"):
        plain = getattr(np, name)

        def watched(values, *arguments, plain=plain, **keywords):
            sizes.append(len(values))
            return plain(values, *arguments, **keywords)

        monkeypatch.setattr(np, name, watched)
    grown = catalogue.extended(ids[2950:], codes[2950:], codes[2950:])
    shrunk = grown.retired(np.arange(0, 3000, 100))
    again = shrunk.revived(ids[:3000:100], codes[:3000:100])
    assert 0 < max(sizes) <= 50
    assert again.rows(ids).tolist() == again.find(codes).tolist() == list(range(3000))


def test_nothing_is_copied_where_nothing_is_retired():
    numbers = np.arange(100)
    codes = np.stack(np.divmod(numbers, 10), axis=1).astype(np.int32)
    catalogue = Catalogue(numbers, codes, codes, (10, 10))
    for there, every in zip(
        (catalogue.ids, catalogue.codes, catalogue.content_codes), catalogue.to_rows(), strict=False
    ):
        assert np.shares_memory(there, every)
    assert catalogue.retired(np.array([], dtype=np.int64)) is catalogue
