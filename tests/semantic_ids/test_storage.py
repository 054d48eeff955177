"""The folder format: what goes in comes out, and damage is refused by file name."""

import copy
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_ids import (
    Concat,
    Features,
    NearestFree,
    RQKMeans,
    StaleFolderError,
    Suffix,
    Tokenizer,
    storage,
)
from semantic_ids.storage import FORMAT, State, read_state, write_state

UNICODE = ["", "a", "ä", "a\u0308", "日本", "\U0001f642", "with space", 'q"\\', "\x7f", "line\n"]
IDS = {
    "rows": None,
    "ints": [2**63 - 1, -(2**63), *range(58)],
    "strings": [f"item-{number}" for number in range(60)],
    "unicode": UNICODE + [f"{number}" for number in range(60 - len(UNICODE))],
}


def features(ids=None, seed=0):
    rng = np.random.default_rng(seed)
    arrays = {"text": rng.normal(size=(60, 4)), "image": rng.normal(size=(60, 3))}
    arrays["text"][30:40] = arrays["text"][0]
    return Features(arrays, present={"image": np.arange(60) < 30}, ids=ids)


def fitted(ids=None, seed=0, resolver=None):
    return Tokenizer.fit(
        features(ids, seed),
        fuser=Concat(weights={"image": 0.5}),
        quantizer=RQKMeans(levels=2, codebook_size=(8, 12), iterations=3, seed=seed),
        resolver=resolver or NearestFree(),
    )


def same(one, other):
    """Whether two tokenizers are alike to the last bit."""
    alike = one.spec == other.spec and one.ordered == other.ordered
    alike = alike and one.code_sizes == other.code_sizes
    alike = alike and one.ids.dtype == other.ids.dtype and one.ids.tolist() == other.ids.tolist()
    alike = alike and np.array_equal(one.codes, other.codes)
    return alike and np.array_equal(one.content_codes, other.content_codes)


def data_files(folder):
    return sorted(path for path in folder.iterdir() if path.suffix == ".safetensors")


@pytest.fixture(scope="module")
def tokenizer():
    return fitted(IDS["strings"])


@pytest.fixture
def folder(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "saved")
    return tmp_path / "saved"


# --- what goes in comes out


@pytest.mark.parametrize("resolver", [NearestFree(), Suffix()], ids=lambda spec: spec.kind)
@pytest.mark.parametrize("ids", IDS)
def test_a_loaded_tokenizer_is_the_saved_one(tmp_path, ids, resolver):
    tokenizer = fitted(IDS[ids], resolver=resolver)
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert same(loaded, tokenizer)
    assert loaded.statistics() == tokenizer.statistics()
    assert loaded.statistics(features()) == tokenizer.statistics(features())
    assert loaded.lookup(tokenizer.codes) == tokenizer.ids.tolist()
    assert np.array_equal(loaded.encode(tokenizer.ids), tokenizer.codes)


def test_a_loaded_tokenizer_encodes_and_decodes_bit_for_bit(tokenizer, folder):
    loaded, unseen = Tokenizer.load(folder), features(seed=3)
    assert loaded.encode(unseen).tobytes() == tokenizer.encode(unseen).tobytes()
    decoded, expected = (each.decode(tokenizer.codes) for each in (loaded, tokenizer))
    assert list(decoded) == list(expected) == ["text", "image"]
    assert all(decoded[name].tobytes() == expected[name].tobytes() for name in expected)


def test_another_process_encodes_bit_for_bit(tokenizer, folder, tmp_path):
    arrays = features(seed=3).modalities
    np.savez(tmp_path / "unseen.npz", **arrays)
    code = (
        "import sys, numpy as np; from semantic_ids import Tokenizer;"
        "unseen = dict(np.load(sys.argv[2]));"
        "print(Tokenizer.load(sys.argv[1]).encode(unseen).tolist())"
    )
    arguments = [sys.executable, "-c", code, str(folder), str(tmp_path / "unseen.npz")]
    found = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(found.stdout) == tokenizer.encode(arrays).tolist()


