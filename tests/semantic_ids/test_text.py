"""Raw text: vectorised by what was fitted, the same row for the same text in any company."""

import gzip
import json
import math
import re
import sys
import types
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from semantic_ids import (
    Concat,
    Features,
    RQKMeans,
    SentenceTransformerText,
    Suffix,
    TextVectorizer,
    TfidfText,
    Tokenizer,
    TokenizerSpec,
)
from semantic_ids.features import BLOCK_ROWS
from semantic_ids.raw_text import is_text, text_array
from semantic_ids.text.base import fit_texts, vectorise
from semantic_ids.text.language_model import folder_checksum

STAGES = {"quantizer": RQKMeans(levels=2, codebook_size=8), "resolver": Suffix(max_suffix=9000)}

WORDS = [
    *("lipstick", "red", "matte", "blue", "set", "nail", "polish", "green", "glossy", "balm"),
    *("brush", "mini", "travel", "cream", "night", "day", "face", "hand", "soap", "rose", "oil"),
]
SHARES = 1 / np.arange(1, len(WORDS) + 1) / np.sum(1 / np.arange(1, len(WORDS) + 1))


def titles(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 7), p=SHARES)) for _ in range(n)]


@pytest.fixture(scope="module")
def texts():
    return titles(300)


# --- tf-idf


def by_definition(texts, learnt):
    """Tf-idf rows of length 1 over sorted terms, in float64, document by document."""
    split = [re.findall(r"\b\w\w+\b", text.lower()) for text in learnt]
    terms = sorted({word for words in split for word in words})
    counts = Counter(word for words in split for word in set(words))
    idf = {word: math.log((1 + len(learnt)) / (1 + counts[word])) + 1 for word in terms}
    rows = np.zeros((len(texts), len(terms)))
    for row, text in zip(rows, texts, strict=True):
        for word in re.findall(r"\b\w\w+\b", text.lower()):
            if word in idf:
                row[terms.index(word)] += idf[word]
        row /= np.linalg.norm(row) or 1
    return terms, rows


def test_vectors_are_tfidf_rows_turned_into_the_leading_singular_directions(texts):
    fitted = TfidfText(width=10).fit(texts)
    _, rows = by_definition(texts, texts)
    _, _, directions = np.linalg.svd(rows, full_matrices=False)
    found = fitted.transform(texts)
    assert found.dtype == np.float32
    # The decomposition is a randomised one; columns agree up to their sign.
    expected = rows @ directions[:10].T
    np.testing.assert_allclose(np.abs(found[:, :3]), np.abs(expected[:, :3]), atol=1e-3)
    lost = ((rows - found @ fitted.arrays()["components"].T) ** 2).sum()
    assert lost == pytest.approx(((rows - expected @ directions[:10]) ** 2).sum(), rel=0.01)


def test_vectors_as_wide_as_the_vocabulary_keep_every_inner_product(texts):
    fitted = TfidfText().fit(texts)
    terms, rows = by_definition([*texts, "unheard of"], texts)
    assert fitted.width == len(terms) == len(WORDS)
    found = fitted.transform([*texts, "unheard of"]).astype(np.float64)
    np.testing.assert_allclose(found @ found.T, rows @ rows.T, atol=1e-5)
    assert not found[-1].any()


def test_the_width_shrinks_to_the_directions_there_are():
    fitted = TfidfText(width=5).fit(["red shoe", "red shoe", "blue", "blue"])
    assert fitted.width == 2
    assert TfidfText().fit(["the very same"] * 4).width == 1
    assert TfidfText(width=2).fit(["one two", "three four", "five six"]).width == 2


def test_fitting_twice_gives_the_same_bits(texts):
    one, other = (TfidfText(width=9, seed=3).fit(texts) for _ in range(2))
    for name, array in one.arrays().items():
        assert array.tobytes() == other.arrays()[name].tobytes()


