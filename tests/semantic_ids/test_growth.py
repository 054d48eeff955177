"""The catalogue grows; what was given out stays."""

import subprocess
import sys

import numpy as np
import pytest

from semantic_ids import (
    CollisionError,
    Features,
    NearestFree,
    NoCodecError,
    RQKMeans,
    StaleFolderError,
    Suffix,
    Tokenizer,
    UnknownItemError,
)
from semantic_ids.storage import State, write_state

QUANTIZER = RQKMeans(levels=3, codebook_size=8)


def vectors(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 6))


def fitted(resolver=None):
    return Tokenizer.fit(
        vectors(200),
        ids=[f"old {i}" for i in range(200)],
        quantizer=QUANTIZER,
        resolver=resolver or NearestFree(),
        progress=False,
    )


@pytest.mark.parametrize("resolver", [NearestFree(), Suffix()])
def test_new_items_get_codes_of_their_own_and_nothing_given_out_changes(resolver):
    tokenizer = fitted(resolver)
    before = tokenizer.codes.copy()
    names = [f"new {i}" for i in range(60)]
    # The first ten have the very content of items that are there.
    features = np.concatenate([vectors(200)[:10], vectors(50, seed=1)])
    codes = tokenizer.add(features, ids=names)
    assert np.array_equal(tokenizer.codes[:200], before)
    assert tokenizer.lookup(codes) == names
    assert np.array_equal(tokenizer.encode(names), codes)
    assert len(np.unique(tokenizer.codes, axis=0)) == len(tokenizer) == 260
    assert tokenizer.lookup(before) == [f"old {i}" for i in range(200)]
    assert np.array_equal(tokenizer.content_codes[200:], tokenizer.encode(features))


@pytest.mark.parametrize("resolver", [NearestFree(), Suffix()])
def test_the_order_of_arrival_in_a_batch_does_not_matter(resolver):
    features, names = vectors(40, seed=2), [f"new {i}" for i in range(40)]
    order = np.random.default_rng(0).permutation(40)
    one, other = fitted(resolver), fitted(resolver)
    codes = one.add(features, ids=names)
    assert np.array_equal(other.add(features[order], ids=np.array(names)[order]), codes[order])


def test_adding_again_changes_nothing():
    tokenizer = fitted()
    names = [f"new {i}" for i in range(5)]
    codes = tokenizer.add(vectors(5, seed=1), ids=names)
    assert np.array_equal(tokenizer.add(vectors(5, seed=1), ids=names), codes)
    assert np.array_equal(
        tokenizer.add(vectors(200)[:3], ids=["old 0", "old 1", "old 2"]), tokenizer.codes[:3]
    )
    assert len(tokenizer) == 205


def test_changes_say_beforehand_what_an_update_does():
    tokenizer = fitted()
    rows = np.concatenate([vectors(200)[:60], -vectors(200)[60:120], vectors(40, seed=1)])
    names = [*tokenizer.ids[:120].tolist(), *(f"new {i}" for i in range(40))]
    order = np.random.default_rng(0).permutation(160)
    rows, names = rows[order], [names[at] for at in order]
    before = dict(zip(tokenizer.ids, tokenizer.codes.tolist(), strict=True))
    foretold, generation = tokenizer.changes(rows, ids=names), tokenizer.generation
    assert tokenizer.generation == generation
    after = tokenizer.add(rows, ids=names, update=True).tolist()
    for name, change, code in zip(names, foretold, after, strict=True):
        expected = "new" if name not in before else "stays" if before[name] == code else "moves"
        assert change == expected, name
    assert set(foretold.tolist()) == {"new", "stays", "moves"}
    with pytest.raises(ValueError, match="ids: every new item needs one"):
        tokenizer.changes(rows)


def test_other_content_is_refused_unless_it_is_an_update():
    tokenizer = fitted()
    before, generation = tokenizer.codes.copy(), tokenizer.generation
    moved = -vectors(200)[:2]
    with pytest.raises(ValueError, match=r"2 are in the catalogue with other content.*'old 0'"):
        tokenizer.add(np.concatenate([moved, vectors(1, seed=3)]), ids=["old 0", "old 1", "new"])
    assert np.array_equal(tokenizer.codes, before)
    assert "new" not in tokenizer
    assert tokenizer.generation == generation
    codes = tokenizer.add(moved, ids=["old 0", "old 1"], update=True)
    assert np.array_equal(tokenizer.encode(["old 0", "old 1"]), codes)
    assert tokenizer.lookup(before[:2]) == [None, None]
    assert tokenizer.lookup(before[2:]) == [f"old {i}" for i in range(2, 200)]
    assert len(tokenizer) == 200


