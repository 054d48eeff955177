"""Readers of raw files, on a few lines in each one's spelling, made up here."""

import gzip
import json

import pytest

from recmodels.data import read_amazon, read_lcrec, read_movielens, read_recbole

OLD = [  # out of order in time, and two on one day
    {
        "overall": 5.0,
        "verified": True,
        "reviewTime": "05 2, 2014",
        "reviewerID": "A2",
        "asin": "B2",
    },
    {"overall": 1.0, "reviewerID": "A1", "asin": "B3", "reviewText": "Too sweet.\n", "vote": "2"},
    {"overall": 4.0, "reviewerID": "A1", "asin": "B1", "style": {"Size:": " 1 lb"}},
    {"overall": 4.0, "reviewerID": "A1", "asin": "B2", "summary": "Bergamot é"},
]
OLD_TIMES = [1398988800, 1399075200, 1398988800, 1399075200]
OLD = [{**row, "unixReviewTime": time} for row, time in zip(OLD, OLD_TIMES, strict=True)]
NEW = [
    {"rating": 5.0, "asin": "B9", "parent_asin": "B1", "user_id": "AE2", "images": []},
    {"rating": 5.0, "asin": "B8", "parent_asin": "B2", "user_id": "AE2", "helpful_vote": 0},
]
NEW = [{**row, "timestamp": time} for row, time in zip(NEW, [1588687728923, 100], strict=True)]


def histories(seen):
    found = [seen.item_ids[row].tolist() for row in seen.histories]
    return dict(zip(seen.user_ids.tolist(), found, strict=True))


@pytest.mark.parametrize("name", ["Tea_5.json", "Tea_5.json.gz"])
@pytest.mark.parametrize(
    ("reviews", "expected"),
    [(OLD, {"A1": ["B1", "B3", "B2"], "A2": ["B2"]}), (NEW, {"AE2": ["B2", "B1"]})],
    ids=["2018", "2023"],
)
def test_amazon_reviews(reviews, expected, name, tmp_path):
    text = "".join(json.dumps(review) + "\n" for review in reviews).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert histories(read_amazon(tmp_path / name)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"asin": None}, r'line 2: "asin" is None, expected an id'),
        ({"asin": ""}, r'line 2: "asin" is \'\', expected an id'),
        ({"asin": 7}, r'line 2: "asin" is 7, expected a string'),
        ({"unixReviewTime": "1398988800"}, r'line 2: "unixReviewTime" is \'1398988800\''),
    ],
)
def test_other_reviews_are_refused_by_line(change, message, tmp_path):
    path = tmp_path / "Tea.json"
    path.write_text(json.dumps(OLD[0]) + "\n" + json.dumps({**OLD[1], **change}))
    with pytest.raises(ValueError, match=message):
        read_amazon(path)


def test_a_line_of_the_other_spelling_is_refused(tmp_path):
    path = tmp_path / "Tea.json"
    path.write_text(json.dumps(OLD[0]) + "\n" + json.dumps(NEW[0]))
    with pytest.raises(ValueError, match=r'line 2: no "reviewerID", expected an id'):
        read_amazon(path)
    path.write_text("")
    with pytest.raises(ValueError, match="holds no reviews"):
        read_amazon(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.data", "7\t30\t3\t891717742\n7\t10\t5\t881250949\n2\t30\t1\t5\n7\t20\t4\t881250949\n"),
        (
            "ratings.dat",
            "7::30::3::891717742\n7::10::5::881250949\n2::30::1::5\n7::20::4::881250949",
        ),
        (
            "ratings.csv",
            "userId,movieId,rating,timestamp\r\n7,30,3.5,891717742\r\n7,10,5.0,881250949\r\n"
            "2,30,1.0,5\r\n7,20,4.0,881250949\r\n",
        ),
    ],
)
def test_movielens(name, text, tmp_path):
    (tmp_path / name).write_bytes(text.encode())
    assert histories(read_movielens(tmp_path / name)) == {2: [30], 7: [10, 20, 30]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no ratings"),
        ("userId,movieId,rating,timestamp\n", "holds no ratings"),
        ("1\t2\t3\t4\n1\t2\t3\n", r"line 2: '1\\t2\\t3', expected user, item, rating and time"),
        ("1::2::3::4\n1::x::3::4", "line 2: '1::x::3::4'"),
        ("9223372036854775808\t2\t3\t4", "line 1: '9223372036854775808"),
        ("1,2,3,4\n", r"line 1: '1,2,3,4', expected"),
        ("é\n", "expected digits and separators"),
    ],
)
def test_other_ratings_are_refused_by_line(text, message, tmp_path):
    (tmp_path / "ratings").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_movielens(tmp_path / "ratings")


def test_recbole(tmp_path):
    path = tmp_path / "tea.inter"
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    path.write_text(header + "ann\tx\t5\t3\nann\ty\t1\t2.5\nbob\tx\t1\t1\nann\tz\t1\t2.5\n")
    assert histories(read_recbole(path)) == {"ann": ["y", "z", "x"], "bob": ["x"]}
    path.write_text("user_id:token\titem_id:token\n5\t8\n5\t7\n")
    assert histories(read_recbole(path)) == {5: [8, 7]}


def test_lcrec(tmp_path):
    path = tmp_path / "Tea.inter.json"
    path.write_text('{"10": [4, 2, 4], "9": [2], "11": []}')
    assert histories(read_lcrec(path)) == {9: [2], 10: [4, 2, 4]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected a JSON object"),
        ("{}", "names no item"),
        ('{"0": []}', "names no item"),
        ('{"ann": [1]}', "user 'ann', expected a number"),
        ('{"0": ["x"]}', r"user '0' has \['x'\], expected numbers"),
        ('{"0": 5}', "user '0' has 5, expected numbers"),
        ('{"0": [-1]}', r"user '0' has \[-1\], expected numbers"),
        ('{"0": [true]}', r"user '0' has \[True\], expected numbers"),
    ],
)
def test_other_files_of_lcrec_are_refused_by_user(text, message, tmp_path):
    path = tmp_path / "Tea.inter.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"Tea\.inter\.json: .*{message}|{message}"):
        read_lcrec(path)
