"""Codebook statistics against loops, scipy and scikit-learn."""

import re
import sys
import time
from collections import Counter
from html import unescape

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from semantic_ids import Features, RQKMeans, Tokenizer, TokenizerSpec
from semantic_ids.categories import CategoryAgreement
from semantic_ids.distortion import ErrorSums
from semantic_ids.statistics import codebook_statistics

SIZES = st.sampled_from([(1,), (6,), (3, 3), (2, 5, 3), (9, 4, 9)])


@st.composite
def coded(draw):
    sizes = draw(SIZES)
    row = st.tuples(*(st.integers(0, min(4, size) - 1) for size in sizes))
    return np.array(draw(st.lists(row, min_size=1, max_size=25)), dtype=np.int32), sizes


@given(coded())
def test_figures_of_a_level_are_those_of_its_counts(case):
    codes, sizes = case
    for level, figures in enumerate(codebook_statistics(codes, sizes).levels):
        counts = Counter(codes[:, level].tolist())
        shares = entropy(list(counts.values()))
        assert figures.size == sizes[level]
        assert figures.used == len(counts)
        assert figures.dead == sizes[level] - len(counts)
        assert figures.utilisation == pytest.approx(len(counts) / sizes[level])
        assert figures.entropy == pytest.approx(shares, abs=1e-12)
        assert figures.perplexity == pytest.approx(np.exp(shares))
        under = Counter(tuple(code[: level + 1]) for code in codes.tolist())
        assert figures.prefixes == len(under)
        assert figures.largest_prefix == max(under.values())
        assert figures.alone == sum(count == 1 for count in under.values())
        every = [counts[entry] for entry in range(sizes[level])]
        apart = sum(abs(a - b) for a in every for b in every) / len(every) ** 2
        assert figures.gini == pytest.approx(apart / (2 * len(codes) / len(every)))
        assert figures.relative_error is None


@settings(max_examples=40)
@given(coded())
def test_conditional_entropy_is_what_the_prefix_leaves_open(case):
    codes, sizes = case
    prefix = np.zeros(len(codes), dtype=np.int64)
    for level, figures in enumerate(codebook_statistics(codes, sizes).levels):
        # H(c | prefix) = H(c) - I(c; prefix)
        shared = mutual_info_score(codes[:, level], prefix)
        expected = entropy(np.bincount(codes[:, level])) - shared
        assert figures.conditional_entropy == pytest.approx(expected, abs=1e-9)
        assert figures.conditional_entropy >= 0
        prefix = np.unique(codes[:, : level + 1], axis=0, return_inverse=True)[1].ravel()


@given(coded())
def test_collisions_are_counted_by_content_code(case):
    codes, sizes = case
    buckets = Counter(map(tuple, codes.tolist()))
    figures = codebook_statistics(codes, sizes)
    assert figures.items == len(codes)
    assert figures.collision_rate == pytest.approx(1 - len(buckets) / len(codes))
    assert figures.items_in_collisions == sum(n for n in buckets.values() if n > 1)
    assert figures.largest_bucket == max(buckets.values())


@given(coded(), st.data())
def test_moved_items_are_those_whose_code_begins_differently(case, data):
    codes, sizes = case
    unique = np.concatenate([codes, np.zeros((len(codes), 1), dtype=np.int32)], axis=1)
    moved = data.draw(st.sets(st.integers(0, len(codes) - 1)))
    unique[sorted(moved), 0] += 1
    unique[:, -1] = 7
    assert codebook_statistics(codes, sizes, unique_codes=unique).moved == len(moved)


def test_all_codes_different():
    codes = np.arange(12, dtype=np.int32)[:, None]
    figures = codebook_statistics(codes, (12,))
    assert figures.collision_rate == 0
    assert figures.items_in_collisions == 0
    assert figures.largest_bucket == 1
    assert figures.levels[0].perplexity == pytest.approx(12)
    assert figures.levels[0].utilisation == 1


def test_all_codes_equal():
    figures = codebook_statistics(np.ones((10, 2), dtype=np.int32), (4, 4))
    assert figures.collision_rate == pytest.approx(0.9)
    assert figures.items_in_collisions == 10
    assert figures.largest_bucket == 10
    for level in figures.levels:
        assert (level.entropy, level.conditional_entropy, level.perplexity) == (0, 0, 1)
        assert (level.used, level.dead) == (1, 3)


def test_a_level_that_repeats_the_one_before_adds_no_entropy():
    column = np.random.default_rng(0).integers(0, 8, size=200)
    first, second = codebook_statistics(np.stack([column, column], axis=1), (8, 8)).levels
    assert first.conditional_entropy == pytest.approx(first.entropy)
    assert second.entropy == pytest.approx(first.entropy)
    assert second.conditional_entropy == pytest.approx(0, abs=1e-12)