def test_an_item_that_changes_back_gets_its_old_code_back():
    tokenizer = fitted()
    first = tokenizer.encode("old 0")
    tokenizer.add(-vectors(200)[:1], ids=["old 0"], update=True)
    assert not np.array_equal(tokenizer.encode("old 0"), first)
    tokenizer.add(vectors(200)[:1], ids=["old 0"], update=True)
    assert np.array_equal(tokenizer.encode("old 0"), first)


def test_a_retired_code_is_given_to_nobody_else():
    tokenizer = fitted()
    code = tokenizer.encode("old 7")
    tokenizer.remove("old 7")
    assert "old 7" not in tokenizer
    assert tokenizer.lookup(code) == [None]
    assert len(tokenizer) == len(tokenizer.codes) == len(tokenizer.ids) == 199
    with pytest.raises(UnknownItemError, match="'old 7'"):
        tokenizer.encode("old 7")
    twin = tokenizer.add(vectors(200)[7:8], ids=["twin"])
    assert not np.array_equal(twin, code)
    again = tokenizer.add(vectors(200)[7:8], ids=["old 7"])
    assert np.array_equal(again, code)


def test_removing_a_stranger_removes_nothing():
    tokenizer = fitted()
    with pytest.raises(UnknownItemError, match="'nobody'"):
        tokenizer.remove(["old 1", "nobody"])
    assert "old 1" in tokenizer
    assert tokenizer.generation == 0


def test_all_items_may_go_and_come_back():
    tokenizer = fitted()
    before = tokenizer.codes.copy()
    tokenizer.remove(tokenizer.ids)
    assert len(tokenizer) == 0
    assert tokenizer.lookup(before[:2]) == [None, None]
    codes = tokenizer.add(vectors(200), ids=[f"old {i}" for i in range(200)])
    assert np.array_equal(codes, before)


def test_figures_of_the_fit_are_not_passed_off_as_those_of_a_grown_catalogue():
    tokenizer = fitted()
    assert tokenizer.statistics().relative_error is not None
    tokenizer.add(100 * vectors(20, seed=1), ids=[f"new {i}" for i in range(20)])
    figures = tokenizer.statistics()
    assert (figures.items, figures.relative_error) == (220, None)
    features = np.concatenate([vectors(200), 100 * vectors(20, seed=1)])
    assert tokenizer.statistics(Features(features, ids=tokenizer.ids)).relative_error > 0
    tokenizer.remove(tokenizer.ids)
    for call in (tokenizer.statistics, lambda: tokenizer.drift(vectors(3))):
        with pytest.raises(ValueError, match="the catalogue is empty"):
            call()


def test_a_copy_changes_on_its_own():
    tokenizer = fitted()
    other = tokenizer.copy()
    other.remove("old 1")
    assert "old 1" in tokenizer
    assert "old 1" not in other


def test_a_folder_of_another_kind_is_left_alone(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "somebody\'s web page"}')
    with pytest.raises(FileExistsError, match="not that of a tokenizer"):
        fitted().save(tmp_path)
    assert "web page" in (tmp_path / "manifest.json").read_text()


def test_a_grown_catalogue_is_saved_whole(tmp_path):
    tokenizer = fitted()
    tokenizer.add(vectors(20, seed=1), ids=[f"new {i}" for i in range(20)])
    tokenizer.remove(["old 3", "new 4"])
    tokenizer.save(tmp_path / "t")
    loaded = Tokenizer.load(tmp_path / "t")
    assert loaded.ids.tolist() == tokenizer.ids.tolist()
    assert np.array_equal(loaded.codes, tokenizer.codes)
    assert loaded.generation == tokenizer.generation == 2
    # The retired rows came along: both give the same codes from here on.
    names = [f"later {i}" for i in range(30)]
    assert np.array_equal(
        loaded.add(vectors(30, seed=4), ids=names), tokenizer.add(vectors(30, seed=4), ids=names)
    )


def test_the_trie_is_that_of_the_generation():
    tokenizer = fitted()
    trie = tokenizer.trie
    assert tokenizer.trie is trie
    code = tokenizer.encode("old 5")[0]
    assert tokenizer.items_under(code) == ["old 5"]
    assert set(tokenizer.items_under(code[:1])) == {
        name
        for name, other in zip(tokenizer.ids, tokenizer.codes, strict=True)
        if other[0] == code[0]
    }
    tokenizer.remove("old 5")
    assert tokenizer.items_under(code) == []