@pytest.mark.parametrize("ordered", [True, False])
def test_a_tokenizer_without_a_codec_is_the_saved_one(tmp_path, ordered):
    codes = np.array([[0, 5], [0, 5], [3, 1]])
    tokenizer = Tokenizer.from_codes(["x", "", "ö"], codes, ordered=ordered)
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert same(loaded, tokenizer)
    assert loaded.spec is None
    assert loaded.statistics() == tokenizer.statistics()


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_may_be_a_string_or_a_path_and_be_made(tokenizer, tmp_path, kind):
    tokenizer.save(kind(tmp_path / "a" / "b"))
    assert same(Tokenizer.load(kind(tmp_path / "a" / "b")), tokenizer)


def test_saving_again_writes_the_same_bytes(tokenizer, folder, tmp_path):
    Tokenizer.load(folder).save(tmp_path / "again")
    content = [{p.name: p.read_bytes() for p in d.iterdir()} for d in (folder, tmp_path / "again")]
    assert content[0] == content[1]


def test_arrays_of_a_state_come_back_exactly(tmp_path):
    arrays = {
        "empty": np.zeros((0, 3), dtype=np.float32),
        "strided": np.arange(24.0).reshape(4, 6)[::2, ::-1],
        "bytes": np.arange(256, dtype=np.uint8),
        "floats": np.array([np.nan, -0.0, np.inf, 1e-45], dtype=np.float32),
    }
    metadata = {"float": 0.1 + 0.2, "list": [1, None, "ü"], "nested": {"a": True}}
    write_state(tmp_path, State("thing", metadata, {"data": arrays}))
    state = read_state(tmp_path, "thing")
    assert state.metadata == metadata
    assert {name: array.dtype for name, array in state.files["data"].items()} == {
        name: array.dtype for name, array in arrays.items()
    }
    for name, array in arrays.items():
        assert state.files["data"][name].tobytes() == np.ascontiguousarray(array).tobytes()


# --- where it is written


def test_a_newer_state_replaces_an_older_one_and_its_files(tokenizer, folder):
    old = data_files(folder)
    newer = fitted(IDS["ints"], seed=1)
    newer.save(folder, overwrite=True)
    assert same(Tokenizer.load(folder), newer)
    assert len(data_files(folder)) == 2
    assert not set(old) & set(data_files(folder))


def test_other_files_beside_a_state_are_left_alone(tokenizer, folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "codec.safetensors").write_text("mine too")
    fitted(seed=1).save(folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "codec.safetensors").read_text() == "mine too"


@pytest.mark.parametrize("name", ["notes.txt", "model.safetensors", ".hidden"])
def test_a_folder_of_other_files_is_refused_untouched(tokenizer, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=re.escape(f"{tmp_path}: holds other files")):
        tokenizer.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_no_folder(tokenizer, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"file: is a file"):
        tokenizer.save(path)
    with pytest.raises(FileNotFoundError, match=r"file/manifest\.json: no such file"):
        Tokenizer.load(path)


@pytest.mark.parametrize("existing", [True, False])
def test_where_nothing_was_saved_nothing_is_found(tmp_path, existing):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json: no such file"):
        Tokenizer.load(tmp_path if existing else tmp_path / "nowhere")


def test_a_folder_that_is_gone_or_empty_is_written_again(tokenizer, folder):
    tokenizer = Tokenizer.load(folder)
    shutil.rmtree(folder)
    tokenizer.save(folder)
    assert same(Tokenizer.load(folder), tokenizer)
    for path in folder.iterdir():
        path.unlink()
    tokenizer.save(folder)
    assert same(Tokenizer.load(folder), tokenizer)