def test_errors_are_shown_with_their_levels():
    codes = np.zeros((3, 2), dtype=np.int32)
    figures = codebook_statistics(codes, (2, 2), relative_errors=[0.5, 0.25])
    assert [level.relative_error for level in figures.levels] == [0.5, 0.25]
    assert figures.relative_error == 0.25
    assert "relative error 0.2500" in str(figures)
    assert "not measured" in str(codebook_statistics(codes, (2, 2)))


def test_plain_figures_hold_the_derived_ones_too():
    figures = codebook_statistics(np.array([[0], [1], [1]]), (4,))
    plain = figures.to_dict()
    assert plain["items"] == 3
    assert plain["levels"][0]["dead"] == 2
    assert plain["levels"][0]["utilisation"] == 0.5
    assert plain["levels"][0]["perplexity"] == pytest.approx(figures.levels[0].perplexity)


def test_the_table_has_a_line_a_level():
    lines = str(codebook_statistics(np.zeros((5, 3), dtype=np.int32), (2, 2, 2))).splitlines()
    assert lines[0].startswith("5 items, 3 levels")
    assert [line.split()[0] for line in lines[-3:]] == ["0", "1", "2"]


def test_figures_become_a_frame_with_a_row_a_level():
    pandas = pytest.importorskip("pandas")
    agreement = (CategoryAgreement(0.5, 0.25, 0.125), CategoryAgreement(1.0, 0.5, 0.0))
    figures = codebook_statistics(
        np.array([[0, 1], [1, 1]]),
        (2, 2),
        modality_errors={"text": [0.5, 0.25]},
        agreement=agreement,
    )
    frame = figures.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["used"].tolist() == [2, 1]
    assert frame["relative_error.text"].tolist() == [0.5, 0.25]
    assert frame["ami"].tolist() == [0.125, 0.0]
    assert "relative_error" not in frame.columns  # it was not measured
    assert frame.index.name == "level"
    assert figures.to_dict()["levels"][1]["categories"]["nmi"] == 0.5
    assert "error, text" in str(figures)
    assert "AMI" in str(figures)
    assert isinstance(hash(figures), int)


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"semantic-ids\[frames\]"):
        codebook_statistics(np.zeros((1, 1), dtype=np.int32), (1,)).to_frame()


def test_a_million_items_take_seconds():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, size=(1_000_000, 4), dtype=np.int32)
    start = time.process_time()
    figures = codebook_statistics(codes, (256,) * 4)
    assert time.process_time() - start < 10
    assert figures.levels[2].prefixes == len(np.unique(codes[:, :3] @ [1 << 16, 1 << 8, 1]))


# --- errors of each modality


@pytest.fixture(scope="module")
def half_seen():
    """Features of which one modality is missing for some items, with a constant beside."""
    rng = np.random.default_rng(5)
    return Features(
        {"text": rng.normal(size=(90, 4)), "image": 50 + rng.normal(size=(90, 3))},
        present={"image": rng.random(90) < 0.6},
    )


def naive_modality_errors(tokenizer, features, rows):
    """Decode the first levels by hand, over the items that have the modality."""
    arrays = tokenizer.to_state().files["codec"]
    found = {}
    for place, (name, values) in enumerate(features.modalities.items()):
        there = [row for row in rows if features.present[row, place]]
        block = {"text": slice(0, 4), "image": slice(4, 7)}[name]
        mean = values[there].mean(axis=0)
        total = sum(((values[row] - mean) ** 2).sum() for row in there)
        found[name] = []
        for depth in (1, 2):
            lost = 0.0
            for row in there:
                code = tokenizer.content_codes[row]
                entry = sum(arrays[f"quantizer.codebook.{j}"][code[j]] for j in range(depth))
                scale, shift = arrays[f"fuser.scale.{name}"], arrays[f"fuser.mean.{name}"]
                lost += ((entry[block] * scale + shift - values[row]) ** 2).sum()
            found[name].append(lost / total)
    return found


def test_each_modality_has_errors_of_its_own(half_seen, tmp_path):
    tokenizer = Tokenizer.fit(half_seen, quantizer=RQKMeans(levels=2, codebook_size=16))
    naive = naive_modality_errors(tokenizer, half_seen, range(90))
    tokenizer.save(tmp_path / "saved")
    loaded = Tokenizer.load(tmp_path / "saved")
    for figures in (tokenizer.statistics(), tokenizer.statistics(half_seen), loaded.statistics()):
        for level, found in enumerate(figures.levels):
            expected = {name: errors[level] for name, errors in naive.items()}
            assert found.modality_errors == pytest.approx(expected, rel=1e-5)
    assert loaded.statistics() == tokenizer.statistics()
    assert loaded.statistics().neighbourhoods is None


