"""A data folder of raw files: what is in it, and that a killed run leaves nothing that looks so."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.main import get_command

from recmodels import preparation
from recmodels.cli import app
from recmodels.data import read_dataset
from recmodels.preparation import Preparation
from semantic_ids import (
    ImageVectorizer,
    SentenceTransformerText,
    TfidfText,
    TransformersImages,
)
from semantic_ids.model_files import model_checksum
from tests.recmodels.raw_amazon import (
    ITEMS,
    core_by_hand,
    histories_by_hand,
    reviews_of_a_shop,
    write_shop,
)

CORE = 4
KEYS = ("title", "brand", "categories", "description")
DESCRIBED = {f"B{item:02d}" for item in range(ITEMS) if item % 9 != 8}
SMALL = Preparation(core=CORE, text=TfidfText(width=8))


@pytest.fixture
def shop(tmp_path):
    return write_shop(tmp_path)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A vision model of random weights."""
    pytest.importorskip("PIL", reason="the extra `image` is not installed")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
    )
    transformers.ViTModel(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    transformers.ViTImageProcessorPil(size=size).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of most items: every fifth is missing, one is cut off, one is of no item."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for item in [*range(ITEMS), 99]:
        if item % 5 != 4:
            pixels = rng.integers(0, 256, size=(20, 24, 3), dtype=np.uint8)
            image.fromarray(pixels).save(folder / f"B{item:02d}.jpg")
    cut = folder / "B10.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    return folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows_of(folder, name):
    with gzip.open(folder / name, "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("year", [2018, 2023])
def test_users_items_and_their_order_are_those_of_a_naive_reading(year, packed, tmp_path):
    shop = write_shop(tmp_path, year, packed)
    about = SMALL.run(*shop, tmp_path / "out")
    raw = reviews_of_a_shop()
    kept = core_by_hand(raw, DESCRIBED, CORE)
    assert 0 < len(kept) < len([row for row in raw if row[1] in DESCRIBED])  # the core bites
    data = read_dataset(tmp_path / "out")
    assert data.ids.tolist() == sorted({row[1] for row in kept})
    expected = histories_by_hand(kept)
    assert list(data.users) == sorted(expected)
    for user, history in zip(data.users, data.histories, strict=True):
        assert data.ids[history].tolist() == expected[user]
    assert about == json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (about["users"], about["items"]) == (len(expected), len(data.ids))
    assert about["interactions"] == len(kept)
    assert about["raw"]["interactions"] == len(raw)
    assert about["raw"]["items_without_description"] == len({row[1] for row in raw} - DESCRIBED)
    assert about["repeated_interactions"] == len(kept) - len({row[:2] for row in kept})
    days = {user: sorted(row[2] for row in kept if row[0] == user) for user in expected}
    assert about["users_whose_last_two_tie"] == sum(d[-1] == d[-2] for d in days.values()) > 0
    assert "order of the reviews file" in about["ties"]
    for name, path in zip(("reviews", "meta"), shop, strict=True):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert about["parameters"][f"{name}_sha256"] == digest


def test_both_years_say_the_same_of_an_item(tmp_path):
    tables = []
    for year in (2018, 2023):
        (tmp_path / str(year)).mkdir()
        shop = write_shop(tmp_path / str(year), year)
        SMALL.run(*shop, tmp_path / str(year) / "out")
        tables.append(rows_of(tmp_path / str(year) / "out", "items.jsonl.gz"))
    assert tables[0] == tables[1]
    item = tables[0][3]
    assert (item["i"], item["id"], item["brand"]) == (3, "B03", "Fenwick")
    assert item["title"].endswith("no. 3")
    assert " & " in item["title"]
    assert "<" not in item["title"] + item["description"]
    assert item["categories"].startswith("Kitchen, ")
    assert item["image"] == "https://images.example/B03.jpg"


def test_texts_are_vectors_of_title_brand_categories_and_description(shop, tmp_path):
    out = tmp_path / "out"
    Preparation(core=CORE, text=TfidfText(width=8), description=5).run(*shop, out)
    texts = [
        ". ".join([*(row[key] for key in KEYS[:3]), row["description"][:5]])
        for row in rows_of(out, "items.jsonl.gz")
    ]
    expected = TfidfText(width=8).fit(texts).transform(texts)
    np.testing.assert_array_equal(np.load(out / "text_emb.npy"), expected)


def test_pictures_come_by_id_and_what_is_missing_is_masked(shop, photos, vit, tmp_path):
    spec = TransformersImages(path=str(vit), batch_size=2)
    chosen = SMALL.model_copy(update={"image": spec})
    about = chosen.run(*shop, tmp_path / "out", images=photos)
    data = read_dataset(tmp_path / "out")
    vectors, mask = data.features.modality("image")
    there = [int(item[1:]) % 5 != 4 and item != "B10" for item in data.ids.tolist()]
    assert mask.tolist() == there
    paths = [photos / f"{item}.jpg" for item in data.ids[mask].tolist()]
    expected = spec.load().transform(paths).vectors
    np.testing.assert_allclose(vectors[mask], expected, atol=1e-5)
    assert not vectors[~mask].any()
    image = about["image"]
    missing = [item for item in data.ids.tolist() if int(item[1:]) % 5 == 4]
    assert (image["missing"], image["first_missing"]) == (len(missing), missing[0])
    assert image["unreadable"] == 1
    assert "B10.jpg" in image["first_unreadable"]
    found = [photos / f"{item}.jpg" for item in data.ids.tolist() if int(item[1:]) % 5 != 4]
    digests = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in found)
    assert image["files_sha256"] == hashlib.sha256(digests).hexdigest()


def test_texts_go_through_a_language_model(shop, tmp_path, monkeypatch):
    calls = []

    class Model:
        """A stand-in with the face of SentenceTransformer: counts of letters."""

        def __init__(self, path, **_):
            calls.append(path)

        def encode(self, texts, **_):
            return np.array([[text.count(letter) for letter in "aeiou"] for text in texts])

    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = Model
    folder = tmp_path / "mini"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    chosen = Preparation(core=CORE, text=SentenceTransformerText(path=str(folder)))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sentence_transformers", None)
        patch.setattr(preparation, "read_amazon", lambda *_, **__: 1 / 0)  # not come to
        with pytest.raises(ImportError, match=r"semantic-ids\[text\]"):
            chosen.run(*shop, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    about = chosen.run(*shop, tmp_path / "out")
    rows = rows_of(tmp_path / "out", "items.jsonl.gz")
    expected = [
        [". ".join(row[key] for key in KEYS).count(letter) for letter in "aeiou"] for row in rows
    ]
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "text_emb.npy"), expected)
    assert about["parameters"]["text_model_sha256"] == model_checksum(folder).hex()
    (folder / "model.safetensors").write_bytes(b"others")
    with pytest.raises(FileExistsError, match="text_model_sha256 was"):
        chosen.run(*shop, tmp_path / "out")


