"""The name of a codec: the same wherever it does the same, another where it may not."""

import json
import re

import numpy as np
import pytest

from semantic_ids import Concat, NearestFree, RQKMeans, Suffix, Tokenizer
from semantic_ids.fingerprint import fingerprint
from semantic_ids.storage import State, write_state


def vectors(seed=0):
    return np.random.default_rng(seed).normal(size=(100, 4))


def fitted(seed=0, **fields):
    return Tokenizer.fit(
        vectors(seed), **{"quantizer": RQKMeans(levels=2, codebook_size=16), **fields}
    )


def test_what_matters_changes_it_and_what_does_not_does_not():
    one = {"a": np.arange(6, dtype=np.int32), "b": np.zeros(2)}
    name = fingerprint({"x": 1, "y": [2]}, one)
    assert re.fullmatch("[0-9a-f]{64}", name)
    assert fingerprint({"y": [2], "x": 1}, dict(reversed(one.items()))) == name
    assert fingerprint({"x": 1, "y": [2]}, one | {"b": np.zeros(4)[::2]}) == name
    others = [
        ({"x": 1, "y": [3]}, one),
        ({"x": 1, "y": [2]}, one | {"a": np.arange(6, dtype=np.uint32)}),
        ({"x": 1, "y": [2]}, one | {"a": np.arange(6, dtype=np.int32).reshape(2, 3)}),
        ({"x": 1, "y": [2]}, one | {"a": np.array([0, 1, 2, 3, 4, 6], dtype=np.int32)}),
        ({"x": 1, "y": [2]}, one | {"b": np.array([0.0, -0.0])}),
        ({"x": 1, "y": [2]}, {"b": one["a"], "a": one["b"]}),
        ({"x": 1, "y": [2]}, {"a": one["a"]}),
    ]
    assert len({name, *(fingerprint(*other) for other in others)}) == 1 + len(others)


def test_it_names_the_codec_and_not_the_catalogue(tmp_path):
    tokenizer = fitted()
    name = tokenizer.fingerprint
    assert fitted().fingerprint == name
    assert fitted(resolver=Suffix()).fingerprint == name
    tokenizer.add(vectors(1)[:3], ids=[100, 101, 102])
    tokenizer.remove([5])
    assert tokenizer.fingerprint == name
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).fingerprint == name
    others = [
        fitted(seed=1),
        fitted(quantizer=RQKMeans(levels=2, codebook_size=16, seed=1)),
        fitted(fuser=Concat(weights={"features": 2.0})),
    ]
    assert len({name, *(other.fingerprint for other in others)}) == 4


def test_without_a_codec_it_names_sizes_and_order():
    codes = [[0, 1], [1, 0]]
    name = Tokenizer.from_codes(["a", "b"], codes).fingerprint
    assert Tokenizer.from_codes(["c", "d"], codes[::-1]).fingerprint == name
    others = [
        Tokenizer.from_codes(["a", "b"], codes, ordered=False),
        Tokenizer.from_codes(["a", "b"], codes, codebook_sizes=[2, 3]),
        Tokenizer.from_codes(["a", "b"], codes, resolver=None),
    ]
    assert len({name, *(other.fingerprint for other in others)}) == 4


def test_a_catalogue_beside_another_codec_is_refused_naming_both(tmp_path):
    one, other = fitted().to_state(), fitted(seed=1).to_state()
    files = {"catalogue": one.files["catalogue"], "codec": other.files["codec"]}
    write_state(tmp_path, State("tokenizer", one.metadata, files), overwrite=True)
    both = rf"{one.metadata['fingerprint']}, but .* {other.metadata['fingerprint']}"
    assert one.metadata["fingerprint"] != other.metadata["fingerprint"]
    with pytest.raises(ValueError, match=both):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("field", ["seed", "iterations"])
def test_a_spec_that_was_changed_is_refused(tmp_path, field):
    state = fitted(resolver=NearestFree()).to_state()
    metadata = json.loads(json.dumps(dict(state.metadata)))
    metadata["spec"]["quantizer"][field] += 1
    write_state(tmp_path, State("tokenizer", metadata, state.files), overwrite=True)
    with pytest.raises(ValueError, match="fingerprint"):
        Tokenizer.load(tmp_path)
