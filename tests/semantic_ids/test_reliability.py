"""Writers that are killed at any moment, and folders made to do harm."""

import hashlib
import inspect
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from semantic_ids import RQKMeans, Tokenizer
from semantic_ids.storage import State, read_state, write_state


def fitted(items=60, size=8):
    rng = np.random.default_rng(0)
    return Tokenizer.fit(
        {"text": rng.normal(size=(items, 4)), "image": rng.normal(size=(items, 3))},
        ids=[f"item-{k}" for k in range(items)],
        quantizer=RQKMeans(levels=2, codebook_size=(size, size), iterations=3),
    )


def same(one, other):
    """Whether two catalogues are alike to the last bit."""
    return (
        one.ids.tolist() == other.ids.tolist()
        and np.array_equal(one.codes, other.codes)
        and np.array_equal(one.content_codes, other.content_codes)
        and one.fingerprint == other.fingerprint
    )


def named(folder, name):
    return next(path for path in folder.iterdir() if path.name.startswith(name))


def seal(manifest):
    """The checksum by its definition: of the sorted JSON without the checksum itself."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


# --- killed at random moments


def batch(generation):
    """The items that turn generation number g into number g + 1."""
    rng = np.random.default_rng(generation)
    names = [f"new {generation} {k}" for k in range(2)]
    return {"text": rng.normal(size=(2, 4)), "image": rng.normal(size=(2, 3))}, names


# The imports, some of which come late, are done once. Each worker is a fork of this process, and
# loads, adds and saves until it is killed, telling each generation that it has saved.
WORKERS = (
    inspect.getsource(batch)
    + """
import os, sys
import numpy as np
from semantic_ids import Tokenizer

def tell(*words):  # one write: a line that is cut off would swallow the next one
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

folder, me = sys.argv[1], os.getpid()
warm = Tokenizer.load(folder)
warm.add(batch(0)[0], ids=batch(0)[1])
warm.save(folder + "-warm")
for _ in sys.stdin:
    worker = os.fork()
    while worker == 0 and os.getppid() == me:
        tokenizer = Tokenizer.load(folder)
        features, names = batch(tokenizer.generation)
        tokenizer.add(features, ids=names)
        tokenizer.save(folder)
        tell(tokenizer.generation)
    if worker == 0:
        os._exit(0)
    tell("worker", worker)
    os.waitpid(worker, 0)
    tell("dead")