# --- being killed


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def kill_at(monkeypatch, step):
    """Let the run end before its step-th change of a name, from then on the last."""
    count = iter(range(10_000))

    def guarded(function):
        def call(*arguments, **options):
            if next(count) == step:
                raise Killed
            return function(*arguments, **options)

        return call

    for owner, name in [
        *((Path, name) for name in ("replace", "rename", "unlink", "mkdir")),
        (shutil, "rmtree"),
    ]:
        monkeypatch.setattr(owner, name, guarded(getattr(owner, name)))


@pytest.mark.parametrize("before", [False, True], ids=["new", "overwriting"])
def test_wherever_it_is_killed_it_goes_on_and_nothing_looks_whole(
    before, shop, photos, vit, tmp_path, monkeypatch
):
    monkeypatch.setattr(preparation, "_BLOCK_TEXTS", 20)
    chosen = SMALL.model_copy(update={"image": TransformersImages(path=str(vit), batch_size=2)})

    def run(folder):
        return chosen.run(
            *shop, folder, images=photos, name="shop", overwrite=before, progress=False
        )

    run(tmp_path / "whole")
    expected = files(tmp_path / "whole")
    assert len(expected) == 6
    old = tmp_path / "old"
    Preparation(core=3, text=TfidfText(width=4)).run(*shop, old)
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    for step in range(100):
        shutil.rmtree(out, ignore_errors=True)
        if before:
            shutil.copytree(old, out)
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            try:
                run(out)
                break
            except Killed:
                pass
        if out.exists():  # the old one or the new one, whole
            assert files(out) in (files(old), expected)
        if (partial / "unfinished.json").exists():
            with pytest.raises(ValueError, match="is not finished"):
                read_dataset(partial)
        elif partial.exists() and any(partial.iterdir()):
            beginning = [path.suffix for path in partial.iterdir()] == [".part"]
            assert beginning or files(partial) == expected
        run(out)
        assert files(out) == expected
        assert not partial.exists()
    assert step > 15


