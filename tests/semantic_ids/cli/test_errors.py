"""Every error is one line, with the exit code of its kind; nothing is written."""

import re
import shutil
import warnings

import numpy as np
import pytest

from semantic_ids.cli import app

USAGE = {
    "no command": "",
    "unknown command": "encoed tokens",
    "unknown option": "encode tokens --al",
    "no folder": "encode",
    "no ids": "encode tokens",
    "ids twice": "encode tokens x --all",
    "features without their option": "encode tokens text=text.npy image.npy",
    "no such device": "encode tokens x --device tpu",
    "no codes": "lookup tokens",
    "codes twice": "lookup tokens 1,2 --codes codes.csv",
    "no number": "neighbours tokens 1,2,3 --k many",
    "no such way": "neighbours tokens 1,2,3 --by colour",
    "no features": "fit --out out",
    "nowhere to write": "fit text.npy",
    "two files without names": "fit text.npy image.npy --out out",
    "one file without a name": "fit text=text.npy image.npy --out out",
    "a name twice": "fit text=text.npy text=image.npy --out out",
    "a name without a file": "fit text= --out out",
    "no field": "fit text.npy --out out --set levels",
    "an empty field": "fit text.npy --out out --set quantizer..levels=3",
    "unknown side": "fit text.npy --out out --side prices=text.npy",
    "ids of no features": "stats tokens --ids ids.txt",
    "nothing to remove": "remove tokens",
    "a format unknown": "export tokens out.csv --to xml",
    "a format unknown to read": "from-codes codes.csv --from xml --out out",
}

WRONG = {
    "no tokenizer": "encode nothing x",
    "a folder of other files": "encode . x",
    "unknown id": "encode tokens nobody",
    "no number as id": "encode numbered nobody",
    "no such file of ids": "encode tokens --ids nothing.txt",
    "a folder as file of ids": "encode tokens --ids tokens",
    "no column of ids": "encode tokens --ids codes.csv",
    "vectors as ids": "encode tokens --ids text.npy",
    "ids of the wrong kind": "encode tokens --ids numbers.npy",
    "no such features": "fit nothing.npy --out out",
    "features of an unknown kind": "fit ids.txt --out out",
    "a folder without features": "fit empty --out out",
    "rows without an end": "fit damaged.npy --out out",
    "no parquet": "fit damaged.parquet --out out",
    "as many ids as items": "fit text.npy --ids three.txt --out out",
    "no such column": "fit text.npy --ids sku --out out",
    "unequal lengths": "fit text=text.npy image=short.npy --out out",
    "unequal lengths, dry": "fit text=text.npy image=short.npy --dry-run",
    "too few items, dry": "fit short.npy --codebook-size 16 --dry-run",
    "too few items": "fit short.npy --codebook-size 16 --out out",
    "other files in the way": "fit text.npy --codebook-size 16 --out .",
    "a file in the way": "fit text.npy --codebook-size 16 --out ids.txt",
    "an unknown field": "fit text.npy --out out --set quantizer.lavels=3",
    "an unknown part": "fit text.npy --out out --set quantiser.levels=3",
    "a field of a number": "fit text.npy --out out --set seed.x=3",
    "a value out of range": "fit text.npy --out out --levels 0",
    "an unknown kind": "fit text.npy --out out --quantizer rq-k-means",
    "no such spec": "fit text.npy --out out --spec nothing.yaml",
    "no YAML": "fit text.npy --out out --spec damaged.yaml",
    "no JSON": "fit text.npy --out out --spec damaged.json",
    "no fields": "fit text.npy --out out --spec list.yaml",
    "no array of side": "fit text.npy --out out --side counts=ids.txt",
    "codes of another length": "lookup tokens 1,2",
    "codes out of range": "lookup tokens 1,2,16",
    "no codes": "lookup tokens one",
    "levels in another order": "lookup tokens <b_1><a_2><c_3>",
    "codes of two lengths": "decode tokens 1,2 1,2,3",
    "no such file of codes": "lookup tokens --codes nothing.csv",
    "a column of codes is missing": "lookup tokens --codes gap.csv",
    "rows of other lengths": "lookup tokens --codes ragged.csv",
    "no JSON in a line": "lookup tokens --codes damaged.jsonl",
    "one document": "explain tokens B0001 --items damaged.json",
    "no gzip": "lookup tokens --codes damaged.csv.gz",
    "no text": "lookup tokens --codes latin.csv",
    "too many neighbours": "neighbours tokens 1,2,3 --k 301",
    "no codec": "decode published 0,0",
    "no codec for features": "drift published text.npy",
    "other widths": "drift tokens text=image.npy image=text.npy",
    "two modalities in a .npy": "decode tokens 1,2,3 --out out.npy",
    "an unknown item": "explain tokens nobody",
    "an empty prefix": "describe published 1,1",
    "features of other items": "stats tokens --features text=short.npy",
    "categories of nobody": "stats tokens --categories codes.csv",
    "an ending unknown": "export tokens out.xyz",
    "an ending unknown to read": "from-codes ids.txt --out out",
    "a table without ids": "from-codes codes.csv --out out",
    "a table without codes": "from-codes nocodes.csv --out out",
    "a table without rows": "from-codes norows.csv --out out",
    "a table of no columns": "from-codes lines.jsonl --out out",
    "ids that a format cannot hold": "export tokens out.npy",
    "codes that collide": "from-codes same.npy --out out --resolver none",
    "no codes to make one of": "from-codes text.npy --out out",
    "a page in no folder": "report tokens nothing/page.html",
    "ids of two kinds": "compare tokens numbered",
    "a folder that cannot be": "encode tokens --all --out nothing/out.csv",
}


