"""Vocabulary: codes to tokens and strings and back."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import Vocabulary
from semantic_ids.vocabulary import TokenBatch, level_name

SPECIALS = st.sampled_from([(), ("<pad>",), ("<pad>", "<mask>", "<bos>", "<eos>")])


@st.composite
def coded(draw):
    """A vocabulary and some of its codes."""
    sizes = tuple(draw(st.lists(st.integers(1, 300), min_size=1, max_size=30)))
    row = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    return Vocabulary(sizes, draw(SPECIALS)), draw(st.lists(row, min_size=1, max_size=5))


def test_levels_are_lettered_as_columns_of_a_table():
    letters = "abcdefghijklmnopqrstuvwxyz"
    expected = [*letters, *map("".join, itertools.product(letters, repeat=2)), "aaa", "aab"]
    assert [level_name(level) for level in range(len(expected))] == expected


@given(coded())
def test_tokens_come_back_as_codes(case):
    vocabulary, codes = case
    tokens = vocabulary.encode(codes)
    assert tokens.dtype == np.int64
    back = vocabulary.decode(tokens)
    assert back.dtype == np.int32
    assert back.tolist() == [list(code) for code in codes]


@given(coded())
def test_strings_come_back_as_codes(case):
    vocabulary, codes = case
    strings = vocabulary.to_strings(codes)
    assert vocabulary.from_strings(strings).tolist() == [list(code) for code in codes]


@given(coded())
def test_tokens_count_through_specials_and_positions(case):
    vocabulary, codes = case
    count = itertools.count(len(vocabulary.specials))
    number = {(place, c): next(count) for place, s in enumerate(vocabulary.sizes) for c in range(s)}
    expected = [[number[place, c] for place, c in enumerate(code)] for code in codes]
    assert vocabulary.encode(codes).tolist() == expected
    assert len(vocabulary) == next(count)


def test_strings_are_letters_and_numbers():
    vocabulary = Vocabulary((256,) * 4)
    assert vocabulary.to_strings([[12, 7, 201, 3]]) == ["<a_12><b_7><c_201><d_3>"]
    assert vocabulary.from_strings(["<a_12><b_7><c_201><d_3>"]).tolist() == [[12, 7, 201, 3]]


def test_the_27th_level_has_two_letters():
    text = Vocabulary((2,) * 28).to_strings(np.ones((1, 28), dtype=int))[0]
    assert text.endswith("<y_1><z_1><aa_1><ab_1>")


def test_special_tokens_come_first():
    vocabulary = Vocabulary((4,))
    names = ["<pad>", "<mask>", "<bos>", "<eos>", "<sep>", "<unk>"]
    assert [vocabulary.special(name) for name in names] == list(range(6))
    assert vocabulary.encode([[0]]).tolist() == [[6]]
    with pytest.raises(ValueError, match=r"no special token '<cls>' among \['<pad>'"):
        vocabulary.special("<cls>")


def test_nothing_comes_back_as_nothing():
    vocabulary = Vocabulary((4, 4))
    assert vocabulary.encode([]).shape == (0, 2)
    assert vocabulary.decode([]).shape == (0, 2)
    assert vocabulary.to_strings([]) == []
    assert vocabulary.from_strings([]).shape == (0, 2)


def test_vocabularies_are_values():
    assert Vocabulary((4, 4)) == Vocabulary((4, 4)) != Vocabulary((4, 5))
    assert hash(Vocabulary((4,))) == hash(Vocabulary((4,)))


@pytest.mark.parametrize("method", ["encode", "to_strings"])
def test_codes_out_of_range_are_refused_by_row_and_level(method):
    with pytest.raises(ValueError, match=r"codes: row 1 has 9 at level 2, whose codes are 0 to 3"):
        getattr(Vocabulary((4, 4, 4)), method)([[0, 0, 0], [0, 0, 9]])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[6, 10], [10, 10]], r"tokens - offsets: row 1 has 4 at level 0, whose codes are 0 to 3"),
        ([[6, 14]], r"row 0 has 4 at level 1"),
        ([[0, 10]], r"row 0 has -6 at level 0"),
        ([[6, 10, 14]], r"tokens: expected shape \(n, 2\), got \(1, 3\)"),
        ([[6], [7]], r"tokens: expected shape \(n, 2\), got \(2, 1\)"),
        (6, r"tokens: expected shape \(n, 2\), got \(\)"),
        ([[6.0, 10.0]], r"expected integers .* got float64"),
    ],
)
def test_tokens_of_another_position_are_refused_by_row_and_level(tokens, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary((4, 4)).decode(tokens)


def test_strings_out_of_range_are_refused_by_row_and_level():
    with pytest.raises(ValueError, match="codes: row 1 has 4 at level 1"):
        Vocabulary((4, 4)).from_strings(["<a_0><b_0>", "<a_0><b_4>"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<a_1>",
        "<a_1><b_2><c_3>",
        "<b_1><a_2>",
        "<a_1> <b_2>",
        "<a_1><b_2>\n",
        "<a_-1><b_2>",
        "<a_01><b_2>",
        "<a_1><b_٢>",
        "<A_1><b_2>",
        "<a_99999999999999999999><b_2>",
        f"<a_{'9' * 5000}><b_2>",
    ],
)
def test_strings_of_another_form_are_refused_whole(text):
    form = re.escape(f"strings: expected the form <a_#><b_#>, got {text!r}")
    with pytest.raises(ValueError, match=f"^{form}$"):
        Vocabulary((4, 4)).from_strings([text])


@st.composite
def batches(draw):
    """A vocabulary, sequences of its codes, and how they are to be laid out."""
    sizes = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    specials = tuple(draw(st.permutations(["<pad>", "<bos>", "<eos>", "<sep>", "<my-own>"])))
    row = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    sequences = draw(st.lists(st.lists(row, max_size=6), max_size=5))
    options = {name: draw(st.booleans()) for name in ("bos", "eos", "sep")}
    least = len(sizes) + options["bos"] + options["eos"]
    options["max_length"] = draw(st.none() | st.integers(least, least + 20))
    for name in ("truncation_side", "padding_side"):
        options[name] = draw(st.sampled_from(["left", "right"]))
    return Vocabulary(sizes, specials), sequences, options


def naive_row(
    vocabulary, items, *, bos=False, eos=False, sep=False, max_length=None, truncation_side="left"
):
    """One sequence's tokens by loops; whole items go, one at a time, until the rest fits."""
    row = [vocabulary.special("<bos>")] if bos else []
    for number, code in enumerate(items):
        if sep and number:
            row.append(vocabulary.special("<sep>"))
        for level, entry in enumerate(code):
            before = sum(vocabulary.sizes[:level])
            row.append(len(vocabulary.specials) + before + entry)
    if eos:
        row.append(vocabulary.special("<eos>"))
    if max_length is None or len(row) <= max_length:
        return row
    return naive_row(
        vocabulary,
        items[1:] if truncation_side == "left" else items[:-1],
        bos=bos,
        eos=eos,
        sep=sep,
        max_length=max_length,
        truncation_side=truncation_side,
    )


