"""Every command does what the package's function does."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from semantic_ids import Features, Popularity, RQKMeans, Side, Tokenizer
from semantic_ids.cli import coding, tables
from semantic_ids.cli.output import to_json


def lines_of(result):
    assert (result.code, result.err) == (0, "")
    return result.out.splitlines()


def objects_of(result):
    return [json.loads(line) for line in lines_of(result)]


@pytest.fixture
def inside(shop, monkeypatch):
    monkeypatch.chdir(shop)


@pytest.fixture
def copy(tokenizer, tmp_path):
    """A tokenizer that a test may change."""
    tokenizer.copy().save(tmp_path / "copy")
    return tmp_path / "copy"


def test_encode_prints_unique_codes_of_ids_in_the_order_given(call, inside, tokenizer, names):
    asked = [names[7], names[3], names[7]]
    strings = tokenizer.vocabulary.to_strings(tokenizer.encode(asked))
    assert lines_of(call("encode", "tokens", *asked)) == strings
    assert lines_of(call("encode", "tokens", "-", stdin="\n".join(asked))) == strings
    commas = [",".join(map(str, code)) for code in tokenizer.encode(asked).tolist()]
    assert lines_of(call("encode", "tokens", "--integers", *asked)) == commas


def test_encode_prints_content_codes_of_features(call, inside, tokenizer, arrays):
    words = ["--features", "text=text.npy", "--features", "image=image.npy"]
    rows = objects_of(call("encode", "tokens", *words, "--json"))
    assert [row["code"] for row in rows] == tokenizer.encode(arrays).tolist()
    assert (np.array([r["code"] for r in rows]) == tokenizer.content_codes).all()


def test_encode_looks_for_codes_where_device_says(call, inside, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ["encode", "tokens", "--features", "text=text.npy", "--features", "image=image.npy"]
    assert lines_of(call(*words, "--device", "auto")) == lines_of(call(*words))
    result = call(*words, "--device", "cuda")
    assert (result.code, result.out) == (1, "")
    assert "device='cuda': torch finds no CUDA device" in result.err


@pytest.mark.parametrize("rows", [1, 7, 299, 300])
def test_results_do_not_depend_on_the_block(call, inside, tokenizer, names, monkeypatch, rows):
    for module in (tables, coding):
        monkeypatch.setattr(module, "BLOCK_ROWS", rows)
    monkeypatch.setattr(coding, "_BLOCK_CODES", rows)
    strings = tokenizer.vocabulary.to_strings(tokenizer.codes)
    assert lines_of(call("encode", "tokens", "--all")) == strings
    assert lines_of(call("encode", "tokens", "--ids", "ids.txt")) == strings
    assert lines_of(call("lookup", "tokens", "-", stdin="\n".join(strings))) == names
    features = ["--features", "text=text.npy", "--features", "image=image.npy"]
    content = [",".join(map(str, code)) for code in tokenizer.content_codes.tolist()]
    assert lines_of(call("encode", "tokens", *features, "--integers")) == content


def test_lookup_leaves_a_line_empty_where_no_item_has_the_code(call, inside, tokenizer, names):
    free = next(
        code for code in np.ndindex(tokenizer.code_sizes) if tokenizer.lookup([code]) == [None]
    )
    codes = [",".join(map(str, code)) for code in (tokenizer.codes[5].tolist(), free)]
    assert lines_of(call("lookup", "tokens", *codes)) == [names[5], ""]
    assert [r["item_id"] for r in objects_of(call("lookup", "tokens", *codes, "--json"))] == [
        names[5],
        None,
    ]


def test_ids_are_numbers_where_those_of_the_catalogue_are(call, inside):
    numbered = Tokenizer.load("numbered")
    strings = lines_of(call("encode", "numbered", "7", "12"))
    assert strings == numbered.vocabulary.to_strings(numbered.encode([7, 12]))
    assert objects_of(call("lookup", "numbered", *strings, "--json"))[0]["item_id"] == 7


@pytest.mark.parametrize("levels", [1, 3])
def test_decode_prints_features(call, inside, tokenizer, levels):
    codes = tokenizer.codes[:4, :levels]
    texts = [",".join(map(str, code)) for code in codes.tolist()]
    rows = objects_of(call("decode", "tokens", *texts))
    for name, expected in tokenizer.decode(codes).items():
        assert np.array([row[name] for row in rows], np.float32).tolist() == expected.tolist()


def test_decode_writes_files(call, inside, tokenizer, names, tmp_path):
    from pyarrow.parquet import read_table
    from safetensors.numpy import load_file

    strings = lines_of(call("encode", "tokens", "--all"))
    expected = tokenizer.decode(tokenizer.codes)
    lines_of(
        call("decode", "tokens", "-", "--out", tmp_path / "a.safetensors", stdin="\n".join(strings))
    )
    lines_of(
        call("decode", "tokens", "-", "--out", tmp_path / "a.parquet", stdin="\n".join(strings))
    )
    stored, columns = load_file(tmp_path / "a.safetensors"), read_table(tmp_path / "a.parquet")
    for name, array in expected.items():
        assert (stored[name] == array).all()
        assert (np.array(columns[name].to_pylist(), np.float32) == array).all()


def test_decode_writes_one_modality_as_npy(call, arrays, tmp_path):
    tokenizer = Tokenizer.fit(arrays["text"], quantizer=RQKMeans(codebook_size=16))
    tokenizer.save(tmp_path / "one")
    codes = [",".join(map(str, code)) for code in tokenizer.codes[:3].tolist()]
    lines_of(call("decode", tmp_path / "one", *codes, "--out", tmp_path / "a.npy"))
    expected = tokenizer.decode(tokenizer.codes[:3])["features"]
    assert (np.load(tmp_path / "a.npy") == expected).all()


@pytest.mark.parametrize("by", ["vectors", "codes"])
def test_neighbours_prints_code_id_and_distance(call, inside, tokenizer, by):
    codes = tokenizer.codes[[4, 9]]
    texts = tokenizer.vocabulary.to_strings(codes)
    rows = [
        line.split("\t")
        for line in lines_of(call("neighbours", "tokens", *texts, "--k", 3, "--by", by))
    ]
    found = tokenizer.neighbours(codes, 3, by)
    assert [row[0] for row in rows] == [text for text in texts for _ in range(3)]
    assert [row[1] for row in rows] == [name for ids in found.ids for name in ids]
    assert [float(row[2]) for row in rows] == found.distances.ravel().tolist()


def test_add_saves_and_prints_the_new_codes(call, copy, tokenizer, arrays, tmp_path, names):
    rng = np.random.default_rng(1)
    new = {name: rng.normal(size=(3, array.shape[1])) for name, array in arrays.items()}
    for name, array in new.items():
        np.save(tmp_path / f"{name}.npy", array)
    words = [f"{name}={tmp_path / name}.npy" for name in new]
    strings = lines_of(call("add", copy, *words, "--ids", "-", stdin="8\n9\n010\n"))
    expected = tokenizer.copy()
    codes = expected.add(new, ids=["8", "9", "010"])
    assert strings == expected.vocabulary.to_strings(codes)
    assert Tokenizer.load(copy).ids.tolist() == [*names, "8", "9", "010"]
    assert Tokenizer.load(copy).codes.tolist() == expected.codes.tolist()


def test_remove_saves_all_or_nothing(call, copy, names):
    assert lines_of(call("remove", copy, names[0], names[5])) == ["2 removed, 298 left"]
    assert names[0] not in Tokenizer.load(copy)
    before = (copy / "manifest.json").read_bytes()
    assert call("remove", copy, names[1], "nobody").code == 1
    assert (copy / "manifest.json").read_bytes() == before


def test_the_judging_commands_print_what_the_package_prints(call, inside, tokenizer, names, arrays):
    first = names[3]
    titles = {"id": [first, names[4]], "title": ["Green tea", "Milk"], "category": ["tea", "dairy"]}
    rows = [dict(zip(titles, row, strict=True)) for row in zip(*titles.values(), strict=True)]
    stdin = "\n".join(map(json.dumps, rows))
    explained = tokenizer.explain(first, items=titles)
    assert lines_of(call("explain", "tokens", first, "--items", "-", stdin=stdin)) == str(
        explained
    ).split("\n")
    as_json = objects_of(call("explain", "tokens", first, "--items", "-", "--json", stdin=stdin))
    assert as_json == [json.loads(to_json(asdict(explained)))]

    prefix = tokenizer.codes[3, :1]
    words = ["--features", "text=text.npy", "--features", "image=image.npy"]
    described = tokenizer.describe(prefix, features=arrays)
    assert call("describe", "tokens", f"<a_{prefix[0]}>", *words).out == f"{described}\n"

    categories = [{names[3]: "tea", names[4]: "dairy"}.get(name) for name in names]
    statistics = tokenizer.statistics(arrays, categories)
    printed = call("stats", "tokens", *words, "--categories", "-", stdin=stdin)
    assert lines_of(printed) == str(statistics).split("\n")
    figures = objects_of(call("stats", "tokens", "--json"))
    assert figures == [json.loads(to_json(tokenizer.statistics().to_dict()))]

    drifted = call("drift", "tokens", "text=text.npy", "image=image.npy")
    assert drifted.out == f"{tokenizer.drift(arrays)}\n"
    compared = call("compare", "tokens", "tokens", "--k", 3)
    assert compared.out == f"{tokenizer.compare(tokenizer, k=3)}\n"
    assert objects_of(call("compare", "tokens", "tokens", "--json"))[0]["items"] == len(names)


def test_dry_run_prints_a_spec_that_fit_takes(call, inside, tmp_path):
    options = ["--quantizer", "rq-vae", "--levels", 2, "--codebook-size", 8, "--seed", 5]
    shown = call("fit", "text=text.npy", "image=image.npy", *options, "--dry-run")
    assert shown.code == 0
    assert shown.err.splitlines() == ["text: 300 x 12", "image: 300 x 5"]
    (tmp_path / "spec.json").write_text(shown.out)
    again = call("fit", "text.npy", "--spec", tmp_path / "spec.json", "--dry-run")
    assert again.out == shown.out
    assert json.loads(shown.out)["quantizer"]["seed"] == 5


def test_dry_run_reads_no_values(call, tmp_path):
    with (tmp_path / "big.npy").open("wb") as file:
        head = {"descr": "<f4", "fortran_order": False, "shape": (2, 1_000_000)}
        np.lib.format.write_array_header_1_0(file, head)
        file.truncate(file.tell() + 8_000_000)  # a hole of zeros
    result = call("fit", tmp_path / "big.npy", "--codebook-size", 2, "--dry-run")
    assert (result.code, result.err) == (0, "big.npy: 2 x 1000000\n")


def test_parquet_brings_its_ids_or_names_their_column(call, tmp_path, arrays, names):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"sku": names, "text": arrays["text"].tolist()})
    parquet.write_table(table, tmp_path / "items.parquet")
    words = ["fit", tmp_path / "items.parquet", "--codebook-size", 16, "--ids", "sku"]
    assert call(*words, "--dry-run").err == "items.parquet: 300 x 2\n"
    lines_of(call(*words, "--out", tmp_path / "tokens"))
    assert Tokenizer.load(tmp_path / "tokens").ids.tolist() == names


def test_side_arrays_reach_the_fit(call, inside, tmp_path, arrays):
    counts = np.arange(300) % 50
    np.save(tmp_path / "counts.npy", counts)
    lines_of(
        call(
            *("fit", "text=text.npy", "--levels", 1, "--codebook-size", 16),
            *("--resolver", "popularity", "--side", f"counts={tmp_path / 'counts.npy'}"),
            *("--out", tmp_path / "tokens"),
        )
    )
    expected = Tokenizer.fit(
        {"text": arrays["text"]},
        quantizer=RQKMeans(levels=1, codebook_size=16),
        resolver=Popularity(),
        side=Side(counts=counts),
    )
    assert Tokenizer.load(tmp_path / "tokens").codes.tolist() == expected.codes.tolist()


def test_rows_of_nan_are_missing_where_that_is_said(call, inside, tmp_path, arrays):
    image = arrays["image"].copy()
    image[::9] = np.nan
    np.save(tmp_path / "image.npy", image)
    words = ["fit", "text=text.npy", f"image={tmp_path / 'image.npy'}", "--codebook-size", 16]
    assert call(*words, "--out", tmp_path / "tokens").code == 1
    lines_of(call(*words, "--nan-is-missing", "--out", tmp_path / "tokens"))
    features = Features({"text": arrays["text"], "image": image}, missing="nan")
    expected = Tokenizer.fit(features, quantizer=RQKMeans(codebook_size=16))
    assert Tokenizer.load(tmp_path / "tokens").codes.tolist() == expected.codes.tolist()


@pytest.mark.parametrize("ending", ["index.json", "parquet", "csv", "jsonl", "codes"])
def test_export_and_from_codes_hand_on_the_unique_codes(call, inside, tokenizer, tmp_path, ending):
    file = tmp_path / f"codes.{ending}"
    formats = [["--to", "parquet"], ["--from", "parquet"]] if ending == "codes" else [[], []]
    lines_of(call("export", "tokens", file, *formats[0]))
    words = ["from-codes", file, "--out", tmp_path / "again", "--resolver", "none"]
    lines_of(call(*words, *formats[1]))
    again = Tokenizer.load(tmp_path / "again")
    assert again.ids.tolist() == tokenizer.ids.tolist()
    assert again.codes.tolist() == tokenizer.codes.tolist()
    assert again.ordered


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize("rows", [7, 1 << 16])
def test_from_codes_reads_what_encode_wrote(
    call, inside, tokenizer, tmp_path, monkeypatch, name, rows
):
    for module in (tables, coding):
        monkeypatch.setattr(module, "BLOCK_ROWS", rows)
    for tokens in [[], ["--tokens"]][: 1 + (name != "a.parquet")]:
        lines_of(call("encode", "tokens", "--all", *tokens, "--out", tmp_path / name))
        words = ["from-codes", tmp_path / name, "--resolver", "none", "--overwrite"]
        lines_of(call(*words, "--out", tmp_path / "again"))
        again = Tokenizer.load(tmp_path / "again")
        assert again.ids.tolist() == tokenizer.ids.tolist()
        assert again.codes.tolist() == tokenizer.codes.tolist()


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_named_format_wins_over_the_ending(call, inside, tmp_path, format):
    file = tmp_path / "codes.npy"
    lines_of(call("export", "numbered", file, "--to", format))
    lines_of(call("export", "numbered", tmp_path / f"codes.{format}"))
    lines_of(call("encode", "numbered", "--all", "--out", tmp_path / f"all.{format}"))
    assert file.read_text() == (tmp_path / f"codes.{format}").read_text()
    assert file.read_text() == (tmp_path / f"all.{format}").read_text()
    lines_of(call("from-codes", file, "--from", format, "--out", tmp_path / "again"))
    assert Tokenizer.load(tmp_path / "again").ids.tolist() == list(range(300))


def test_what_was_written_is_told_as_json(call, inside, tokenizer, tmp_path):
    file, page, folder = (str(tmp_path / name) for name in ("a.csv", "page.html", "again"))
    assert objects_of(call("export", "tokens", file, "--json")) == [
        {"file": file, "format": "csv", "items": 300}
    ]
    (told,) = objects_of(call("from-codes", file, "--out", folder, "--resolver", "none", "--json"))
    made = Tokenizer.load(folder)
    assert told == {
        "items": 300,
        "code_sizes": list(made.code_sizes),
        "fingerprint": made.fingerprint,
        "folder": folder,
    }
    assert objects_of(call("report", "tokens", page, "--json")) == [{"file": page, "items": 300}]


def test_from_codes_tells_items_with_one_code_apart(call, tmp_path):
    np.save(tmp_path / "codes.npy", [[1, 2], [1, 2], [0, 0]])
    words = ["from-codes", tmp_path / "codes.npy", "--out", tmp_path / "tokens"]
    assert call(*words, "--resolver", "none").code == 1
    lines_of(call(*words, "--parallel"))
    tokenizer = Tokenizer.load(tmp_path / "tokens")
    assert tokenizer.codes.tolist() == [[1, 2, 0], [1, 2, 1], [0, 0, 0]]
    assert not tokenizer.ordered


def test_report_writes_the_page(call, inside, tokenizer, arrays, names, tmp_path):
    titles = {"id": names[:2], "title": ["Green tea", "Milk"]}
    rows = [dict(zip(titles, row, strict=True)) for row in zip(*titles.values(), strict=True)]
    words = ["--features", "text=text.npy", "--features", "image=image.npy", "--items", "-"]
    stdin = "\n".join(map(json.dumps, rows))
    page = tmp_path / "page.html"
    assert lines_of(call("report", "tokens", page, *words, stdin=stdin)) == [str(page)]
    tokenizer.report(tmp_path / "expected.html", arrays, titles, progress=False)
    assert page.read_text() == (tmp_path / "expected.html").read_text()


def test_features_and_categories_come_in_any_order_with_ids(
    call, inside, tokenizer, arrays, names, tmp_path
):
    order = np.random.default_rng(3).permutation(len(names))
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array[order])
    (tmp_path / "ids.txt").write_text("".join(f"{names[row]}\n" for row in order))
    labels = {name: row % 5 for row, name in enumerate(names) if row % 4}
    with (tmp_path / "labels.jsonl").open("w") as file:
        file.writelines(
            json.dumps({"item_id": name, "category": labels[name]}) + "\n"
            for name in sorted(labels)
        )
    words = [w for name in arrays for w in ("--features", f"{name}={tmp_path / name}.npy")]
    words += ["--ids", tmp_path / "ids.txt", "--categories", tmp_path / "labels.jsonl", "--json"]
    expected = tokenizer.statistics(arrays, [labels.get(name) for name in names]).to_dict()
    (found,) = objects_of(call("stats", "tokens", *words))
    for level, right in zip(found["levels"], json.loads(to_json(expected))["levels"], strict=True):
        assert level["categories"] == pytest.approx(right["categories"])
        assert level["modality_errors"] == pytest.approx(right["modality_errors"])
    assert found["categorised"] == len(labels)


def test_a_tokenizer_that_is_there_is_replaced_only_on_demand(call, tmp_path):
    np.save(tmp_path / "codes.npy", [[1, 2], [0, 0]])
    words = ["from-codes", tmp_path / "codes.npy", "--out", tmp_path / "tokens"]
    lines_of(call(*words))
    np.save(tmp_path / "codes.npy", [[3, 2], [0, 0]])
    refused = call(*words)
    assert refused.code == 1
    assert "give --overwrite to replace it" in refused.err
    assert Tokenizer.load(tmp_path / "tokens").codes[0, 0] == 1
    lines_of(call(*words, "--overwrite"))
    assert Tokenizer.load(tmp_path / "tokens").codes[0, 0] == 3