@settings(max_examples=40)
@given(data=st.data())
def test_a_row_depends_on_its_text_alone_to_the_last_bit(data):
    learnt = titles(200)
    spec = data.draw(st.sampled_from([TfidfText(width=7), TfidfText(analyzer="char_wb", width=33)]))
    fitted = spec.fit(learnt)
    text = st.one_of(st.sampled_from(learnt), st.text(max_size=30))
    batch = data.draw(st.lists(text, min_size=1, max_size=50))
    together = fitted.transform(batch)
    alone = np.concatenate([fitted.transform([text]) for text in batch])
    assert together.tobytes() == alone.tobytes()
    order = data.draw(st.permutations(range(len(batch))))
    shuffled = fitted.transform([batch[i] for i in order])
    assert shuffled.tobytes() == together[list(order)].tobytes()


def test_a_row_does_not_depend_on_a_large_batch_either(texts):
    learnt = titles(2000)
    fitted = TfidfText(width=30).fit(learnt)
    together = fitted.transform(learnt)
    for row in (0, 1, 777, 1999):
        assert fitted.transform([learnt[row]]).tobytes() == together[row].tobytes()


@pytest.mark.parametrize("spec", [TfidfText(width=4), TfidfText(analyzer="char_wb", ngrams=(2, 3))])
def test_a_vectorizer_is_read_back_from_its_arrays(texts, spec):
    learnt = [*texts, "été 日本語 ß", "naïve Ⅷ"]
    fitted = spec.fit(learnt)
    again = TextVectorizer.parse(spec.model_dump(mode="json")).restore(fitted.arrays())
    assert again.width == fitted.width
    assert again.transform(learnt).tobytes() == fitted.transform(learnt).tobytes()