@given(batches())
def test_a_batch_is_what_loops_make_of_it(case):
    vocabulary, sequences, options = case
    batch = vocabulary.encode_batch(sequences, **options)
    side = options.pop("padding_side")
    rows = [naive_row(vocabulary, items, **options) for items in sequences]
    width = max(map(len, rows), default=0)
    pad = vocabulary.special("<pad>")
    ids, mask = [], []
    for row in rows:
        fill, ones = [pad] * (width - len(row)), [1] * len(row)
        ids.append(fill + row if side == "left" else row + fill)
        mask.append([0] * len(fill) + ones if side == "left" else ones + [0] * len(fill))
    assert batch.input_ids.shape == batch.attention_mask.shape == (len(sequences), width)
    assert batch.input_ids.dtype == batch.attention_mask.dtype == np.int64
    assert batch.input_ids.tolist() == ids
    assert batch.attention_mask.tolist() == mask


@given(batches())
def test_a_batch_comes_back_as_codes(case):
    vocabulary, sequences, options = case
    options["max_length"] = None
    back = vocabulary.decode_batch(vocabulary.encode_batch(sequences, **options).input_ids)
    assert [codes.tolist() for codes in back] == [[list(code) for code in s] for s in sequences]
    assert all(
        codes.dtype == np.int32 and codes.shape[1:] == (len(vocabulary.sizes),) for codes in back
    )


@given(batches(), st.data())
def test_damaged_batches_are_refused_where_a_loop_finds_them_first(case, data):
    vocabulary, sequences, options = case
    ids = vocabulary.encode_batch([*sequences, [(0,) * len(vocabulary.sizes)]], **options).input_ids
    row = data.draw(st.integers(0, len(ids) - 1))
    at = data.draw(st.integers(0, ids.shape[1] - 1))
    ids[row, at] = data.draw(st.integers(-2, len(vocabulary) + 2))
    assert attempt(vocabulary.decode_batch, ids) == attempt(naive_decode, vocabulary, ids)


def attempt(function, *arguments):
    """What a function returns, as lists, or what its error says before the details."""
    try:
        return [np.asarray(codes).tolist() for codes in function(*arguments)]
    except ValueError as error:
        return str(error).partition(",")[0]


def naive_decode(vocabulary, ids):
    rows = []
    wrong = "input_ids: row {} has {} at position {}"
    for number, row in enumerate(ids.tolist()):
        names = [
            (at, vocabulary.token_names[token] if 0 <= token < len(vocabulary) else str(token))
            for at, token in enumerate(row)
        ]
        names = [(at, name) for at, name in names if name not in vocabulary.specials]
        for count, (at, name) in enumerate(names):
            if not name.startswith(f"<{level_name(count % len(vocabulary.sizes))}_"):
                raise ValueError(wrong.format(number, row[at], at))
        rows.append([int(name[3:-1]) for _, name in names])
    for number, row in enumerate(rows):
        if len(row) % len(vocabulary.sizes):
            raise ValueError(f"input_ids: row {number} ends within a code: its last token")
    return [
        [r[i : i + len(vocabulary.sizes)] for i in range(0, len(r), len(vocabulary.sizes))]
        for r in rows
    ]


