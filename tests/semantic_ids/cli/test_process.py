"""The command in processes of its own: what it prints, its exit codes, and pipes."""

import json
import subprocess
import sys

import numpy as np
import pytest

from semantic_ids import Features, RQKMeans, Suffix, Tokenizer

HEAVY = ("torch", "faiss", "sklearn", "scipy", "pandas", "polars", "pyarrow", "recmodels")


def test_fit_and_encode_print_what_the_package_returns(command, shop, arrays, names, tmp_path):
    fitted = command(
        *("fit", "text=text.npy", "image=image.npy", "--ids", "ids.txt", "--json"),
        *("--levels", 2, "--codebook-size", "16,8", "--resolver", "suffix"),
        *("--set", "resolver.max_suffix=99", "--out", tmp_path / "tokens"),
        cwd=shop,
    )
    assert (fitted.code, fitted.err) == (0, "")
    expected = Tokenizer.fit(
        arrays,
        ids=names,
        quantizer=RQKMeans(levels=2, codebook_size=(16, 8)),
        resolver=Suffix(max_suffix=99),
    )
    figures = json.loads(fitted.out)
    assert figures["fingerprint"] == expected.fingerprint
    assert figures["code_sizes"] == list(expected.code_sizes)
    assert Tokenizer.load(tmp_path / "tokens").spec == expected.spec

    encoded = command("encode", "tokens", "--ids", shop / "ids.txt", "--json", cwd=tmp_path)
    assert (encoded.code, encoded.err) == (0, "")
    rows = [json.loads(line) for line in encoded.out.splitlines()]
    assert [row["item_id"] for row in rows] == names
    assert [row["code"] for row in rows] == expected.codes.tolist()


def test_pipes_from_ids_to_codes_to_ids(environment, shop, names):
    semantic_ids = f"{sys.executable} -m semantic_ids.cli"
    pipe = f"{semantic_ids} encode tokens --ids ids.txt | {semantic_ids} lookup tokens -"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", pipe],
        cwd=shop,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == names


def test_a_broken_pipe_is_quiet(environment, tmp_path):
    codes = np.stack(np.divmod(np.arange(160_000), 400), axis=1)  # several blocks
    Tokenizer.from_codes(None, codes, resolver=None).save(tmp_path / "many")
    with subprocess.Popen(
        [sys.executable, "-m", "semantic_ids.cli", "encode", "many", "--all"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"<a_0><b_0>\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("arguments", "code"), [(["encode", "tokens", "nobody"], 1), (["encode", "tokens", "--no"], 2)]
)
def test_an_error_is_one_line_on_standard_error(command, shop, arguments, code):
    result = command(*arguments, cwd=shop)
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert result.err.startswith("semantic-ids")


def test_without_its_extra_it_says_how_to_install_it(environment):
    code = "import sys; sys.modules['typer'] = None; from semantic_ids.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert "pip install 'semantic-ids[cli]'" in ended.stderr


def test_the_package_does_not_import_typer_and_help_imports_nothing_heavy(environment):
    code = (
        "import sys, semantic_ids, semantic_ids.cli; assert 'typer' not in sys.modules\n"
        "from semantic_ids.cli.app import run; assert run(['--help']) == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert "qbert4rec" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "[]"


def test_a_catalogue_folder_is_read_with_its_masks(command, tmp_path, arrays):
    data = tmp_path / "data"
    data.mkdir()
    mask = np.arange(300) % 7 > 0
    np.save(data / "text_emb.npy", arrays["text"])
    np.save(data / "image_feat.npy", arrays["image"])
    np.save(data / "image_mask.npy", mask)
    fitted = command("fit", "data", "--codebook-size", 16, "--out", "tokens", cwd=tmp_path)
    assert (fitted.code, fitted.err) == (0, "")
    modalities = {"image": arrays["image"], "text": arrays["text"]}
    expected = Tokenizer.fit(
        Features(modalities, present={"image": mask}), quantizer=RQKMeans(codebook_size=16)
    )
    assert Tokenizer.load(tmp_path / "tokens").codes.tolist() == expected.codes.tolist()