@pytest.fixture(scope="session")
def broken(shop, tmp_path_factory):
    """A copy of the shop, with files that cannot be used."""
    folder = tmp_path_factory.mktemp("broken") / "shop"
    shutil.copytree(shop, folder)
    (folder / "empty").mkdir()
    np.save(folder / "short.npy", np.zeros((5, 12), np.float32))
    np.save(folder / "numbers.npy", np.arange(3))
    np.save(folder / "same.npy", np.zeros((3, 2), np.int64))
    (folder / "three.txt").write_text("a\nb\nc\n")
    (folder / "damaged.npy").write_bytes((folder / "text.npy").read_bytes()[:500])
    (folder / "damaged.parquet").write_bytes(b"PAR1 and no more")
    (folder / "damaged.yaml").write_text("quantizer: [1, 2")
    (folder / "damaged.json").write_text("{")
    (folder / "damaged.jsonl").write_text('{"code": [1, 2, 3]}\n{"code":\n')
    (folder / "damaged.csv.gz").write_bytes(b"code\n1\n")
    (folder / "latin.csv").write_bytes("code,café\n".encode("latin-1"))
    (folder / "list.yaml").write_text("- 1\n")
    (folder / "codes.csv").write_text("code_a,code_b,code_c\n1,2,3\n")
    (folder / "lines.jsonl").write_text('"1,2"\n"3,4"\n')
    (folder / "nocodes.csv").write_text("item_id\nx\n")
    (folder / "norows.csv").write_text("item_id,code_a\n")
    (folder / "gap.csv").write_text("code_a,code_c\n1,2\n")
    (folder / "ragged.csv").write_text("code_a,code_b,code_c\n1,2,3\n1,2\n")
    return folder


def check(result, code):
    assert result.code == code
    assert result.out == ""
    last = result.err.splitlines()[-1]
    shapes = result.err.splitlines()[:-1]  # what a dry run says of the files before
    assert all(" x " in line for line in shapes)
    assert last.startswith("semantic-ids")
    assert ": " in last
    assert "Traceback" not in result.err
    assert "error of the program" not in result.err


@pytest.mark.parametrize("words", USAGE.values(), ids=USAGE)
def test_a_command_that_is_not_spelled_right_ends_with_2(call, broken, monkeypatch, words):
    monkeypatch.chdir(broken)
    check(call(*words.split()), 2)


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_ends_with_1_and_writes_nothing(call, broken, monkeypatch, words):
    monkeypatch.chdir(broken)
    before = sorted(broken.rglob("*"))
    check(call(*words.split()), 1)
    assert sorted(broken.rglob("*")) == before


def test_traceback_is_shown_on_demand_wherever_that_is_said(call, shop, monkeypatch):
    monkeypatch.chdir(shop)
    for words in (
        ["--traceback", "encode", "tokens", "x"],
        ["encode", "tokens", "x", "--traceback"],
    ):
        result = call(*words)
        assert result.code == 1
        assert result.err.startswith("Traceback")
        assert "UnknownItemError" in result.err


