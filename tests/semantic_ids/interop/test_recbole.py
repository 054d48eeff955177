"""Atomic files as RecBole reads them: with pandas, by the types in the header."""

import contextlib
import json
import os
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids.interop import (
    read_recbole_inter,
    read_recbole_item,
    write_recbole_inter,
    write_recbole_item,
)

pd = pytest.importorskip("pandas")

ANY_NAME = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def as_recbole_reads(path):
    """Return the columns by name, each of the type that the header says."""
    with path.open(encoding="utf-8") as file:
        header = file.readline()[:-1].split("\t")
    types = {field: float if field.endswith(":float") else str for field in header}
    table = pd.read_csv(path, delimiter="\t", dtype=types, encoding="utf-8", engine="python")
    return {field.split(":")[0]: table[field].tolist() for field in header}


def test_recbole_finds_a_token_a_level(tmp_path):
    write_recbole_item(tmp_path / "tea.item", ["x", "y"], [[12, 7], [3, 9]])
    expected = {"item_id": ["x", "y"], "code_a": ["12", "3"], "code_b": ["7", "9"]}
    assert as_recbole_reads(tmp_path / "tea.item") == expected


@given(ids=st.lists(ANY_NAME, min_size=1, max_size=4, unique=True))
def test_an_id_is_refused_or_recbole_reads_it_as_it_stands(ids, tmp_path_factory):
    path = tmp_path_factory.mktemp("item") / "tea.item"
    with contextlib.suppress(ValueError):
        write_recbole_item(path, ids, [[0]] * len(ids))
    if path.exists():
        assert as_recbole_reads(path)["item_id"] == ids
        assert list(map(str, read_recbole_item(path).ids.tolist())) == ids


def test_what_pandas_takes_for_missing_is_refused(tmp_path):
    from pandas._libs.parsers import STR_NA_VALUES

    for name in [*STR_NA_VALUES, "[PAD]", "a\tb", 'a"b', "a\nb"]:
        with pytest.raises(ValueError, match="ids: RecBole cannot read"):
            write_recbole_item(tmp_path / "tea.item", ["x", name], [[0], [1]])


@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.sampled_from(["x", "y", "7"]),
            st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_interactions_come_back(rows, tmp_path_factory):
    users, items, times = zip(*[*rows, (0, "x", 0)], strict=True)
    path = tmp_path_factory.mktemp("inter") / "tea.inter"
    write_recbole_inter(path, users, items, times)
    found = read_recbole_inter(path)
    assert found.timestamps is not None
    back = list(zip(*(column.tolist() for column in found), strict=True))
    assert back == sorted([*rows, (0, "x", 0)], key=lambda row: row[2])  # which is stable
    times = found.timestamps.tolist()
    assert as_recbole_reads(path)["timestamp"] == pytest.approx(times, rel=1e-15)


# Run by a Python that has RecBole: prints what its own loader makes of the files in sys.argv[1].
RECBOLE = """
import json, sys
from recbole.config import Config
from recbole.data import create_dataset, data_preparation

columns = {
    "item": ["item_id", "code_a", "code_b"], "inter": ["user_id", "item_id", "timestamp"]
}
settings = {
    "data_path": sys.argv[1], "load_col": columns, "use_gpu": False, "train_neg_sample_args": None,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
}
config = Config(model="SASRec", dataset="tea", config_dict=settings)
dataset = create_dataset(config)
test = data_preparation(config, dataset)[2].dataset
read = lambda field, numbers: dataset.id2token(field, numbers.numpy()).tolist()
features = dataset.get_item_feature()
table = zip(*(read(field, features[field][1:]) for field in columns["item"]))
last = test.inter_feat
histories = {
    user: [*read("item_id", before[before > 0]), item]
    for user, before, item in zip(
        read("user_id", last["user_id"]), last["item_id_list"], read("item_id", last["item_id"])
    )
}
print(json.dumps([{item: codes for item, *codes in table}, histories]))
"""


