"""Explanations against what the tokenizer itself says, item by item."""

import numpy as np
import pytest

from semantic_ids import Concat, Features, Items, RQKMeans, Suffix, Tokenizer, UnknownItemError

KINDS = ["paint", "brush", "paper", "glue"]


@pytest.fixture(scope="module")
def catalogue():
    """Items of four kinds in two colours; some look the same."""
    rng = np.random.default_rng(0)
    kind, colour = rng.integers(0, 4, size=240), rng.integers(0, 2, size=240)
    text = 4 * np.eye(4)[kind] + np.eye(2)[colour] @ rng.normal(size=(2, 4))
    text[40:] += 0.1 * rng.normal(size=(200, 4))
    image = rng.normal(size=(240, 3))
    titles = [
        f"{['red', 'blue'][c]} {KINDS[k]} of the house" for k, c in zip(kind, colour, strict=True)
    ]
    ids = [f"i{row}" for row in range(240)]
    features = Features({"text": text, "image": image}, ids=ids)
    items = Items.of({"title": titles, "category": [KINDS[k] for k in kind]}, ids)
    return features, items, kind


@pytest.fixture(scope="module")
def tokenizer(catalogue):
    return Tokenizer.fit(
        catalogue[0],
        fuser=Concat(weights={"image": 0.05}),
        quantizer=RQKMeans(levels=3, codebook_size=(4, 8, 8)),
    )


def nearest(tokenizer, item, others, part=slice(None)):
    """Others by the distance of fused decoded vectors, summed up from the codebooks."""
    arrays = tokenizer.to_state().files["codec"]

    def vector(name):
        code = tokenizer.encode(name)[0]
        return sum(arrays[f"quantizer.codebook.{j}"][code[j]].astype(float) for j in range(3))

    here = vector(item)
    distances = {o: np.float32(((vector(o) - here) ** 2).sum()) for o in others}
    return sorted(others, key=lambda o: (distances[o], tokenizer.rows(o)[0]))


@pytest.mark.parametrize("row", [0, 3, 77, 200])
def test_levels_are_those_of_the_code(tokenizer, catalogue, row):
    item = f"i{row}"
    found = tokenizer.explain(item, items=catalogue[1])
    unique, content = tokenizer.codes[row].tolist(), tokenizer.content_codes[row].tolist()
    assert (list(found.unique_code), list(found.content_code)) == (unique, content)
    assert found.moved == (unique != content)
    errors = [1.0] + [level.relative_error for level in tokenizer.statistics().levels]
    for depth, level in enumerate(found.levels):
        under = tokenizer.items_under(unique[: depth + 1])
        others = [other for other in under if other != item]
        assert level.items == len(under)
        assert [other.id for other in level.others] == nearest(tokenizer, item, others)[:5]
        assert (level.code, level.content_code) == (unique[depth], content[depth])
        assert level.explained == pytest.approx(errors[depth] - errors[depth + 1])
        for other in level.others:
            assert other.title == catalogue[1].titles[int(other.id[1:])]


def test_shares_of_variance_add_up(tokenizer):
    explained = [level.explained for level in tokenizer.explain("i5").levels]
    assert sum(explained) == pytest.approx(1 - tokenizer.statistics().relative_error)


def test_words_name_what_a_prefix_adds(tokenizer, catalogue):
    """The first codes are the kinds; the second ones tell the colours apart."""
    _, items, kind = catalogue
    for row in range(0, 240, 40):
        found = tokenizer.explain(f"i{row}", items)
        assert KINDS[kind[row]] in found.levels[0].words[:2]
        assert found.categories == (KINDS[kind[row]],)
        for level in found.levels:
            assert not {"of", "the", "house"} & set(level.words)
        assert KINDS[kind[row]] not in found.levels[1].words  # all others there have it too


def test_without_titles_there_are_no_words(tokenizer):
    found = tokenizer.explain("i9")
    assert all(level.words == () for level in found.levels)
    assert found.item.title is None
    assert str(found).startswith("i9\n")


def test_a_moved_item_shows_both_codes(tokenizer):
    moved = np.flatnonzero((tokenizer.codes != tokenizer.content_codes).any(axis=1))[0]
    text = str(tokenizer.explain(f"i{moved}"))
    both = tokenizer.vocabulary.to_strings([tokenizer.codes[moved], tokenizer.content_codes[moved]])
    assert f"unique code  {both[0]}\n" in text
    assert f"content code {both[1]} (moved by the resolver" in text
    assert "where the content is <" in text


