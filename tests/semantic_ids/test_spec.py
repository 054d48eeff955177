"""Specs are values: frozen, compared, and read back from JSON by their kind."""

from typing import Literal

import pytest
from pydantic import ValidationError

from semantic_ids import (
    Concat,
    Fuser,
    NearestFree,
    Quantizer,
    Resolver,
    RQKMeans,
    SentenceTransformerText,
    Suffix,
    TextVectorizer,
    TfidfText,
)
from semantic_ids import spec as module
from semantic_ids.tokenizer import TokenizerSpec

STAGES = [
    (Fuser, Concat(weights={"text": 2.0})),
    (Quantizer, RQKMeans(levels=2, codebook_size=(8, 4), iterations=3, seed=9)),
    (Resolver, NearestFree()),
    (Resolver, Suffix(max_suffix=7)),
    (TextVectorizer, TfidfText(width=3, ngrams=(1, 2), analyzer="char_wb")),
    (TextVectorizer, SentenceTransformerText(path="models/mini", prompt="item: ")),
]


@pytest.mark.parametrize(("stage", "spec"), STAGES)
def test_a_spec_is_read_back_from_its_fields(stage, spec):
    assert stage.parse(spec.model_dump(mode="json")) == spec
    assert stage.parse(spec) is spec
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(("stage", "spec"), STAGES)
def test_a_spec_cannot_be_changed(stage, spec):
    with pytest.raises(ValidationError, match="frozen"):
        spec.kind = "other"


@pytest.mark.parametrize(("stage", "spec"), STAGES)
def test_fields_that_do_not_exist_are_refused(stage, spec):
    with pytest.raises(ValidationError, match="level_count"):
        stage.parse(spec.model_dump() | {"level_count": 3})


@pytest.mark.parametrize("stage", [Fuser, Quantizer, Resolver, TextVectorizer])
@pytest.mark.parametrize("kind", ["abacus", None, 3, ["rq-kmeans"]])
def test_an_unknown_kind_is_refused_by_name(stage, kind):
    with pytest.raises(ValueError, match=f"unknown {stage.__name__.lower()} kind"):
        stage.parse({"kind": kind})


def test_the_refusal_names_the_kinds_there_are():
    with pytest.raises(ValueError, match=r"'abacus'; known: \[.*'nearest-free'.*'suffix'"):
        Resolver.parse({"kind": "abacus"})


@pytest.mark.parametrize("value", [3, ["rq-kmeans"], None, Concat()])
def test_what_is_no_spec_of_the_stage_is_refused(value):
    with pytest.raises(TypeError, match=r"^quantizer: expected a Quantizer, or its kind, .* got"):
        Quantizer.parse(value)


def test_a_kind_of_another_package_is_found_by_its_entry_point(monkeypatch):
    class Point:
        name = "abacus"

        def load(self):
            class Abacus(Concat):
                kind: Literal["abacus"] = "abacus"

    def entry_points(group, name=None):
        return [Point()] if group == Fuser.group and name in (None, "abacus") else []

    monkeypatch.setattr(module, "entry_points", entry_points)
    monkeypatch.setattr(Fuser, "_kinds", dict(Fuser._kinds))
    assert type(Fuser.parse({"kind": "abacus"})).__name__ == "Abacus"


def test_a_subclass_does_not_take_the_kind_of_its_parent():
    class Louder(Suffix):
        pass

    assert type(Resolver.parse({"kind": "suffix"})) is Suffix
    assert Resolver.parse(Louder()).kind == "suffix"


def test_a_whole_tokenizer_is_one_json_document():
    spec = TokenizerSpec(
        fuser=Concat(weights={"image": 0.5}),
        quantizer=RQKMeans(levels=2, codebook_size=16),
        resolver=Suffix(),
    )
    back = TokenizerSpec.model_validate_json(spec.model_dump_json())
    assert back == spec
    assert type(back.resolver) is Suffix
    assert back != TokenizerSpec()


def test_stages_may_be_plain_dicts():
    spec = TokenizerSpec(
        quantizer={"kind": "rq-kmeans", "levels": 2}, resolver={"kind": "suffix", "max_suffix": 9}
    )
    assert spec == TokenizerSpec(quantizer=RQKMeans(levels=2), resolver=Suffix(max_suffix=9))


def test_the_code_length_is_known_from_the_spec():
    assert TokenizerSpec().code_length == 4
    assert TokenizerSpec(quantizer=RQKMeans(levels=2), resolver=Suffix()).code_length == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: RQKMeans(level=3),
            r"RQKMeans has no field 'level'; did you mean 'levels'\? .*seed",
        ),
        (lambda: TokenizerSpec(quantiser=RQKMeans()), r"'quantiser'; did you mean 'quantizer'\?"),
        (lambda: Suffix(xyzzy=1), r"no field 'xyzzy'; its fields: kind, max_suffix"),
        (lambda: TokenizerSpec(quantizer={"kind": "rq-kmeans", "level": 3}), "mean 'levels'"),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest_one(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "further information" not in str(caught.value)


def test_fields_are_given_by_name():
    with pytest.raises(TypeError, match=r"RQKMeans: give fields by name, got 3 .* levels"):
        RQKMeans(3)


def test_a_kind_alone_takes_the_defaults():
    assert TokenizerSpec(quantizer="rq-kmeans", resolver="suffix").quantizer == RQKMeans()
    with pytest.raises(ValueError, match="unknown quantizer kind 'rq'; known: "):
        TokenizerSpec(quantizer="rq")


def test_no_stage_is_told_with_its_name_and_the_kinds():
    with pytest.raises(TypeError, match=r"^resolver: .* got None; kinds: \[.*'suffix'"):
        TokenizerSpec(resolver=None)
    with pytest.raises(TypeError, match=r"^text: .* got None; kinds: \[.*'tfidf-svd'"):
        TokenizerSpec(text=None)
