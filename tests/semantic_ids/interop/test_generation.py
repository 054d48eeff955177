"""Constrained generation: against a dict of prefixes, and with tiny models, item by item."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import CodeTrie, Vocabulary
from semantic_ids.interop.model_tokens import CodeTokens, add_to

pytest.importorskip("transformers")

from semantic_ids.interop.hugging_face import (
    CodeLogitsProcessor,
    prefix_allowed_tokens_fn,
)

SIZES = (4, 3, 4)


@pytest.fixture(scope="module")
def codes():
    """Seventeen of the forty-eight codes; two first codes are nobody's or one item's alone."""
    every = np.stack(np.unravel_index(np.arange(48), SIZES), axis=1)
    chosen = np.random.default_rng(3).permutation(every[every[:, 0] != 1])[:16]
    return np.concatenate([chosen, [[1, 2, 0]]])


def naive(codes, made, levels, eos, least, most):
    """What may follow the tokens of one row, by looking at every item."""
    items, rest = divmod(len(made), len(levels))
    partial = made[items * len(levels) :]
    following = set()
    if eos not in made and items < most:
        for code in codes:
            tokens = [int(levels[place][one]) for place, one in enumerate(code)]
            if tokens[:rest] == partial:
                following.add(tokens[rest])
    if not following or (rest == 0 and items >= least):
        following.add(eos)
    return following


def chained(rows):
    return list(itertools.chain.from_iterable(rows))


@st.composite
def rows_made(draw):
    """Codes, tokens in some order, and rows of generated tokens, of which many begin codes."""
    sizes = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    vocabulary = Vocabulary(sizes, specials=("<eos>",))
    ids = np.array(draw(st.permutations(range(len(vocabulary) + 3)))[: len(vocabulary)])
    tokens = CodeTokens(vocabulary, ids)
    code = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    codes = draw(st.lists(code, min_size=1, max_size=6, unique=True))
    width = draw(st.integers(0, 3 * len(sizes)))
    whole = [tokens.encode([one])[0].tolist() for one in codes]
    any_token = st.integers(0, len(vocabulary) + 4)
    row = st.lists(st.sampled_from(whole), min_size=3, max_size=3).map(chained)
    rows = draw(st.lists(row, min_size=1, max_size=4))
    for made in rows:
        if draw(st.booleans()):
            made[draw(st.integers(0, len(made) - 1))] = draw(any_token)
    least = draw(st.integers(1, 2))
    return tokens, codes, [made[:width] for made in rows], least, draw(st.integers(least, 3))


@given(case=rows_made(), start=st.integers(0, 2))
def test_what_may_follow_is_what_a_look_at_every_item_says(case, start):
    tokens, codes, rows, least, most = case
    trie = CodeTrie.of(codes, tokens.vocabulary.sizes)
    asked = {"start": start, "min_items": least, "max_items": most}
    processor = CodeLogitsProcessor(trie, tokens, **asked)
    function = prefix_allowed_tokens_fn(trie, tokens, **asked)
    eos = tokens.special("<eos>")
    prompts = [[eos] * start + made for made in rows]
    input_ids = torch.tensor(prompts, dtype=torch.int64).reshape(len(rows), -1)
    size = len(tokens.ids) + 5
    scores = torch.randn(len(rows), size)
    kept = processor(input_ids, scores)
    for row, made in enumerate(rows):
        expected = naive(codes, made, tokens.levels, eos, least, most)
        finite = torch.isfinite(kept[row])
        assert set(finite.nonzero().ravel().tolist()) == expected
        assert torch.equal(kept[row][finite], scores[row][finite])
        assert sorted(function(0, input_ids[row])) == sorted(expected)


@pytest.fixture(params=["t5", "gpt2"])
def setting(request, codes, make_words, make_model):
    """A model that knows the codes, its inputs for prompts of several lengths, and where it starts.

    The prompts end in codes, whole and by halves, which must not be taken for generated ones.
    """
    words, model = make_words(), make_model(request.param)
    vocabulary = Vocabulary(SIZES)
    tokens = add_to(vocabulary, words, model)
    first, second = vocabulary.to_strings(codes[:2])
    prompts = [
        f"i bought {first}",
        f"i bought {first}{second}{second} then",
        "<a_1>",
        "next : <a_0>",
    ]
    inputs = words(prompts, return_tensors="pt", padding=True)
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    start = 1 if request.param == "t5" else inputs["input_ids"].shape[1]
    with torch.no_grad():  # sharper than random weights make it, or all beams would be near ties
        model.get_input_embeddings().weight.mul_(8)
    return model, tokens, inputs, start


def generate(setting, codes, *, plain_function=False, min_items=1, max_items=1, **how):
    """Return what a model generates after its prompts, and the codes in it."""
    model, tokens, inputs, start = setting
    trie = CodeTrie.of(codes, SIZES)
    asked = {"start": start, "min_items": min_items, "max_items": max_items}
    if plain_function:
        how["prefix_allowed_tokens_fn"] = prefix_allowed_tokens_fn(trie, tokens, **asked)
    else:
        how["logits_processor"] = [CodeLogitsProcessor(trie, tokens, **asked)]
    torch.manual_seed(0)
    found = model.generate(
        **inputs,
        max_new_tokens=max_items * len(SIZES) + 1,
        pad_token_id=tokens.special("<pad>"),
        eos_token_id=tokens.special("<eos>"),
        **how,
    )
    made = found[:, start:]
    return made, tokens.decode_batch(made)


def check_rows(setting, codes, made, items, least, most):
    """Every row is so many items of the catalogue, then the end, then what fills it up."""
    _, tokens, _, _ = setting
    known = set(map(tuple, codes.tolist()))
    eos, pad = tokens.special("<eos>"), tokens.special("<pad>")
    for row, found in zip(made.tolist(), items, strict=True):
        assert least <= len(found) <= most
        assert set(map(tuple, found.tolist())) <= known
        end = len(found) * len(SIZES)
        assert row[end] == eos
        # transformers' beam search fills up with the end where the padding is token 0.
        assert set(row[end + 1 :]) <= {pad, eos}


@pytest.mark.parametrize(("least", "most"), [(1, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize(
    "how",
    [
        {"num_beams": 1, "do_sample": False},
        {"num_beams": 1, "do_sample": True, "num_return_sequences": 6},
        {"num_beams": 5, "do_sample": False, "num_return_sequences": 5},
        {"num_beams": 4, "do_sample": True, "num_return_sequences": 4},
    ],
    ids=["greedy", "sampling", "beams", "sampled beams"],
)
def test_every_generated_item_exists(setting, codes, how, least, most):
    made, items = generate(setting, codes, min_items=least, max_items=most, **how)
    assert len(items) == 4 * how.get("num_return_sequences", 1)
    check_rows(setting, codes, made, items, least, most)


def test_as_many_beams_as_items_are_all_the_items(setting, codes):
    made, items = generate(setting, codes, num_beams=len(codes), num_return_sequences=len(codes))
    check_rows(setting, codes, made, items, 1, 1)
    for prompt in range(4):
        found = np.concatenate(items[prompt * len(codes) : (prompt + 1) * len(codes)])
        assert sorted(found.tolist()) == sorted(codes.tolist())


def test_more_beams_than_items_find_every_item_first(setting, codes):
    _, items = generate(setting, codes[:4], num_beams=7, num_return_sequences=7)
    known = sorted(codes[:4].tolist())
    for prompt in range(4):
        found = items[prompt * 7 : prompt * 7 + 7]
        assert sorted(np.concatenate(found[:4]).tolist()) == known
        assert all(item in known for one in found[4:] for item in one.tolist())


def test_beams_find_the_items_that_score_best_one_by_one(setting, codes):
    model, tokens, inputs, start = setting
    _, items = generate(setting, codes, num_beams=len(codes), num_return_sequences=3)
    ends = torch.full((len(codes), 1), tokens.special("<eos>"))
    wanted = torch.cat([torch.as_tensor(tokens.encode(codes)), ends], dim=1)
    for prompt in range(4):
        each = {name: array[[prompt] * len(codes)] for name, array in inputs.items()}
        with torch.no_grad():
            if start == 1:
                logits = model(**each, labels=wanted).logits
            else:
                mask = torch.cat([each["attention_mask"], torch.ones_like(wanted)], dim=1)
                logits = model(
                    input_ids=torch.cat([each["input_ids"], wanted], dim=1),
                    attention_mask=mask,
                    position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
                ).logits[:, start - 1 : -1]
        steps = logits.log_softmax(dim=-1).gather(2, wanted[:, :, None])
        best = steps.sum(dim=(1, 2)).argsort(descending=True)[:3]
        assert np.concatenate(items[prompt * 3 : prompt * 3 + 3]).tolist() == codes[best].tolist()


@pytest.mark.parametrize("beams", [1, 4])
def test_the_function_does_the_same_as_the_processor(setting, codes, beams):
    asked = {"num_beams": beams, "max_items": 2, "do_sample": False}
    made, _ = generate(setting, codes, **asked)
    same, _ = generate(setting, codes, plain_function=True, **asked)
    assert torch.equal(made, same)


@pytest.mark.parametrize("setting", ["gpt2"], indirect=True)
def test_a_row_does_not_depend_on_its_batch(setting, codes):
    model, tokens, inputs, _ = setting
    _, together = generate(setting, codes, num_beams=3)
    alone = {name: array[2:3, -1:] for name, array in inputs.items()}  # its one token
    _, (found,) = generate((model, tokens, alone, 1), codes, num_beams=3)
    assert found.tolist() == together[2].tolist()


def test_what_cannot_be_is_refused(codes):
    tokens = CodeTokens(Vocabulary(SIZES, specials=("<eos>",)), np.arange(12))
    trie = CodeTrie.of(codes, SIZES)
    for make in (CodeLogitsProcessor, prefix_allowed_tokens_fn):
        with pytest.raises(ValueError, match="trie: it holds no items"):
            make(CodeTrie.of([], SIZES), tokens)
        with pytest.raises(ValueError, match=r"tokens: codes of sizes \[4, 3, 4\], but"):
            make(CodeTrie.of([[0]], [2]), tokens)
        with pytest.raises(ValueError, match="no special token '<eos>'"):
            make(trie, CodeTokens(Vocabulary(SIZES, specials=()), np.arange(11)))
        with pytest.raises(ValueError, match="start=-1"):
            make(trie, tokens, start=-1)
        with pytest.raises(ValueError, match="min_items=2, max_items=1: expected"):
            make(trie, tokens, min_items=2)
    with pytest.raises(ValueError, match="scores: 11 tokens, but those of the codes go up to 11"):
        CodeLogitsProcessor(trie, tokens)(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 11))