"""
)


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_killed_writer_leaves_the_old_state_or_the_new_one(tmp_path, kills):
    replay = fitted(items=64, size=64)
    replay.save(tmp_path / "t")
    rng, left_behind = np.random.default_rng(0), 0
    workers = subprocess.Popen(
        [sys.executable, "-c", WORKERS, str(tmp_path / "t")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    with workers:
        try:
            for _ in range(kills):
                workers.stdin.write("next\n")
                workers.stdin.flush()
                told = []
                while len(told) < 2:  # its number, and the first generation that it saved
                    told.append(workers.stdout.readline())
                worker = int(next(line for line in told if "worker" in line).split()[1])
                end, seen = time.monotonic() + rng.uniform(0.0, 0.15), replay.generation
                while time.monotonic() < end:  # readers are never in the way, nor misled
                    found = Tokenizer.load(tmp_path / "t")
                    assert found.generation >= seen
                    assert len(found) == 64 + 2 * found.generation
                    seen = found.generation
                os.kill(worker, signal.SIGKILL)
                while not (told and told[-1] == "dead\n"):
                    told.append(workers.stdout.readline())
                saved = [int(line) for line in told if line.strip().isdigit()]
                loaded = Tokenizer.load(tmp_path / "t")
                at_least = max([replay.generation, *saved])
                assert loaded.generation in (at_least, at_least + 1)
                left_behind += len(list((tmp_path / "t").iterdir())) > 3
                while replay.generation < loaded.generation:
                    features, names = batch(replay.generation)
                    replay.add(features, ids=names)
                assert same(loaded, replay)
        finally:
            workers.kill()
    assert replay.generation >= kills  # there was work to be cut off, and some was:
    assert left_behind
    loaded = Tokenizer.load(tmp_path / "t")
    loaded.remove("item-1")
    loaded.save(tmp_path / "t")
    assert len(list((tmp_path / "t").iterdir())) == 3


# --- files made to do harm: sizes, names and checksums are right, the content is not


@pytest.fixture
def folder(tmp_path):
    fitted().save(tmp_path / "saved")
    return tmp_path / "saved"


def replace(folder, name, content):
    """Put other content in a data file, with a manifest that is right about it."""
    path = named(folder, name)
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256(content).hexdigest()
    entry = manifest["files"][name]
    entry.update(name=f"{name}-{digest[:16]}.safetensors", sha256=digest, bytes=len(content))
    path.unlink()
    (folder / entry["name"]).write_bytes(content)
    manifest["sha256"] = seal(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / entry["name"]


def header(content):
    """The header of a safetensors file, as a dict, and what follows it."""
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_header(head, rest):
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + rest


def first_array(head):
    return next(name for name in head if name != "__metadata__")


def changed_header(**fields):
    def change(content):
        head, rest = header(content)
        head[first_array(head)].update(fields)
        return with_header(head, rest)

    return change


def overlapping(content):
    head, rest = header(content)
    one, other = [name for name in head if name != "__metadata__"][:2]
    head[one], head[other] = head[other], head[one] | {"data_offsets": [0, 8]}
    return with_header(head, rest)


def cut_at_an_array(content):
    head, rest = header(content)
    end = head[first_array(head)]["data_offsets"][1]
    return content[: len(content) - len(rest) + end]


HARM = {
    "nothing": lambda content: b"",
    "cut in the length of the header": lambda content: content[:5],
    "cut after the length of the header": lambda content: content[:8],
    "cut in the header": lambda content: content[:60],
    "cut after the header": lambda content: content[: len(content) - len(header(content)[1])],
    "cut between two arrays": cut_at_an_array,
    "cut before the last byte": lambda content: content[:-1],
    "one byte more": lambda content: content + b"\0",
    "a header of 2^60 bytes": lambda content: struct.pack("<Q", 2**60) + content[8:],
    "a header of 2^63 bytes": lambda content: struct.pack("<Q", 2**63) + content[8:],
    "a header that is no JSON": lambda content: content[:8] + b"\x80" + content[9:],
    "a shape of 2^40 rows": changed_header(shape=[2**40, 2]),
    "a shape beyond 64 bits": changed_header(shape=[2**40, 2**40]),
    "a negative shape": changed_header(shape=[-1, 2]),
    "offsets of 2^40": changed_header(data_offsets=[0, 2**40]),
    "offsets that go back": changed_header(data_offsets=[8, 0]),
    "no such dtype": changed_header(dtype="O"),
    "arrays that overlap": overlapping,
    "a pickle": lambda content: b"\x80\x04cos\nsystem\n(S'touch harmed'\ntR.".ljust(200, b"."),
    "a zip": lambda content: b"PK\x03\x04".ljust(200, b"\0"),
}


@pytest.mark.parametrize("name", ["catalogue", "codec"])
@pytest.mark.parametrize("harm", HARM)
def test_harmful_data_files_are_refused_by_name(folder, name, harm, monkeypatch):
    path = replace(folder, name, HARM[harm](named(folder, name).read_bytes()))
    monkeypatch.chdir(folder.parent)
    with pytest.raises(ValueError, match=re.escape(path.name)):
        Tokenizer.load(folder)
    assert not (folder.parent / "harmed").exists()


def rewritten(folder, change):
    """Save again what `change` makes of metadata and arrays, with all checksums right."""
    state = read_state(folder, "tokenizer")
    metadata = json.loads(json.dumps(dict(state.metadata)))
    files = {name: dict(arrays) for name, arrays in state.files.items()}
    change(metadata, files)
    write_state(folder, State("tokenizer", metadata, files), overwrite=True)


def swap(one, other):
    def change(metadata, files):
        (a, first), (b, second) = one, other
        files[a][first], files[b][second] = files[b][second], files[a][first]

    return change


def swap_files(metadata, files):
    files["codec"], files["catalogue"] = files["catalogue"], files["codec"]


SWAPS = {
    "the files": swap_files,
    "codes and codebook": swap(("catalogue", "codes"), ("codec", "quantizer.codebook.0")),
    "two codebooks": swap(("codec", "quantizer.codebook.0"), ("codec", "quantizer.codebook.1")),
    "means and scales": swap(("codec", "fuser.mean.text"), ("codec", "fuser.scale.text")),
    "unique and content codes": swap(("catalogue", "codes"), ("catalogue", "content_codes")),
    "bytes and offsets": swap(("catalogue", "id_bytes"), ("catalogue", "id_offsets")),
}


@pytest.mark.parametrize("case", SWAPS)
def test_arrays_that_changed_places_are_refused(folder, case):
    rewritten(folder, SWAPS[case])
    with pytest.raises(ValueError, match=re.escape(str(folder))):
        Tokenizer.load(folder)


# A limit on the address space turns a large allocation into a MemoryError, which is no refusal.
LIMITED = r"""
import re, resource, sys
import numpy as np
from semantic_ids import Tokenizer