def test_an_error_of_the_program_says_so(call, shop, monkeypatch):
    def fail(*_):
        raise AttributeError("no such thing")

    monkeypatch.setattr("semantic_ids.Tokenizer.load", fail)
    result = call("encode", shop / "tokens", "x")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "AttributeError: no such thing (an error of the program" in result.err


def test_a_warning_is_one_line(call, shop, monkeypatch):
    def warn(*_):
        warnings.warn("look\nhere", stacklevel=1)
        raise ValueError("and then")

    monkeypatch.setattr("semantic_ids.Tokenizer.load", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = call("encode", shop / "tokens", "x")
    assert result.err == "semantic-ids: warning: look here\nsemantic-ids: and then\n"


def test_add_changes_nothing_if_its_codes_cannot_be_written(call, broken, monkeypatch):
    monkeypatch.chdir(broken)
    before = (broken / "tokens" / "manifest.json").read_bytes()
    words = ["add", "tokens", "text=text.npy", "image=image.npy", "--ids", "ids.txt"]
    check(call(*words, "--out", "nothing/codes.csv"), 1)
    check(call(*words, "--out", "empty"), 1)
    assert (broken / "tokens" / "manifest.json").read_bytes() == before


def test_errors_say_what_to_do_in_words_of_the_command(call, shop, monkeypatch, tmp_path):
    monkeypatch.chdir(shop)
    shutil.copytree("tokens", tmp_path / "copy")
    features = ["text=text.npy", "image=image.npy"]
    nameless = call("add", tmp_path / "copy", *features)
    assert nameless.code == 2
    assert "--ids: every new item needs an id" in nameless.err
    np.save(tmp_path / "text.npy", np.load("text.npy")[::-1])
    other = call(
        *("add", tmp_path / "copy", f"text={tmp_path / 'text.npy'}", "image=image.npy"),
        *("--ids", "ids.txt"),
    )
    assert other.code == 1
    assert "give --update" in other.err
    exported = call("export", "tokens", tmp_path / "out.npy")
    assert "choose a format that holds ids" in exported.err
    for result in (nameless, other, exported):
        assert "=[" not in result.err
        assert "=None" not in result.err
        assert "=True" not in result.err


def test_the_help_of_add_does_not_promise_row_numbers(call):
    for command, promised in (("add", False), ("fit", True)):
        text = " ".join(call(command, "--help").out.split())
        assert ("Row numbers if left out" in text) == promised


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_features_in_a_table_of_text_are_refused_by_what_is_accepted(call, tmp_path, ending):
    (tmp_path / f"a.{ending}").write_text("")
    result = call("fit", tmp_path / f"a.{ending}", "--out", tmp_path / "out")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "ends in .npy, .safetensors or .parquet" in result.err
    assert "no .csv or .jsonl" in " ".join(call("fit", "--help").out.split())


@pytest.mark.parametrize(
    "words",
    [
        "--set quantiser.levels=3",
        "--set quantizer.lavels=3",
        "--levels 0",
        f"--set seed={'x' * 5000}",
        f"--set fuser.weights=[{'0,' * 5000}0]",
    ],
)
def test_an_error_of_a_spec_is_short_and_names_a_place_if_there_is_one(call, words):
    error = call("fit", "text.npy", "--dry-run", *words.split()).err
    assert error.startswith("semantic-ids: ")
    assert ": :" not in error
    assert len(error) < 400


def test_help_names_every_exit_code(call):
    text = " ".join(call("--help").out.split())
    for code in (0, 1, 2, 130, 141):
        assert re.search(rf"[:,] {code} ", text)


def test_errors_of_several_lines_become_one():
    assert app._line(ValueError("one\n  two")) == "semantic-ids: one two"


def test_what_an_error_advises_is_an_option_of_the_command(call, broken, monkeypatch):
    monkeypatch.chdir(broken)
    holes = np.load("text.npy")
    holes[3] = np.nan
    np.save("holes.npy", holes)
    result = call("fit", "holes.npy", "--out", "out")
    assert result.err.rstrip().endswith('missing="nan" (here: --nan-is-missing)')
    # `lookup` has no such option.
    found = app._advised(ValueError('say missing="nan"'), ["lookup", "tokens"])
    assert found == ""
    assert (
        app._advised(ValueError('say missing="nan"'), ["add", "x"]) == " (here: --nan-is-missing)"
    )
    short = ValueError('say short_users="drop"')
    assert app._advised(short, ["qbert4rec", "train"]) == " (here: --drop-short)"