def test_at_the_fit_they_are_those_of_the_sample(half_seen):
    spec = TokenizerSpec(quantizer=RQKMeans(levels=2, codebook_size=16), fit_sample=40, seed=6)
    tokenizer = spec.fit(half_seen)
    sample = np.random.default_rng(6).choice(90, size=40, replace=False)
    for figures, rows in (
        (tokenizer.statistics(), sample),
        (tokenizer.statistics(half_seen), range(90)),
    ):
        naive = naive_modality_errors(tokenizer, half_seen, rows)
        found = [level.modality_errors["image"] for level in figures.levels]
        assert found == pytest.approx(naive["image"], rel=1e-5)


def test_they_are_gone_when_the_catalogue_has_changed(half_seen):
    tokenizer = Tokenizer.fit(half_seen, quantizer=RQKMeans(levels=2, codebook_size=16))
    tokenizer.remove([3])
    assert tokenizer.statistics().levels[0].modality_errors is None


# --- relative errors


def relative_errors(errors, rows, blocks=1):
    sums = ErrorSums()
    for part in np.array_split(np.arange(len(rows)), blocks):
        sums.add(errors[part], rows[part])
    return sums.relative()


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 30),
    offset=st.sampled_from([0.0, 1.0, 100.0]),
    blocks=st.integers(1, 4),
)
def test_relative_error_is_squared_error_over_variance(seed, n, offset, blocks):
    rng = np.random.default_rng(seed)
    x = (offset + rng.normal(size=(n, 4))).astype(np.float32)
    decoded = [x + rng.normal(size=x.shape) * scale for scale in (1.0, 0.1)]
    errors = np.stack([((x - part) ** 2).sum(axis=1) for part in decoded], axis=1)
    mean = [sum(map(float, x[:, j])) / n for j in range(4)]
    variance = sum((float(x[i, j]) - mean[j]) ** 2 for i in range(n) for j in range(4))
    expected = [float(((x - part) ** 2).sum()) / variance for part in decoded]
    assert relative_errors(errors, x, blocks) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_rows_that_are_all_the_same_have_no_relative_error(value):
    x = np.full((20, 3), value, dtype=np.float32)
    rounding = 1e-16 * value**2
    assert relative_errors(np.full((20, 2), rounding), x) == [0.0, 0.0]
    assert relative_errors(np.full((20, 2), 1e-3 * value**2 + 1e-16), x) is None
    x[::2] = np.nextafter(x[::2], np.float32(np.inf))  # the same to rounding
    assert value == 0 or relative_errors(np.full((20, 2), rounding), x) == [0.0, 0.0]


def test_nothing_lost_is_no_error():
    x = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    assert relative_errors(np.zeros((9, 3)), x) == [0.0, 0.0, 0.0]


def test_notebooks_show_a_table_in_which_text_is_escaped():
    errors = {"<script>alert(1)</script>": [0.5, 0.25]}
    figures = codebook_statistics(
        np.array([[0, 0], [0, 1], [1, 0], [1, 0]]),
        (2, 4),
        relative_errors=[0.5, 0.25],
        modality_errors=errors,
    )
    html = figures._repr_html_()
    assert "<script" not in html
    assert "error, &lt;script&gt;" in html
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    cells = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in rows]
    shown = str(figures).splitlines()
    for line, row in zip(shown[-len(rows) :], cells, strict=True):
        assert line.split() == unescape(" ".join(row)).split()
    assert all(line in unescape(html) for line in shown[: -len(rows)])


def test_rows_in_another_order_are_noticed(recwarn):
    rows = np.random.default_rng(0).normal(size=(300, 6))
    tokenizer = Tokenizer.fit(rows, ids=[f"B{row}" for row in range(300)])
    tokenizer.statistics(rows)
    assert not recwarn
    for call in (tokenizer.statistics, lambda x: tokenizer.describe([0], features=x)):
        with pytest.warns(UserWarning, match=r"features: \d+ of 100 rows .* in its order\?"):
            call(rows[::-1])
    named = Features(rows[::-1], ids=tokenizer.ids[::-1])
    recwarn.clear()
    assert str(tokenizer.statistics(named)) == str(tokenizer.statistics(rows))
    assert not recwarn


@pytest.mark.parametrize(("moved", "noticed"), [(60, False), (140, True)])
def test_some_rows_may_have_changed(recwarn, moved, noticed):
    rows = np.random.default_rng(0).normal(size=(200, 6))
    tokenizer = Tokenizer.fit(rows, quantizer=RQKMeans(levels=2, codebook_size=16))
    which = np.random.default_rng(1).permutation(200)[:moved]
    rows[which] = -3 * rows[which]
    tokenizer.statistics(rows)
    assert bool(recwarn) == noticed


def test_without_a_codec_no_order_can_be_noticed(recwarn):
    rows = np.random.default_rng(0).normal(size=(50, 6))
    Tokenizer.from_codes(None, np.arange(50)[:, None], resolver=None).statistics(rows)
    assert not recwarn