def test_recbole_itself_reads_codes_and_histories(tmp_path):
    python = os.environ.get("RECBOLE_PYTHON")
    if not python:
        pytest.skip("RECBOLE_PYTHON names no Python with RecBole, which needs numpy 1 and pandas 2")
    ids = ["x", "007", "7", "1.0", "ö", "two words", "\u2028", "a,b", "#", "True", "-", " y"]
    codes = np.random.default_rng(0).integers(256, size=(len(ids), 2))
    # Seconds of today, each item one after the other, in another order for each user.
    orders = {user: np.random.default_rng(user).permutation(len(ids)) for user in (1, 2, 30)}
    times = {user: 1_700_000_000 + 100 * user + np.argsort(orders[user]) for user in orders}
    (tmp_path / "tea").mkdir()
    write_recbole_item(tmp_path / "tea" / "tea.item", ids, codes)
    write_recbole_inter(
        tmp_path / "tea" / "tea.inter",
        np.repeat(list(orders), len(ids)),
        ids * len(orders),
        np.concatenate(list(times.values())),
    )
    command = [python, "-W", "ignore", "-c", RECBOLE, str(tmp_path)]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table, histories = json.loads(done.stdout.splitlines()[-1])
    assert table == {item: list(map(str, code)) for item, code in zip(ids, codes, strict=True)}
    assert histories == {str(user): [ids[row] for row in orders[user]] for user in orders}


def test_interactions_may_have_no_time(tmp_path):
    write_recbole_inter(tmp_path / "tea.inter", [1], [2])
    assert read_recbole_inter(tmp_path / "tea.inter").timestamps is None
    assert as_recbole_reads(tmp_path / "tea.inter") == {"user_id": ["1"], "item_id": ["2"]}


def test_other_columns_of_others_files_are_passed_over(tmp_path):
    path = tmp_path / "tea.item"
    path.write_text(
        "code_b:token\ttitle:token_seq\titem_id:token\tcode_a:token\tprice:float\n"
        "7\tGreen tea\tB01\t12\t2.5\n"
    )
    ids, codes = read_recbole_item(path)
    assert (ids.tolist(), codes.tolist()) == (["B01"], [[12, 7]])


HEAD = "item_id:token\tcode_a:token\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"tea\.item: expected a header"),
        ("item_id\tcode_a\nx\t1\n", r"tea\.item: expected a header"),
        ("item_id:token\titem_id:token\nx\t1\n", r"tea\.item: expected a header"),
        ("item_id:text\nx\n", r"tea\.item: expected a header"),
        (HEAD, r"tea\.item: no line after the header"),
        (HEAD + "x\t1\ny\n", r"tea\.item, line 3: 1 fields, expected 2"),
        (HEAD + "x\t1\n\ny\t2\n", r"tea\.item, line 3: 1 fields, expected 2"),
        (HEAD + "x\t1\ny\t1.0\n", r"tea\.item, line 3: code_a is '1\.0', expected a code"),
        (HEAD + "x\t-1\n", r"tea\.item, line 2: code_a is '-1'"),
        (HEAD + "x\t\n", r"tea\.item, line 2: code_a is ''"),
        (HEAD + "x\t1\nx\t2\n", r"tea\.item: ids: 1 of 2 repeat"),
        ("id:token\tcode_a:token\nx\t1\n", r"no column 'item_id' among \['id', 'code_a'\]"),
        ("item_id:token\nx\n", r"expected columns code_a, code_b"),
        ("item_id:token\tcode_b:token\nx\t1\n", r"expected columns code_a, code_b"),
    ],
)
def test_other_content_is_refused_by_file_and_line(content, message, tmp_path):
    path = tmp_path / "tea.item"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_recbole_item(path)


def test_wrong_interactions_are_refused(tmp_path):
    path = tmp_path / "tea.inter"
    with pytest.raises(ValueError, match="expected as many users as items"):
        write_recbole_inter(path, [1, 2], [3])
    with pytest.raises(ValueError, match="timestamps: expected finite numbers"):
        write_recbole_inter(path, [1], [3], [np.nan])
    path.write_text("user_id:token\titem_id:token\ttimestamp:float\nx\ty\tnan\n")
    with pytest.raises(ValueError, match=r"tea\.inter, line 2: timestamp is nan"):
        read_recbole_inter(path)
    path.write_text("user_id:token\titem_id:token\ttimestamp:float\nx\ty\tnoon\n")
    with pytest.raises(ValueError, match=r"tea\.inter: timestamp: could not convert"):
        read_recbole_inter(path)
