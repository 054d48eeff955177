"""Giving a language model tokens for codes: what was there stays, what is new is as stated."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from semantic_ids import Concat, NoCodecError, RQKMeans, Suffix, Tokenizer, Vocabulary
from semantic_ids.interop.model_tokens import CodeTokens, add_to

pytest.importorskip("transformers")

VOCABULARY = Vocabulary((3, 2))

of_every_kind = pytest.mark.parametrize(
    "make_words", ["words", "bytes", "unigrams", "slow"], indirect=True
)


@pytest.fixture(scope="module")
def tokenizer():
    features = np.random.default_rng(0).normal(size=(300, 5))
    features /= features.std(axis=0)  # then Concat does no more than divide all by one number
    quantizer = RQKMeans(levels=2, codebook_size=(20, 8))
    return Tokenizer.fit(features, fuser=Concat(), quantizer=quantizer, resolver=Suffix())


@of_every_kind
@pytest.mark.parametrize("kind", ["t5", "gpt2", "untied"])
def test_every_token_gets_an_embedding_and_old_ones_stay(kind, make_words, make_model):
    words = make_words()
    known = words.get_vocab()
    model = make_model(kind, tokens=len(known))
    old = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    old = [weight.detach().clone() for weight in old]
    tokens = add_to(VOCABULARY, words, model)
    names = ["<pad>", "<mask>", "<bos>", "</s>", "<sep>", "<unk>"]
    names += ["<a_0>", "<a_1>", "<a_2>", "<b_0>", "<b_1>"]
    assert words.convert_ids_to_tokens(tokens.ids.tolist()) == names
    assert known.items() <= words.get_vocab().items()
    new = [token for token in tokens.ids.tolist() if token >= len(known)]
    assert new == list(range(len(known), len(known) + 8))
    assert (words.mask_token, words.bos_token, words.eos_token) == ("<mask>", "<bos>", "</s>")
    for layer, before in zip(
        [model.get_input_embeddings(), model.get_output_embeddings()], old, strict=True
    ):
        assert layer.weight.shape == (len(words), 16)
        assert torch.equal(layer.weight[: len(before)], before)
    assert model.config.vocab_size == len(words)


def test_tied_embeddings_stay_tied_and_others_apart(make_words, make_model):
    for kind, tied in [("gpt2", True), ("untied", False)]:
        model = make_model(kind)
        add_to(VOCABULARY, make_words(), model)
        same = model.get_input_embeddings().weight is model.get_output_embeddings().weight
        assert same == tied


@of_every_kind
def test_a_second_call_changes_nothing(make_words, make_model):
    words = make_words()
    model = make_model("gpt2", tokens=len(words))
    first = add_to(VOCABULARY, words, model)
    before = model.get_input_embeddings().weight.detach().clone()
    again = add_to(VOCABULARY, words, model, seed=1)
    assert np.array_equal(first.ids, again.ids)
    assert len(words) == len(before)
    assert torch.equal(model.get_input_embeddings().weight, before)


def test_a_model_with_room_to_spare_is_not_made_smaller(make_words, make_model):
    model = make_model("t5", tokens=64)
    tokens = add_to(VOCABULARY, make_words(), model)
    assert model.get_input_embeddings().weight.shape == (64, 16)
    assert tokens.ids.max() < 64


def test_text_holds_codes_among_words(make_words, make_model):
    words = make_words()
    tokens = add_to(VOCABULARY, words, make_model("gpt2"))
    (text,) = VOCABULARY.to_strings([[2, 1]])
    ids = words(f"I bought {text}{text} then")["input_ids"]
    code = tokens.encode([[2, 1]])[0].tolist()
    assert ids == [*words.convert_tokens_to_ids(["i", "bought"]), *code, *code, 5]


@of_every_kind
@pytest.mark.parametrize(("before", "after"), [(" ", " "), ("", ""), (" ", " : ")])
def test_codes_stay_whole_in_text_and_text_stays_as_it_was(before, after, make_words, make_model):
    words = make_words()
    plain = "i bought then next :"
    old, start = words(plain)["input_ids"], words("i bought")["input_ids"]
    tokens = add_to(VOCABULARY, words, make_model("gpt2", tokens=len(words)))
    assert words(plain)["input_ids"] == old
    text = "i bought" + before + "".join(VOCABULARY.to_strings([[2, 1], [0, 0]])) + after + "then"
    ids = words(text)["input_ids"]
    codes = tokens.encode([[2, 1], [0, 0]]).ravel().tolist()
    assert ids[: len(start)] == start
    assert [token for token in ids if token in tokens.ids[6:]] == codes
    assert ids[ids.index(codes[0]) :][:4] == codes
    assert tokens.decode_batch([ids])[0].tolist() == [[2, 1], [0, 0]]
    decoded = words.decode(ids)
    assert "".join(decoded.split()) == "".join(text.split())  # nothing is unknown
    assert words.decode([*ids, words.eos_token_id], skip_special_tokens=True) == decoded


@pytest.mark.parametrize("make_words", ["bytes", "unigrams"], indirect=True)
def test_spaces_beside_codes_are_kept(make_words, make_model):
    words = make_words()
    add_to(VOCABULARY, words, make_model("gpt2", tokens=len(words)))
    text = "i bought <a_2><b_1> <a_0><b_0><a_2><b_1> then"
    assert words.decode(words(text)["input_ids"]) == text


@of_every_kind
def test_the_tokens_are_found_in_a_tokenizer_that_was_saved(make_words, make_model, tmp_path):
    words = make_words()
    with pytest.raises(ValueError, match=r"8 of 11 tokens are missing \(first: '<mask>'\)"):
        CodeTokens.of(VOCABULARY, words)
    tokens = add_to(VOCABULARY, words, make_model("gpt2", tokens=len(words)))
    words.save_pretrained(tmp_path)
    loaded = type(words).from_pretrained(tmp_path)
    assert loaded("i bought<a_2><b_1>") == words("i bought<a_2><b_1>")
    assert np.array_equal(CodeTokens.of(VOCABULARY, loaded).ids, tokens.ids)


@of_every_kind
def test_special_tokens_of_other_names_are_added(make_words, make_model):
    vocabulary = Vocabulary((2,), specials=("<eos>", "<cart>"))
    words = make_words()
    tokens = add_to(vocabulary, words, make_model("gpt2", tokens=len(words)))
    assert words.convert_ids_to_tokens(tokens.ids.tolist()) == ["</s>", "<cart>", "<a_0>", "<a_1>"]
    assert tokens.special("<eos>") == words.eos_token_id
    decoded = words.decode(tokens.ids.tolist(), skip_special_tokens=True)
    assert decoded.replace(" ", "") == "<a_0><a_1>"


@of_every_kind
def test_a_tokenizer_without_names_for_special_tokens_gets_them(make_words, make_model):
    words = make_words(unk_token="<unk>")
    tokens = add_to(VOCABULARY, words, make_model("gpt2", tokens=len(words)))
    assert words.pad_token == "<pad>"
    assert words.pad_token_id == tokens.special("<pad>") == 0  # the word was there
    assert words.eos_token == "<eos>"


@pytest.mark.parametrize("initial", ["drawn", "projected", "pca"])
@pytest.mark.parametrize("kind", ["t5", "untied"])
def test_new_embeddings_have_mean_and_deviation_of_the_old(
    initial, kind, tokenizer, make_words, make_model
):
    words, model = make_words(), make_model(kind)
    layers = [model.get_input_embeddings, model.get_output_embeddings]
    old = [layer().weight.detach().numpy().copy() for layer in layers]
    tokens = add_to(tokenizer, words, model, initial=initial)
    for layer, before in zip(layers, old, strict=True):
        weight = layer().weight.detach().numpy()
        expected = np.sqrt(((before - before.mean(axis=0)) ** 2).mean())
        for level in tokens.levels[:2]:
            rows = weight[level]
            close = {"abs": 5 * expected / np.sqrt(len(level))} if initial == "drawn" else {}
            assert rows.mean(axis=0) == pytest.approx(before.mean(axis=0), **close or {"abs": 1e-5})
            deviation = np.sqrt(((rows - before.mean(axis=0)) ** 2).mean())
            assert deviation == pytest.approx(expected, rel=0.3 if initial == "drawn" else 1e-4)
        # The position of the suffix has no codebook.
        drawn = weight[tokens.levels[2]] - before.mean(axis=0)
        assert drawn.std() == pytest.approx(expected, rel=0.1)


def entries(tokenizer):
    """The codebooks, from what the tokenizer decodes codes to."""
    first = tokenizer.decode(np.arange(20)[:, None])["features"]
    codes = np.stack([np.zeros(8, dtype=int), np.arange(8)], axis=1)
    return [first, tokenizer.decode(codes)["features"] - first[0]]


def test_principal_components_keep_the_distances_of_entries(tokenizer, make_words, make_model):
    model = make_model("gpt2")
    tokens = add_to(tokenizer, make_words(), model, initial="pca")
    weight = model.get_input_embeddings().weight.detach().numpy().astype(np.float64)
    for level, rows in zip(tokens.levels, entries(tokenizer), strict=False):
        found, expected = pdist(weight[level]), pdist(rows)
        assert found / found.mean() == pytest.approx(expected / expected.mean(), rel=1e-3)


def test_one_random_matrix_projects_the_entries_of_all_levels(tokenizer, make_words, make_model):
    found = []
    for seed in (0, 0, 1):
        model = make_model("t5")
        tokens = add_to(tokenizer, make_words(), model, initial="projected", seed=seed)
        weight = model.get_input_embeddings().weight.detach().numpy().astype(np.float64)
        found.append([weight[level] - weight[level].mean(axis=0) for level in tokens.levels[:2]])
    assert np.array_equal(found[0][0], found[1][0])
    assert not np.array_equal(found[0][0], found[2][0])
    first, second = (rows - rows.mean(axis=0) for rows in entries(tokenizer))
    matrix = np.linalg.lstsq(first, found[0][0])[0]
    assert first @ matrix == pytest.approx(found[0][0], abs=1e-4)
    expected = second @ matrix
    expected *= found[0][1].std() / expected.std()  # each level has a scale of its own
    assert expected == pytest.approx(found[0][1], abs=1e-4)


def test_what_has_no_codebooks_is_refused_before_anything_changes(make_words, make_model):
    words, model = make_words(), make_model("gpt2")
    with pytest.raises(TypeError, match="initial='pca' needs a Tokenizer, got a Vocabulary"):
        add_to(VOCABULARY, words, model, initial="pca")
    with pytest.raises(NoCodecError):
        add_to(Tokenizer.from_codes(None, [[0]]), words, model, initial="projected")
    with pytest.raises(ValueError, match="initial='zeros' should be 'drawn'"):
        add_to(VOCABULARY, words, model, initial="zeros")
    assert len(words) == model.get_input_embeddings().weight.shape[0]


@given(data=st.data())
def test_rows_of_tokens_come_back_as_codes(data):
    sizes = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    vocabulary = Vocabulary(sizes, specials=data.draw(st.sampled_from([(), ("<pad>", "<eos>")])))
    places = data.draw(st.permutations(range(len(vocabulary) + 5)))
    tokens = CodeTokens(vocabulary, np.array(places[: len(vocabulary)]))
    other = st.sampled_from([*places[len(vocabulary) :], -1, -100])
    code = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    rows, expected = [], data.draw(st.lists(st.lists(code, max_size=3), max_size=3))
    for codes in expected:
        row = [data.draw(other)]
        for one in codes:
            row += [*tokens.encode([one])[0].tolist(), data.draw(other)]
        rows.append(row)
    width = max(map(len, rows), default=0)
    padded = [row + [places[-1]] * (width - len(row)) for row in rows]
    found = tokens.decode_batch(np.array(padded, dtype=np.int64).reshape(len(rows), width))
    assert [codes.tolist() for codes in found] == [
        [list(one) for one in codes] for codes in expected
    ]


def test_rows_that_are_no_codes_are_refused():
    tokens = CodeTokens(VOCABULARY, np.arange(11) + 10)
    with pytest.raises(ValueError, match="row 0 ends within a code"):
        tokens.decode_batch([[16]])
    with pytest.raises(ValueError, match=r"row 0 has .* where a token of level 1 belongs"):
        tokens.decode_batch([[16, 17]])