def test_an_unrelated_tokenizer_is_refused_unless_it_is_to_overwrite(tokenizer, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for other in (fitted(seed=1), fitted(), Tokenizer.from_codes(["x"], [[0]])):
        with pytest.raises(FileExistsError, match=r"holds a tokenizer .* overwrite=True"):
            other.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    other.save(folder, overwrite=True)
    assert same(Tokenizer.load(folder), other)
    other.save(folder)


def test_a_stale_folder_may_be_overwritten_on_purpose(folder):
    first, second = Tokenizer.load(folder), Tokenizer.load(folder)
    first.remove(first.ids[:1])
    first.save(folder)
    with pytest.raises(StaleFolderError, match="overwrite=True"):
        second.save(folder)
    second.save(folder, overwrite=True)
    assert same(Tokenizer.load(folder), second)


def test_a_copy_may_replace_what_its_original_may(folder):
    original = Tokenizer.load(folder)
    copy = original.copy()
    copy.remove(copy.ids[:1])
    copy.save(folder)
    with pytest.raises(StaleFolderError):  # what the copy saved is not the original's
        original.save(folder)


def test_a_folder_of_another_kind_is_not_overwritten_either(tokenizer, tmp_path):
    write_state(tmp_path, State("thing", {}, {}))
    with pytest.raises(FileExistsError, match="not that of a tokenizer"):
        tokenizer.save(tmp_path, overwrite=True)


# --- one commit


def test_a_reader_before_the_commit_finds_the_old_state(tokenizer, folder, monkeypatch):
    found, replace = [], storage._replace

    def watched(*arguments):
        found.append(Tokenizer.load(folder))
        replace(*arguments)
        found.append(Tokenizer.load(folder))

    monkeypatch.setattr(storage, "_replace", watched)
    newer = fitted(seed=1)
    newer.save(folder, overwrite=True)
    assert same(found[0], tokenizer)
    assert same(found[1], newer)


def test_a_reader_that_is_overtaken_finds_the_new_state(folder, monkeypatch):
    read, newer = storage._read_manifest, [fitted(seed=1), fitted(seed=2)]
    expected = newer[-1]

    def overtaken(*arguments):
        manifest = read(*arguments)
        if newer:
            newer.pop(0).save(folder, overwrite=True)
        return manifest

    monkeypatch.setattr(storage, "_read_manifest", overtaken)
    assert same(Tokenizer.load(folder), expected)


def cut_off(function, at):
    """Run a function up to its `at`-th call, and be killed there."""
    calls = []

    def wrapped(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == at:
            raise KeyboardInterrupt
        return function(*arguments, **keywords)

    return wrapped


# Two data files are synced and renamed, then the folder is synced, then the manifest follows;
# then the folder is synced again and the two older data files are removed.
BEFORE_COMMIT = [("fsync", n) for n in (1, 2, 3, 4)] + [("replace", n) for n in (1, 2, 3)]
AFTER_COMMIT = [("fsync", 5), ("unlink", 1), ("unlink", 2)]


def interrupted_save(tokenizer, folder, monkeypatch, moment):
    name, at = moment
    owner = storage.os if name == "fsync" else Path
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, cut_off(getattr(owner, name), at))
        with pytest.raises(KeyboardInterrupt):
            tokenizer.save(folder, overwrite=True)


@pytest.mark.parametrize("moment", BEFORE_COMMIT + AFTER_COMMIT)
def test_a_writer_that_is_cut_off_leaves_one_whole_state(tmp_path, monkeypatch, moment):
    older, newer = fitted(seed=1), fitted(seed=2)
    older.save(tmp_path)
    interrupted_save(newer, tmp_path, monkeypatch, moment)
    assert same(Tokenizer.load(tmp_path), newer if moment in AFTER_COMMIT else older)
    newer.save(tmp_path, overwrite=True)
    assert same(Tokenizer.load(tmp_path), newer)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("moment", BEFORE_COMMIT)
def test_a_first_writer_that_is_cut_off_leaves_room_for_the_next(
    tokenizer, tmp_path, monkeypatch, moment
):
    interrupted_save(tokenizer, tmp_path, monkeypatch, moment)
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    assert same(Tokenizer.load(tmp_path), tokenizer)
    assert len(list(tmp_path.iterdir())) == 3


# --- damage

NAMES = ["manifest", "catalogue", "codec"]


def named(folder, name):
    return next(path for path in folder.iterdir() if path.name.startswith(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_anywhere_is_refused(folder, name):
    path = named(folder, name)
    content = path.read_bytes()
    for place in range(0, len(content), 1 + len(content) // 300):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=re.escape(path.name)):
            Tokenizer.load(folder)
    path.write_bytes(content)
    Tokenizer.load(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(folder, name, share):
    path = named(folder, name)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=re.escape(path.name)):
        Tokenizer.load(folder)


@pytest.mark.parametrize("name", ["catalogue", "codec"])
@pytest.mark.parametrize("damage", ["longer", "missing", "another", "a folder"])
def test_a_data_file_that_is_not_the_one_written_is_refused(folder, name, damage):
    path = named(folder, name)
    content = path.read_bytes()
    path.unlink()
    if damage == "longer":
        path.write_bytes(content + b"\0")
    elif damage == "another":
        path.write_bytes(bytes(len(content)))
    elif damage == "a folder":
        path.mkdir()
    with pytest.raises(ValueError, match=re.escape(path.name)):
        Tokenizer.load(folder)


def test_data_files_that_changed_places_are_refused(folder):
    one, other = data_files(folder)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(one.name)):
        Tokenizer.load(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "3", '"x"', "\udcff", "[" * 100_000, "1" * 5000, '{"format": NaN}'],
    ids=lambda text: f"{text[:6]!r} x {len(text)}",
)
def test_a_manifest_that_is_none_is_refused(folder, text):
    (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"manifest\.json"):
        Tokenizer.load(folder)


def change(manifest, path, value):
    *parents, last = path.split("/")
    for key in parents:
        manifest = manifest[key]
    manifest[last] = value


EDITS = {
    "a newer format": ("format", FORMAT + 1, "newer than this package reads"),
    "a far newer format": ("format", 10**30, "newer than this package reads"),
    "an older format than the first": ("format", 0, "format"),
    "a format that is no number": ("format", "one", "format"),
    "another kind": ("kind", "recommender", "holds a recommender, expected a tokenizer"),
    "an unknown field": ("comment", "hello", "comment"),
    "an unknown field of a file": ("files/codec/comment", "hello", "comment"),
    "a path upwards": ("files/codec/name", "../x-0123456789abcdef.safetensors", "name"),
    "an absolute path": ("files/codec/name", "/x-0123456789abcdef.safetensors", "name"),
    "a name with a line end": ("files/codec/name", "x-0123456789abcdef.safetensors\n", "name"),
    "another data file": ("files/codec/name", "x-0123456789abcdef.safetensors", "missing"),
    "a negative size": ("files/codec/bytes", -1, "bytes"),
    "another size": ("files/codec/bytes", 10**30, "bytes, expected"),
    "another checksum": ("files/codec/sha256", "0" * 64, "checksum in manifest.json"),
    "an absurd shape": ("files/catalogue/arrays/codes/shape", [10**30, -1], "its arrays are not"),
    "a shape of words": ("files/catalogue/arrays/codes/shape", ["many"], "shape"),
    "another dtype": ("files/catalogue/arrays/codes/dtype", "object", "its arrays are not"),
    "no files": ("files", {}, "codes: no such array"),
    "a spec of other stages": ("metadata/spec", {}, "code_sizes"),
    "no widths": ("metadata/widths", [], "the spec has no use for"),
    "another codebook size": ("metadata/spec/quantizer/codebook_size", 9, "code_sizes"),
    "more levels": ("metadata/levels", 3, "manifest.json"),
    "an unknown quantizer": ("metadata/spec/quantizer/kind", "abacus", "'abacus'"),
    "a spec that is none": ("metadata/spec/quantizer", 5, "expected a Quantizer"),
    "other widths": ("metadata/widths", [["text", 5], ["image", 3]], "mean.text: expected"),
    "no sizes": ("metadata/code_sizes", None, "code_sizes"),
    "code sizes beyond int32": ("metadata/code_sizes", [2**40, 12], "code_sizes"),
    "code sizes too small": ("metadata/code_sizes", [1, 1], "code_sizes"),
    "errors of other levels": ("metadata/relative_errors", [0.5], "1 relative errors of 2 levels"),
    "a modality's errors of other levels": (
        "metadata/modality_errors",
        {"text": [0.5]},
        "1 errors of 'text', 2 levels",
    ),
    "unknown metadata": ("metadata/comment", "hello", "comment"),
}


def seal(manifest):
    """The checksum by its definition: of the sorted JSON without the checksum itself."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_is_refused_even_with_a_right_checksum(folder, edit):
    place, value, message = EDITS[edit]
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest, place, value)
    manifest["sha256"] = seal(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message) as refusal:
        Tokenizer.load(folder)
    assert str(folder) in str(refusal.value)


def test_an_edited_manifest_is_refused_without_one(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["metadata"]["relative_errors"][0] += 0.001
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"manifest\.json: its content does not have the checksum"):
        Tokenizer.load(folder)


def test_the_layout_of_the_manifest_does_not_matter(tokenizer, folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(dict(reversed(manifest.items()))))
    assert same(Tokenizer.load(folder), tokenizer)
    (folder / "manifest.json").write_text(json.dumps(manifest, sort_keys=True))
    loaded = Tokenizer.load(folder)
    # "text" came before "image" in the fit: the order of the columns must not follow the keys.
    assert np.array_equal(loaded.encode(features()), tokenizer.encode(features()))


# --- states that no tokenizer writes

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.lists(st.integers(-1, 9), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
JUNK_ARRAYS = st.builds(
    lambda shape, dtype, fill: np.full(shape, fill).astype(dtype),
    st.sampled_from([(), (0,), (2,), (60,), (60, 2), (60, 0), (60, 3), (2, 2, 2), (8, 7)]),
    st.sampled_from([np.int32, np.int64, np.uint8, np.float32, np.float64, bool]),
    st.sampled_from([0, 1, 200]),
)


def places(tree, path=()):
    """Every place in nested dicts."""
    for key, value in tree.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


@settings(max_examples=100)
@given(data=st.data())
def test_a_state_with_anything_else_in_it_is_refused_in_one_way(tokenizer, tmp_path_factory, data):
    state = tokenizer.to_state()
    metadata = copy.deepcopy(dict(state.metadata))
    files = {name: dict(arrays) for name, arrays in state.files.items()}
    in_metadata = data.draw(st.booleans())
    tree = metadata if in_metadata else files
    place = data.draw(st.sampled_from(list(places(tree))[0 if in_metadata else 1 :]))
    parent = tree
    for key in place[:-1]:
        parent = parent[key]
    if data.draw(st.booleans()):
        del parent[place[-1]]
    elif in_metadata:
        parent[place[-1]] = data.draw(JUNK)
    elif len(place) == 2:
        parent[place[-1]] = data.draw(JUNK_ARRAYS)
    folder = tmp_path_factory.mktemp("forged")
    write_state(folder, State("tokenizer", metadata, files), overwrite=True)
    loaded, refusal = None, ""
    try:
        loaded = Tokenizer.load(folder)
    except ValueError as error:
        refusal = str(error)
    assert (loaded is None) == (str(folder) in refusal)
    if loaded is not None:  # then it has to work
        assert len(loaded.encode(loaded.ids)) == 60
        assert loaded.statistics().items == 60
    if loaded is not None and loaded.spec is not None:
        assert loaded.encode(features()).shape == (60, 2)
        assert len(loaded.decode(loaded.codes)["text"]) == 60


def test_a_single_number_keeps_having_no_dimension(tmp_path):
    state = State("thing", {}, {"data": {"number": np.float32(2.5).reshape(())}})
    write_state(tmp_path / "folder", state)
    number = read_state(tmp_path / "folder", "thing").files["data"]["number"]
    assert number.shape == ()
    assert number == 2.5