def test_an_added_position_is_said_to_be_one(catalogue):
    tokenizer = Tokenizer.fit(
        catalogue[0], quantizer=RQKMeans(levels=2, codebook_size=8), resolver=Suffix()
    )
    found = tokenizer.explain("i3")
    assert found.levels[2].content_code is None
    assert found.levels[2].explained is None
    assert not found.moved
    assert found.levels[2].items == 1
    assert "tells items with one content code apart" in str(found)


def test_after_load_the_shares_are_still_known(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved").explain("i7") == tokenizer.explain("i7")


def test_published_codes_are_explained_by_shared_prefixes():
    codes = [[0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    found = Tokenizer.from_codes(["a", "b", "c", "d"], codes, resolver=None).explain("a")
    assert [other.id for other in found.levels[0].others] == ["c", "b"]
    assert [other.id for other in found.levels[1].others] == ["c"]
    assert [level.items for level in found.levels] == [3, 2, 1]
    assert [level.explained for level in found.levels] == [None, None, None]


def test_an_unknown_item_is_refused(tokenizer):
    with pytest.raises(UnknownItemError):
        tokenizer.explain("nobody")


# --- prefixes


def test_a_prefix_is_described_by_its_own_words(tokenizer, catalogue):
    _, items, kind = catalogue
    for code in range(4):
        rows = tokenizer.rows(tokenizer.items_under([code]))
        found = tokenizer.describe([code], items)
        assert found.items == len(rows)
        assert found.share == pytest.approx(len(rows) / 240)
        assert found.words[0] == KINDS[np.bincount(kind[rows]).argmax()]
        assert found.modalities is None
        assert found.prefix == (code,)


def test_the_nearest_are_those_nearest_to_the_mean(tokenizer, catalogue):
    prefix = tokenizer.codes[0, :2]
    names = tokenizer.items_under(prefix)
    arrays = tokenizer.to_state().files["codec"]
    vectors = {
        name: sum(
            arrays[f"quantizer.codebook.{j}"][code].astype(float)
            for j, code in enumerate(tokenizer.encode(name)[0])
        )
        for name in names
    }
    mean = sum(vectors.values()) / len(names)
    order = sorted(
        names,
        key=lambda n: (np.float32(((vectors[n] - mean) ** 2).sum()), tokenizer.rows(n)[0]),
    )
    assert [item.id for item in tokenizer.describe(prefix).nearest] == order[:5]


def naive_shares(features, rows, weights):
    """Each modality's part of the squared distance of two means, standardised and weighted."""
    parts = {}
    for name, values in features.modalities.items():
        scaled = (values - values.mean(axis=0)) / values.std(axis=0) / np.sqrt(values.shape[1])
        parts[name] = ((weights[name] * scaled[rows].mean(axis=0)) ** 2).sum()
    return {name: part / sum(parts.values()) for name, part in parts.items()}


def test_modalities_share_what_sets_a_prefix_apart(tokenizer, catalogue):
    features = catalogue[0]
    for prefix in ([0], [2], tokenizer.codes[9, :2]):
        rows = tokenizer.rows(tokenizer.items_under(prefix))
        found = tokenizer.describe(prefix, features=features)
        expected = naive_shares(features, rows, {"text": 1.0, "image": 0.05})
        assert found.modalities == pytest.approx(expected, rel=1e-3)
        assert sum(found.modalities.values()) == pytest.approx(1)
    shuffled = features.rows(np.random.default_rng(1).permutation(240))
    again = tokenizer.describe(prefix, features=shuffled)
    assert again.modalities == pytest.approx(found.modalities)
    assert set(again.nearest) == set(found.nearest)
    assert "set apart by: text" in str(found)
    assert isinstance(hash(found), int)


def test_published_codes_are_described_by_features(catalogue):
    features, items, kind = catalogue
    names = features.ids.tolist()
    published = Tokenizer.from_codes(names, kind[:, None], resolver=Suffix())
    found = published.describe([1], items, features)
    assert found.words[0] == "brush"
    assert found.modalities["text"] > 0.9
    assert all(kind[int(item.id[1:])] == 1 for item in found.nearest)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ([], "prefix: expected 1 to 3 codes"),
        ([[0]], "prefix: expected 1 to 3 codes"),
        ([0, 0, 0, 0], "prefix: expected 1 to 3 codes"),
        ([9], "prefix: row 0 has 9 at level 0"),
    ],
)
def test_what_is_no_prefix_is_refused(tokenizer, prefix, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.describe(prefix)


def test_a_prefix_of_nobody_is_refused():
    tokenizer = Tokenizer.from_codes(["a"], [[1, 1]])
    with pytest.raises(ValueError, match="no item has a code that begins with <a_0>"):
        tokenizer.describe([0])