Tokenizer.load(sys.argv[1])
size = 1024 * int(re.search(r"VmSize:\s+(\d+)", open("/proc/self/status").read())[1])
resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, size + 2**26))
try:
    np.ones(2**26)
except MemoryError:
    print("limited")
for folder in sys.argv[2:]:
    try:
        Tokenizer.load(folder)
    except ValueError as error:
        print(error)
"""


def absurd_offsets(metadata, files):
    files["catalogue"]["id_offsets"] = np.array([0, 2**62, 2**62 + 5])


def absurd_widths(metadata, files):
    metadata["widths"] = [["text", 2**50], ["image", 3]]


def absurd_levels(metadata, files):
    metadata["code_sizes"], metadata["levels"] = [2**31] * 4096, 4096


def absurd_codebook(metadata, files):
    metadata["spec"]["quantizer"].update(codebook_size=2**20, levels=64)
    metadata["code_sizes"], metadata["levels"] = [2**20] * 64, 64
    metadata["relative_errors"] = None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_absurd_sizes_are_refused_without_memory_for_them(tmp_path):
    good = tmp_path / "good"
    fitted().save(good)
    bad = []
    for change in (absurd_offsets, absurd_widths, absurd_levels, absurd_codebook):
        bad.append(tmp_path / change.__name__)
        fitted().save(bad[-1])
        rewritten(bad[-1], change)
    for harm in ("a header of 2^60 bytes", "a shape of 2^40 rows", "offsets of 2^40"):
        bad.append(tmp_path / harm)
        fitted().save(bad[-1])
        replace(bad[-1], "codec", HARM[harm](named(bad[-1], "codec").read_bytes()))
    command = [sys.executable, "-c", LIMITED, str(good), *map(str, bad)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    limited, *errors = found.stdout.splitlines()
    assert limited == "limited"
    told = "\n".join(errors)
    assert all(str(folder) in told for folder in bad)


# --- what is no plain file


def test_links_are_read_but_never_written_through(folder, tmp_path):
    tokenizer, outside = Tokenizer.load(folder), tmp_path / "outside"
    outside.mkdir()
    for path in [folder / "manifest.json", *folder.glob("*.safetensors")]:
        path.rename(outside / path.name)
        path.symlink_to(outside / path.name)
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    loaded = Tokenizer.load(folder)
    assert same(loaded, tokenizer)
    loaded.remove("item-3")
    loaded.save(folder)
    assert len(Tokenizer.load(folder)) == 59
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before


def test_a_link_to_another_file_is_refused(folder, tmp_path):
    path = named(folder, "codec")
    (tmp_path / "other").write_bytes(bytes(path.stat().st_size))
    path.unlink()
    path.symlink_to(tmp_path / "other")
    with pytest.raises(ValueError, match=re.escape(path.name)):
        Tokenizer.load(folder)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_may_never_end_is_not_read(folder, kind):
    path = replace(folder, "codec", b"")
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=f"{re.escape(path.name)}: no regular file"):
        Tokenizer.load(folder)
