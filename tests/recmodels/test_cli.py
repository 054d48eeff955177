"""`semantic-ids qbert4rec` trains, measures and recommends as the package does."""

import gzip
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import typer
from typer.main import get_command

from recmodels import DynamicFusion, Optimisation, QBert4Rec, QBert4RecSpec
from recmodels.cli import app
from recmodels.data import read_dataset, synthetic_catalogue
from semantic_ids import RQKMeans, Tokenizer, TokenizerSpec, UnknownItemError
from semantic_ids.cli.specs import resolve

SETS = {
    "tokenizer.fuser.optimisation.epochs": 1,
    "tokenizer.quantizer.codebook_size": 16,
    "pretraining.epochs": 1,
    "finetuning.epochs": 1,
    "width": 16,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder, with a spec, and a model that the command trained."""
    made = synthetic_catalogue(items=120, users=60)
    folder = tmp_path_factory.mktemp("data")
    data = folder / "data"
    data.mkdir()
    for name, array in made.features.modalities.items():
        np.save(data / f"{name}_emb.npy", array)
        mask = made.features.present[:, list(made.features.modalities).index(name)]
        np.save(data / f"{name}_mask.npy", mask)
    with gzip.open(data / "items.jsonl.gz", "wt") as file:
        for row in range(made.size):
            file.write(json.dumps({"i": row, "id": f"B{row:03d}"}) + "\n")
    with gzip.open(data / "interactions.jsonl.gz", "wt") as file:
        for user in range(len(made.histories)):
            items = made.histories[user].tolist()
            file.write(json.dumps({"u": user, "user": None, "items": items}) + "\n")
    return folder


@pytest.fixture(scope="module")
def command(environment, folder):
    def run(*arguments, stdin=""):
        ended = subprocess.run(
            [sys.executable, "-m", "semantic_ids.cli", "qbert4rec", *map(str, arguments)],
            cwd=folder,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
        )
        return ended

    return run


@pytest.fixture(scope="module")
def trained(command):
    sets = [word for path, value in SETS.items() for word in ("--set", f"{path}={value}")]
    return command("train", "data", "--out", "model", "--seed", 3, "--json", *sets)


def test_train_prints_the_validation_measures_of_the_saved_model(trained, folder):
    assert (trained.returncode, trained.stderr) == (0, "")
    model, data = QBert4Rec.load(folder / "model"), read_dataset(folder / "data")
    expected = model.evaluate(data, part="validation", progress=False).metrics.to_dict()
    assert json.loads(trained.stdout) == {"part": "validation", **expected}
    assert model.spec == QBert4RecSpec(
        tokenizer=TokenizerSpec(
            fuser=DynamicFusion(
                seed=3,
                optimisation=DynamicFusion().optimisation.model_copy(update={"epochs": 1}),
            ),
            quantizer=RQKMeans(codebook_size=16, seed=3),
            text={**TokenizerSpec().text.model_dump(), "seed": 3},
            seed=3,
        ),
        pretraining=Optimisation(epochs=1, learning_rate=3e-3),
        finetuning=Optimisation(epochs=1, learning_rate=3e-3, patience=4),
        width=16,
        seed=3,
    )


def test_recommend_reads_histories_from_a_pipe(trained, command, folder):
    model, data = QBert4Rec.load(folder / "model"), read_dataset(folder / "data")
    histories = [data.ids[data.histories[user]].tolist() for user in range(3)]
    stdin = f"{json.dumps(histories[0])}\n{' '.join(histories[1])}\n{json.dumps(histories[2])}\n"
    ended = command("recommend", "model", "-", "--k", 4, stdin=stdin)
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = [line.split("\t") for line in ended.stdout.splitlines()]
    expected = model.recommend(histories, k=4)
    assert [row[0] for row in rows] == [str(user) for user in range(3) for _ in range(4)]
    assert [row[1] for row in rows] == [name for ids in expected.ids for name in ids]
    scores = np.array([float(row[2]) for row in rows])
    np.testing.assert_allclose(scores, expected.scores.ravel(), rtol=1e-6)


@pytest.fixture
def call(trained, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def run(*arguments):
        get_command(app).main([*map(str, arguments)], standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_evaluate_prints_the_test_measures(call, folder):
    model, data = QBert4Rec.load("model"), read_dataset("data")
    expected = model.evaluate(data, progress=False).metrics
    assert call("evaluate", "model", "data") == f"test: {expected!r}\n"


def test_one_history_comes_as_arguments(call):
    expected = QBert4Rec.load("model").recommend([["B003", "B007"]], k=3)
    rows = [
        json.loads(line)
        for line in call("recommend", "model", "B003", "B007", "--k=3", "--json").splitlines()
    ]
    assert [row["item_id"] for row in rows] == list(expected.ids[0])
    assert {row["history"] for row in rows} == {0}


def test_recommend_leaves_out_what_was_seen_and_passes_over_what_is_unknown(call):
    model, history = QBert4Rec.load("model"), ["B003", "nobody", "B007"]
    size = len(model.tokenizer)
    words = ["recommend", "model", *history, f"--k={size}", "--json"]
    for options, seen in ((["--exclude-seen"], True), ([], False)):
        shown = call(*words, "--unknown", "skip", *options)
        expected = model.recommend([history], k=size, unknown="skip", exclude_seen=seen)
        ids = [json.loads(line)["item_id"] for line in shown.splitlines()]
        assert ids == list(expected.ids[0])
        assert len(ids) == size - 2 * seen
    with pytest.raises(UnknownItemError, match="nobody"):
        call(*words, "--unknown", "error")


@pytest.mark.parametrize(
    "words",
    [
        ["train", "data"],
        ["prepare", "--reviews", "none", "--meta", "none", "--out", "none"],
    ],
    ids=lambda words: words[0],
)
def test_the_examples_of_fields_in_the_help_are_fields(words, capsys):
    command = get_command(app)
    options = {option.name: option for option in command.commands[words[0]].params}
    examples = re.search(r"such as (\S+) or (\S+);", options["sets"].help).groups()
    sets = [word for example in examples for word in ("--set", example)]
    for given in ([], sets):
        command.main([*words, "--dry-run", *given], standalone_mode=False)
    before, after = re.findall(r"^{.*?^}", capsys.readouterr().out, re.MULTILINE | re.DOTALL)
    assert before != after


def test_the_demo_says_nothing_before_it_has_data(tmp_path, capsys):
    words = ["demo", "--data", tmp_path / "none", "--out", tmp_path / "out", "--quick"]
    with pytest.raises(FileNotFoundError, match="none"):
        get_command(app).main([*map(str, words)], standalone_mode=False)
    assert capsys.readouterr().out == ""


def test_a_fitted_tokenizer_takes_the_place_of_the_first_stages(call, tmp_path):
    data = read_dataset("data")
    given = Tokenizer.fit(data.features, quantizer=RQKMeans(levels=2, codebook_size=32))
    given.save(tmp_path / "tokens")
    short = ["--set", "pretraining.epochs=1", "--set", "finetuning.epochs=1", "--set", "width=8"]
    words = ["train", "data", "--tokenizer", tmp_path / "tokens", *short]
    assert json.loads(call(*words, "--dry-run"))["tokenizer"] == given.spec.model_dump(mode="json")
    call(*words, "--out", tmp_path / "model")
    assert QBert4Rec.load(tmp_path / "model").tokenizer.fingerprint == given.fingerprint


def test_errors_name_what_is_wrong(call):
    with pytest.raises(UnknownItemError, match="nobody"):
        call("recommend", "model", "nobody")
    with pytest.raises(typer.BadParameter, match="--histories"):
        call("recommend", "model")
    Tokenizer.from_codes(None, [[0], [1]]).save("other")
    with pytest.raises(FileExistsError, match="not that of a qbert4rec"):
        call("train", "data", "--out", "other")
    with pytest.raises(FileExistsError, match="give --overwrite"):
        call("train", "data", "--out", "model")


def test_an_option_changes_its_field_alone():
    spec = resolve(QBert4RecSpec, None, {}, ["pretraining.epochs=2"])
    assert spec == QBert4RecSpec(pretraining=Optimisation(epochs=2, learning_rate=3e-3))