def test_bad_batches_are_refused_whole():
    tokenizer = fitted()
    with pytest.raises(ValueError, match="every new item needs one"):
        tokenizer.add(vectors(2))
    with pytest.raises(ValueError, match="this catalogue's ids are str, got 1"):
        tokenizer.add(vectors(2), ids=[1, 2])
    with pytest.raises(ValueError, match="repeat an earlier id"):
        tokenizer.add(vectors(2), ids=["a", "a"])
    with pytest.raises(ValueError, match="expected 6 columns"):
        tokenizer.add(np.ones((1, 5)), ids=["a"])
    with pytest.raises(NoCodecError):
        Tokenizer.from_codes(["a"], [[0]]).add(vectors(1), ids=["b"])
    assert tokenizer.generation == 0


def test_the_second_of_two_writers_is_told(tmp_path):
    fitted().save(tmp_path)
    first, second = Tokenizer.load(tmp_path), Tokenizer.load(tmp_path)
    first.remove("old 1")
    first.save(tmp_path)
    first.remove("old 2")
    first.save(tmp_path)
    second.remove("old 3")
    with pytest.raises(StaleFolderError, match="another state"):
        second.save(tmp_path)
    second.save(tmp_path / "elsewhere")
    assert "old 1" not in Tokenizer.load(tmp_path)
    assert "old 3" in Tokenizer.load(tmp_path)


HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from semantic_ids import storage

with storage._only_writer(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_writer_at_work_keeps_others_out_until_it_ends(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, tmp_path], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(BlockingIOError, match="somebody else is saving"):
            write_state(tmp_path, State("toy", {}, {}))
        process.kill()  # a crash leaves no lock behind
        process.wait()
        write_state(tmp_path, State("toy", {}, {}))


def test_retired_codes_are_given_out_again_only_if_asked():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4))
    quantizer = RQKMeans(levels=2, codebook_size=8)  # 64 codes
    tokenizer = Tokenizer.fit(features, quantizer=quantizer, progress=False)
    gone = tokenizer.encode([0, 1, 2])
    tokenizer.remove([0, 1, 2])
    new = rng.normal(size=(5, 4))
    with pytest.raises(CollisionError):  # 57 items and 3 retired codes leave room for 4
        tokenizer.add(new, ids=np.arange(100, 105))
    before, generation = tokenizer.codes.copy(), tokenizer.generation
    assert tokenizer.free_retired() == 3
    assert tokenizer.free_retired() == 0
    assert tokenizer.generation == generation + 1
    codes = tokenizer.add(new, ids=np.arange(100, 105))
    np.testing.assert_array_equal(tokenizer.codes[:57], before)
    assert len(np.unique(tokenizer.codes, axis=0)) == 62
    freed = {tuple(code) for code in gone.tolist()}
    assert freed & {tuple(code) for code in codes.tolist()}


def test_rows_without_ids_are_refused_once_the_catalogue_has_changed():
    x = vectors(80)
    tokenizer = Tokenizer.fit(x, quantizer=QUANTIZER, progress=False)
    rows = np.arange(80) % 3
    plain = tokenizer.statistics(x, categories=rows)
    by_id = tokenizer.statistics(x, categories=dict(enumerate(rows.tolist())))
    assert by_id == plain
    tokenizer.add(x[:1] * 1.5, ids=[0], update=True)  # item 0 is the last row now
    x[0] *= 1.5
    with pytest.raises(ValueError, match="give each row its id"):
        tokenizer.statistics(x)
    with pytest.raises(ValueError, match="give each row its id"):
        tokenizer.describe(tokenizer.codes[0, :1], features=x)
    known = tokenizer.statistics(Features(x, ids=np.arange(80)))
    fresh = tokenizer.decode(tokenizer.content_codes[tokenizer.rows(np.arange(80))])["features"]
    lost, total = ((fresh - x) ** 2).sum(), ((x - x.mean(axis=0)) ** 2).sum()
    assert known.levels[-1].modality_errors["features"] == pytest.approx(lost / total, rel=1e-5)


def test_an_empty_catalogue_takes_ids_of_either_kind(tmp_path):
    tokenizer = fitted()
    content = tokenizer.content_codes[:30]
    tokenizer.remove(tokenizer.ids)
    with pytest.raises(ValueError, match="ids are str, got 0"):  # codes are still held back
        tokenizer.add(vectors(200)[:30], ids=range(30))
    tokenizer.free_retired()
    codes = tokenizer.add(vectors(200)[:30], ids=range(30))
    assert tokenizer.ids.tolist() == list(range(30))
    assert np.array_equal(tokenizer.encode([4, 2]), codes[[4, 2]])
    assert np.array_equal(tokenizer.content_codes, content)
    with pytest.raises(ValueError, match="ids are int, got 'x'"):
        tokenizer.add(vectors(1, seed=9), ids=["x"])
    tokenizer.save(tmp_path / "t")
    assert Tokenizer.load(tmp_path / "t").ids.tolist() == list(range(30))