DAMAGE = {
    "idf": (lambda a: a | {"idf": a["idf"][1:]}, "idf: expected float32 of shape"),
    "components": (lambda a: a | {"components": a["components"][:, :0]}, "at least one component"),
    "terms": (lambda a: a | {"term_offsets": a["term_offsets"][1:]}, "term_offsets do not fit"),
    "missing": (lambda a: {"idf": a["idf"]}, "term_bytes: no such array"),
    "twice": (
        lambda a: {
            "term_bytes": np.frombuffer(b"abab", np.uint8),
            "term_offsets": np.array([0, 2, 4]),
            "idf": a["idf"][:2],
            "components": a["components"][:2],
        },
        "expected distinct terms",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_arrays_that_do_not_fit_together_are_refused(texts, case):
    damage, message = DAMAGE[case]
    spec = TfidfText(width=4)
    with pytest.raises(ValueError, match=message):
        spec.restore(damage(spec.fit(texts).arrays()))


def test_texts_without_a_term_are_refused_by_modality():
    with pytest.raises(ValueError, match=r"features\['title'\]: no term in any of 2 texts"):
        Tokenizer.fit({"title": ["", "a !"]}, quantizer=RQKMeans(codebook_size=2, levels=1))


def test_ngrams_are_checked():
    with pytest.raises(ValidationError, match=r"ngrams: expected 1 <= least <= most, got \(3, 2\)"):
        TfidfText(ngrams=(3, 2))


# --- features


@pytest.mark.parametrize(
    "value",
    [["a", None], (None, "a"), np.array(["a", "b"]), np.array(["a", None], dtype=object)],
    ids=["list", "tuple", "numpy str", "numpy objects"],
)
def test_sequences_of_str_are_raw_text(value):
    features = Features({"title": value, "x": np.ones((2, 1))})
    assert features.texts == ["title"]
    expected = [text is not None for text in value]
    assert features.present[:, 0].tolist() == expected
    assert features.rows(np.array([1, 0])).present[:, 0].tolist() == expected[::-1]


@given(st.lists(st.one_of(st.none(), st.text()), min_size=1))
def test_texts_are_kept_character_by_character(values):
    assert is_text(values)
    array, present = text_array(values, "title")
    assert [
        text if there else None for text, there in zip(array.tolist(), present, strict=True)
    ] == (values)


BAD_TEXTS = {
    "a number": (["a", 3], TypeError, r"features\['title'\]: expected str, .* got 3 \(row 1\)"),
    "NaN": (["a", math.nan], TypeError, r"got nan \(row 1\)"),
    "half a character": (["a", "\ud800"], ValueError, r"row 1 is not valid Unicode"),
    "one str": ("ab", TypeError, r"\['title'\]: expected a real numeric array, got <U2"),
    "other lengths": (["a"], ValueError, r"features\['title'\] has 1, features\['x'\] has 2"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_bad_texts_are_refused_by_name(case):
    value, error, message = BAD_TEXTS[case]
    with pytest.raises(error, match=message):
        Features({"title": value, "x": np.ones((2, 1))})


def test_texts_that_nobody_has_teach_nothing():
    features = Features({"title": [None, None], "x": np.ones((2, 1))})
    with pytest.raises(ValueError, match=r"\['title'\]: no text in the 2 rows to learn from"):
        fit_texts(TfidfText(), features)


def test_texts_alone_need_a_name():
    with pytest.raises(TypeError, match="give one column with a name"):
        Features(["a", "b"])


def test_a_fuser_refuses_raw_text_and_says_how_to_vectorise():
    features = Features({"title": ["red shoe", "blue shoe"]})
    for refused in (
        lambda: Concat().fit(features),
        lambda: features.widths,
        lambda: features.modality("title"),
    ):
        with pytest.raises(TypeError, match=r"\['title'\]: raw text has no .* TfidfText\(\)\.fit"):
            refused()
    assert "title: raw text" in repr(features)


def test_a_vectorizer_sees_only_the_texts_there_are(texts):
    missing = np.arange(len(texts)) % 3 == 0
    given = [None if gone else text for gone, text in zip(missing, texts, strict=True)]
    features = Features({"title": given, "x": np.ones((len(texts), 1))})
    fitted = fit_texts(TfidfText(width=6), features)["title"]
    alone = TfidfText(width=6).fit([text for text in given if text is not None])
    vectors, present = vectorise(features, {"title": fitted}).modality("title")
    assert present.tolist() == (~missing).tolist()
    assert vectors[present].tobytes() == alone.transform([t for t in given if t]).tobytes()
    assert not vectors[~present].any()


# --- the tokenizer


@pytest.fixture(scope="module")
def catalogue(texts):
    rng = np.random.default_rng(0)
    title = [None if row % 10 == 3 else text for row, text in enumerate(texts)]
    return {"title": title, "image": rng.normal(size=(300, 4)), "brand.name": texts[::-1]}


@pytest.fixture(scope="module")
def tokenizer(catalogue):
    return Tokenizer.fit(catalogue, text=TfidfText(width=8), **STAGES)


def test_codes_of_texts_are_those_of_their_vectors(catalogue, tokenizer):
    features = Features(catalogue)
    vectors = vectorise(features, fit_texts(TfidfText(width=8), features))
    expected = Tokenizer.fit(vectors, **STAGES)
    np.testing.assert_array_equal(tokenizer.codes, expected.codes)
    np.testing.assert_array_equal(tokenizer.encode(catalogue), expected.encode(vectors))
    np.testing.assert_array_equal(tokenizer.encode(vectors), expected.encode(vectors))
    assert tokenizer.statistics(catalogue) == expected.statistics(vectors)


def test_a_code_does_not_depend_on_the_batch(catalogue, tokenizer):
    for row in (0, 3, 299):
        one = {name: values[row : row + 1] for name, values in catalogue.items()}
        one = {name: value for name, value in one.items() if value[0] is not None}
        np.testing.assert_array_equal(tokenizer.encode(one), tokenizer.content_codes[row : row + 1])


def test_the_walk_goes_through_text(catalogue, tokenizer):
    assert list(tokenizer.decode(tokenizer.codes[:5])) == list(catalogue)
    assert tokenizer.decode(tokenizer.codes[:5])["title"].shape == (5, 8)
    grown = tokenizer.copy()
    new = {"title": ["red lipstick", "entirely unheard"], "image": np.zeros((2, 4))}
    grown.add(new, ids=[300, 301])
    np.testing.assert_array_equal(grown.content_codes[300:], tokenizer.encode(new))
    assert tokenizer.drift(catalogue).relative_error == tuple(
        level.relative_error for level in tokenizer.statistics(catalogue).levels
    )


def test_a_loaded_tokenizer_encodes_text_bit_for_bit(catalogue, tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.spec == tokenizer.spec
    unseen = {"title": titles(50, seed=9)}
    np.testing.assert_array_equal(loaded.encode(unseen), tokenizer.encode(unseen))
    for name, array in loaded.decode(tokenizer.codes).items():
        assert array.tobytes() == tokenizer.decode(tokenizer.codes)[name].tobytes()


def test_a_state_whose_texts_are_others_is_refused(tokenizer):
    state = tokenizer.to_state()
    for texts, message in [
        (["image", "brand.name"], r"texts: 'image' has 8 columns, not as in widths"),
        (["title"], r"the spec has no use for"),
        (["title", "brand.name", "image"], "term_bytes: no such array"),
        (["title", "sound"], "texts: 'sound' has 8 columns"),
    ]:
        metadata = json.loads(json.dumps(dict(state.metadata))) | {"texts": texts}
        with pytest.raises(ValueError, match=message):
            Tokenizer.from_state(type(state)(state.kind, metadata, state.files))


def test_text_where_the_fit_had_vectors_is_refused(catalogue, tokenizer):
    with pytest.raises(ValueError, match=r"\['image'\]: raw text, but at the fit raw text was"):
        tokenizer.encode({"image": ["a", "b"]})
    without = Tokenizer.fit({"image": catalogue["image"]}, **STAGES)
    with pytest.raises(ValueError, match=r"\['image'\]: raw text, but at the fit there was none"):
        without.encode({"image": ["a", "b"]})


def test_large_catalogues_of_text_are_learnt_from_a_sample_and_coded_in_blocks():
    many = titles(BLOCK_ROWS + 500)
    tokenizer = Tokenizer.fit({"title": many}, fit_sample=400, **STAGES)
    drawn = np.sort(np.random.default_rng(0).choice(len(many), size=400, replace=False))
    expected = Tokenizer.fit({"title": [many[row] for row in drawn]}, **STAGES)
    np.testing.assert_array_equal(tokenizer.content_codes[drawn], expected.content_codes)
    np.testing.assert_array_equal(tokenizer.encode({"title": many}), tokenizer.content_codes)


def test_the_text_spec_is_part_of_the_document():
    spec = TokenizerSpec(text=TfidfText(width=9))
    assert TokenizerSpec.model_validate_json(spec.model_dump_json()) == spec
    assert TokenizerSpec(text={"kind": "tfidf-svd", "width": 9}) == spec
    model = TokenizerSpec(text=SentenceTransformerText(path="models/mini"))
    assert TokenizerSpec.model_validate_json(model.model_dump_json()) == model
    with pytest.raises(ValueError, match="unknown textvectorizer kind 'abacus'"):
        TokenizerSpec(text={"kind": "abacus"})


def test_real_titles_of_one_brand_are_nearer_to_each_other_than_to_others(data_folder):
    path = data_folder / "amazon18_scientific" / "items.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        items = [json.loads(line) for line in lines][:2000]
    fitted = TfidfText().fit([item["title"] for item in items])
    vectors = fitted.transform([item["title"] for item in items]).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    near = vectors @ vectors.T
    brand = np.array([item["brand"] or str(row) for row, item in enumerate(items)])
    same = brand[:, None] == brand[None, :]
    np.fill_diagonal(same, False)
    assert fitted.width == 128
    assert near[same].mean() > 3 * near[~same].mean()


# --- a language model


class Model:
    """A stand-in with the face of SentenceTransformer: vectors of characters."""

    calls: list = []  # noqa: RUF012 (a record, emptied by the fixture)

    def __init__(self, path, *, device, local_files_only, model_kwargs):
        assert local_files_only
        assert model_kwargs == {"use_safetensors": True}
        self.calls.append(("load", path, device))

    def encode(self, texts, *, prompt, batch_size, show_progress_bar, convert_to_numpy):
        assert (batch_size, show_progress_bar, convert_to_numpy) == (1, False, True)
        self.calls.append(("encode", len(texts), prompt))
        rows = [np.bincount([ord(c) % 6 for c in (prompt or "") + t], minlength=6) for t in texts]
        return np.array(rows, dtype=np.float32)


@pytest.fixture
def model(monkeypatch, tmp_path):
    Model.calls.clear()
    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = Model
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return folder


def test_a_language_model_is_loaded_from_its_folder(model, texts, tmp_path):
    spec = SentenceTransformerText(path=str(model), prompt="item: ")
    catalogue = {"title": texts, "image": np.random.default_rng(0).normal(size=(300, 2))}
    tokenizer = Tokenizer.fit(catalogue, text=spec, **STAGES)
    assert Model.calls[:2] == [("load", str(model), "cpu"), ("encode", 1, "item: ")]
    assert tokenizer.decode(tokenizer.codes)["title"].shape == (300, 6)
    tokenizer.save(tmp_path / "saved")
    Model.calls.clear()
    loaded = Tokenizer.load(tmp_path / "saved")
    assert loaded.lookup(loaded.encode([3])) == [3]
    assert Model.calls == []  # a model is loaded when it is needed
    np.testing.assert_array_equal(loaded.encode(catalogue), tokenizer.content_codes)


@pytest.mark.parametrize("change", ["weights", "name", "more"])
def test_a_changed_model_is_refused(model, texts, tmp_path, change):
    tokenizer = Tokenizer.fit(
        {"title": texts}, text=SentenceTransformerText(path=str(model)), **STAGES
    )
    tokenizer.save(tmp_path / "saved")
    if change == "weights":
        (model / "model.safetensors").write_bytes(b"weightz")
    elif change == "name":
        (model / "config.json").rename(model / "config2.json")
    else:
        (model / "1_Pooling" / "more.json").write_text("")
    with pytest.raises(ValueError, match="its files are not those that the tokenizer was fitted"):
        Tokenizer.load(tmp_path / "saved").encode({"title": texts})


def test_hidden_files_of_a_model_do_not_matter(model):
    before = folder_checksum(model)
    (model / ".cache").mkdir()
    (model / ".cache" / "x.lock").write_text("1")
    assert folder_checksum(model) == before


def test_a_model_that_is_not_there_is_not_downloaded(model):
    spec = SentenceTransformerText(path="sentence-transformers/all-MiniLM-L6-v2")
    with pytest.raises(FileNotFoundError, match="no such folder; nothing is downloaded"):
        spec.fit(["a"])
    assert Model.calls == []


def test_weights_that_would_be_unpickled_are_refused(model):
    spec = SentenceTransformerText(path=str(model))
    (model / "pytorch_model.bin").write_bytes(b"")
    spec.fit(["a"])  # there are safe ones beside them
    (model / "1_Pooling" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1_Pooling/pytorch_model\.bin: a pickle, which is not"):
        spec.fit(["a"])


def test_without_the_library_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'semantic-ids\[text\]'"):
        SentenceTransformerText(path=str(model)).fit(["a"])


def tiny_bert(folder):
    """A sentence-transformers model of random weights, written by the library itself."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder / "bert")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[transformer, Pooling(48)]).save(str(folder / "model"))
    return folder / "model"


@pytest.mark.filterwarnings("ignore")
def test_the_real_library_gives_rows_that_depend_on_their_text_alone(tmp_path, texts):
    pytest.importorskip("sentence_transformers")
    path = tiny_bert(tmp_path)
    fitted = SentenceTransformerText(path=str(path)).fit(texts)
    assert fitted.width == 48
    batch = texts[:12]
    together = fitted.transform(batch)
    alone = np.concatenate([fitted.transform([text]) for text in batch])
    assert together.tobytes() == alone.tobytes()
    assert fitted.transform(batch[::-1]).tobytes() == together[::-1].tobytes()
    again = SentenceTransformerText(path=str(path)).restore(fitted.arrays())
    assert again.transform(batch).tobytes() == together.tobytes()

    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(path), device="cpu").encode(batch)
    np.testing.assert_allclose(together, expected, atol=1e-5)
    prompted = SentenceTransformerText(path=str(path), prompt="item ").fit(texts)
    expected = SentenceTransformer(str(path), device="cpu").encode([f"item {t}" for t in batch])
    np.testing.assert_allclose(prompted.transform(batch), expected, atol=1e-5)