def test_a_batch_of_histories():
    vocabulary = Vocabulary((4, 4))
    batch = vocabulary.encode_batch(
        [[[0, 0], [1, 2]], np.array([[3, 3]])], bos=True, eos=True, sep=True, padding_side="left"
    )
    assert isinstance(batch, TokenBatch)
    assert batch.input_ids.tolist() == [[2, 6, 10, 4, 7, 12, 3], [0, 0, 0, 2, 9, 13, 3]]
    assert batch.attention_mask.tolist() == [[1] * 7, [0, 0, 0, 1, 1, 1, 1]]


@pytest.mark.parametrize(("sequences", "shape"), [([], (0, 0)), ([[], []], (2, 0))])
def test_a_batch_of_nothing(sequences, shape):
    vocabulary = Vocabulary((4, 4))
    assert vocabulary.encode_batch(sequences).input_ids.shape == shape
    back = vocabulary.decode_batch(np.zeros(shape, dtype=np.int64))
    assert [codes.shape for codes in back] == [(0, 2)] * shape[0]
    assert vocabulary.encode_batch([[], []], bos=True, eos=True).input_ids.tolist() == [[2, 3]] * 2


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        ([[[0, 0]], [[0, 0], [0, 4]]], {}, r"sequences\[1\]: row 1 has 4 at level 1"),
        ([[[0, 0, 0]]], {}, r"sequences\[0\]: expected integers of shape \(n, 2\)"),
        (
            [[0, 0], [1, 1]],
            {},
            r"sequences\[0\]: expected codes of shape \(n, 2\), got shape \(2,\)",
        ),
        ([], {"max_length": 3, "bos": True, "eos": True}, "max_length=3 should be at least 4"),
        ([], {"padding_side": "up"}, "padding_side='up' should be 'left' or 'right'"),
        ([], {"truncation_side": "up"}, "truncation_side='up' should be 'left' or 'right'"),
        ([], {"eos": True}, r"no special token '<eos>' among \['<pad>'\]"),
    ],
)
def test_invalid_batches_are_refused(sequences, options, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary((4, 4), specials=("<pad>",)).encode_batch(sequences, **options)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            [[6, 10, 0], [6, 7, 0]],
            "input_ids: row 1 has 7 at position 1, where a token of level 1 belongs, 10 to 13",
        ),
        ([[14]], "input_ids: row 0 has 14 at position 0, where a token of level 0 .* 6 to 9"),
        ([[-1]], "input_ids: row 0 has -1 at position 0"),
        (
            [[0, 0], [6, 0]],
            "input_ids: row 1 ends within a code: its last token, at position 0, is of level 0",
        ),
        ([[6.0, 10.0]], r"input_ids: expected integers \(B, T\), got float64"),
        ([6, 10], r"input_ids: expected integers \(B, T\), got int64 of shape \(2,\)"),
    ],
)
def test_invalid_rows_are_refused_by_row_position_and_level(ids, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary((4, 4)).decode_batch(ids)


@given(coded())
def test_names_are_those_of_the_ids(case):
    vocabulary, codes = case
    names = vocabulary.token_names
    assert len(names) == len(set(names)) == len(vocabulary)
    assert names[: len(vocabulary.specials)] == list(vocabulary.specials)
    written = ["".join(names[token] for token in row) for row in vocabulary.encode(codes).tolist()]
    assert written == vocabulary.to_strings(codes)


@pytest.mark.parametrize(
    ("specials", "message"),
    [
        (("<pad>", "pad"), "specials: expected names of the form <...>, got 'pad'"),
        (("<>",), "got '<>'"),
        (("<a b>",), "got '<a b>'"),
        (("<a><b>",), "got '<a><b>'"),
        (("<pad>\n",), "got '<pad>"),
        (("<a_12>",), "specials: '<a_12>' has the form of a code's token"),
        (("<zz_007>",), "specials: '<zz_007>' has the form of a code's token"),
        (("<pad>", "<cls>", "<pad>"), "specials: '<pad>' occurs twice"),
    ],
)
def test_ambiguous_special_tokens_are_refused(specials, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary((4, 4), specials)


@pytest.mark.parametrize("sizes", [(), (4, 0)])
def test_sizes_without_codes_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes: expected a number of codes a position"):
        Vocabulary(sizes)


def test_users_have_special_tokens_of_their_own():
    vocabulary = Vocabulary((4,), specials=("<pad>", "<user:12>", "<extra_id_0>", "<CLS>"))
    assert vocabulary.special("<extra_id_0>") == 2
    assert vocabulary.decode_batch([[2, 4, 1, 7, 0]])[0].tolist() == [[0], [3]]