def test_a_stage_that_is_over_is_not_done_again(shop, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(TfidfText, "fit", fail)
        with pytest.raises(Killed):
            SMALL.run(*shop, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "read_amazon", fail)
        made = SMALL.run(*shop, tmp_path / "out")
        patch.setattr(TfidfText, "fit", fail)
        assert SMALL.run(*shop, tmp_path / "out") == made  # whole: nothing is done


def test_a_block_that_was_made_is_not_made_again(shop, photos, vit, tmp_path, monkeypatch):
    from semantic_ids.image.transformers_model import LoadedTransformersImages

    spec = TransformersImages(path=str(vit), batch_size=1)  # 8 pictures a block
    chosen = SMALL.model_copy(update={"image": spec})
    transform, rows = LoadedTransformersImages.transform, []

    def counted(self, images, **options):
        rows.append(len(images))
        if len(rows) == 3:
            raise Killed
        return transform(self, images, **options)

    monkeypatch.setattr(LoadedTransformersImages, "transform", counted)
    with pytest.raises(Killed):
        chosen.run(*shop, tmp_path / "out", images=photos)
    about = chosen.run(*shop, tmp_path / "out", images=photos)
    assert rows[:3] == [8, 8, 8]  # the third was cut off
    assert sum(rows[3:]) == about["items"] - 16


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("core", "spec.core was 4, now 3"),
        ("reviews", "reviews_sha256 was"),
        ("width", "spec.text.width was 8, now 4"),
        ("name", 'name was "out", now "other"'),
    ],
)
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "whole"])
def test_other_parameters_are_refused(change, named, begun, shop, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        if begun:
            patch.setattr(TfidfText, "fit", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                SMALL.run(*shop, out)
        else:
            SMALL.run(*shop, out)
    chosen, options = SMALL, {}
    if change == "core":
        chosen = SMALL.model_copy(update={"core": 3})
    elif change == "width":
        chosen = SMALL.model_copy(update={"text": TfidfText(width=4)})
    elif change == "name":
        options["name"] = "other"
    else:
        (tmp_path / "more").mkdir()
        shop = write_shop(tmp_path / "more", seed=1)[0], shop[1]
    with pytest.raises(FileExistsError, match=rf"other parameters \({named}.*--overwrite"):
        chosen.run(*shop, out, **options)
    about = chosen.run(*shop, out, overwrite=True, **options)
    assert about == json.loads((out / "dataset.json").read_text())
    assert about["parameters"]["spec"] == chosen.model_dump(mode="json")


def test_what_is_not_its_own_is_left_alone(shop, tmp_path):
    for name in ("out", "out.partial"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "letter.txt").write_text("Dear Ann")
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match=f"{name}: holds other files"):
                SMALL.run(*shop, tmp_path / "out", overwrite=overwrite)
        assert (folder / "letter.txt").read_text() == "Dear Ann"
        (folder / "letter.txt").unlink()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is a file"):
        SMALL.run(*shop, tmp_path / "file", overwrite=True)


def test_what_cannot_be_used_is_said_before_the_work(shop, photos, vit, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "read_amazon", lambda *_, **__: 1 / 0)
    out = tmp_path / "out"
    with pytest.raises(FileNotFoundError, match="nowhere: no such file"):
        SMALL.run(tmp_path / "nowhere", shop[1], out)
    with pytest.raises(ValueError, match="images, a folder, needs a model"):
        SMALL.run(*shop, out, images=photos)
    chosen = SMALL.model_copy(update={"image": TransformersImages(path=str(vit))})
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        chosen.run(*shop, out, images=tmp_path / "nowhere")
    lost = SMALL.model_copy(update={"image": TransformersImages(path="nowhere")})
    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        lost.run(*shop, out, images=photos)
    assert not out.exists()
    assert not (tmp_path / "out.partial").exists()
    with pytest.raises(ValueError, match="core"):
        Preparation(core=2)


def test_files_that_do_not_belong_together_are_refused(shop, photos, vit, tmp_path):
    other = tmp_path / "meta.json"
    other.write_text('{"asin": "X1", "title": "Rope"}\n')
    with pytest.raises(ValueError, match="describes none of the 36 items"):
        SMALL.run(shop[0], other, tmp_path / "out")
    (tmp_path / "pictures").mkdir()
    shutil.copy(photos / "B00.jpg", tmp_path / "pictures" / "X1.jpg")
    chosen = SMALL.model_copy(update={"image": TransformersImages(path=str(vit))})
    with pytest.raises(ValueError, match=r"holds no picture of the \d+ items.*B00\.jpg"):
        chosen.run(*shop, tmp_path / "out", images=tmp_path / "pictures")
    (tmp_path / "pictures" / "B00.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of 1 pictures can be read .*B00\.jpg"):
        chosen.run(*shop, tmp_path / "more", images=tmp_path / "pictures")


# --- the command


@pytest.fixture
def words(shop, photos, vit):
    named = {"--reviews": shop[0], "--meta": shop[1], "--images": photos, "--image-model": vit}
    pairs = [str(word) for pair in named.items() for word in pair]
    sets = ["--set", "text.width=8", "--set", "image.batch_size=1"]
    return ["prepare", *pairs, "--core", str(CORE), *sets]


def test_a_killed_process_is_gone_on_with_and_its_folder_trained_on(
    words, environment, shop, photos, tmp_path, monkeypatch, capsys
):
    """The kernel's own kill, in the middle of the pictures."""
    waiting = (
        "import sys\n"
        "from semantic_ids.image.transformers_model import LoadedTransformersImages as Model\n"
        "made, calls = Model.transform, iter(range(9))\n"
        "def transform(*arguments, **options):\n"
        "    if next(calls) == 1:\n"
        "        print('the second block', flush=True)\n"
        "        sys.stdin.read()\n"
        "    return made(*arguments, **options)\n"
        "Model.transform = transform\n"
        "from semantic_ids.cli.app import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", waiting, "qbert4rec", *words, "--out", "data"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"the second block\n"
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "data").exists()
    assert len(list((tmp_path / "data.partial" / ".blocks").glob("images-*.npz"))) == 1
    with pytest.raises(ValueError, match="is not finished"):
        read_dataset(tmp_path / "data.partial")
    ended = subprocess.run(
        [sys.executable, "-m", "semantic_ids.cli", "qbert4rec", *words, "--out", "data"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    path = words[words.index("--image-model") + 1]
    chosen = SMALL.model_copy(update={"image": TransformersImages(path=path, batch_size=1)})
    chosen.run(*shop, tmp_path / "whole", images=photos, name="data")
    assert files(tmp_path / "data") == files(tmp_path / "whole")

    data = read_dataset(tmp_path / "data")
    assert ended.stdout.startswith(f"data: {len(data.users):,} users, {data.size:,} items, ")
    assert "1 unreadable (first: " in ended.stdout
    assert data.features.widths == {"image": 16, "text": 8}
    tiny = {
        "tokenizer.fuser.optimisation.epochs": 1,
        "tokenizer.quantizer.codebook_size": 8,
        "pretraining.epochs": 1,
        "finetuning.epochs": 1,
        "width": 8,
    }
    sets = [word for path, value in tiny.items() for word in ("--set", f"{path}={value}")]
    monkeypatch.chdir(tmp_path)
    get_command(app).main(
        ["train", "data", "--out", "model", "--json", *sets], standalone_mode=False
    )
    assert 0 <= json.loads(capsys.readouterr().out)["hr_10"] <= 1


def test_the_command_takes_options_into_the_spec(shop, tmp_path, capsys):
    timm = tmp_path / "timm"
    timm.mkdir()
    (timm / "config.json").write_text('{"architecture": "vit_tiny_patch16_224"}')
    for model, fields in [
        (timm, {"kind": "timm", "architecture": None}),
        (tmp_path / "vit", {"kind": "transformers-vision", "pooling": "mean"}),
    ]:
        setting = "mean" if "pooling" in fields else "null"
        name = "pooling" if "pooling" in fields else "architecture"
        line = ["prepare", "--reviews", shop[0], "--meta", shop[1], "--out", "x", "--dry-run"]
        line += ["--text-model", "mini", "--core", 3, "--image-model", model]
        line += ["--set", f"image.{name}={setting}", "--set", "text.device=cuda"]
        get_command(app).main([*map(str, line)], standalone_mode=False)
        spec = Preparation.model_validate_json(capsys.readouterr().out)
        assert spec.core == 3
        assert spec.text == SentenceTransformerText(path="mini", device="cuda")
        assert spec.image == ImageVectorizer.parse({"path": str(model), **fields})
    words = [*map(str, line[:7]), "--images", str(timm)]
    with pytest.raises(typer.BadParameter, match="--images and --image-model go together"):
        get_command(app).main(words, standalone_mode=False)
