"""A spec from a file and options is the spec that the package would build."""

import json

import pytest
import typer
import yaml
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import FSQ, RQVAE, NearestFree, RQKMeans, Suffix, TokenizerSpec
from semantic_ids.cli.specs import resolve

levels = st.integers(1, 64)
sizes = st.integers(2, 512)
seeds = st.integers(0, 2**31 - 100)


@given(levels, sizes, seeds, seeds)
def test_options_are_fields(level, size, seed, sample_seed):
    sets = [f"quantizer.seed={seed}", f"seed={sample_seed}"]
    shortcuts = {"quantizer.levels": level, "quantizer.codebook_size": size, "resolver.kind": None}
    assert resolve(TokenizerSpec, None, shortcuts, sets) == TokenizerSpec(
        quantizer=RQKMeans(levels=level, codebook_size=size, seed=seed), seed=sample_seed
    )


@given(levels, st.sampled_from(["json", "yaml"]), st.booleans())
def test_options_win_over_the_file(tmp_path_factory, level, ending, resolver):
    inner = {"kind": "rq-kmeans", "levels": 7, "seed": 3}
    document = {"quantizer": inner, **({"resolver": {"kind": "suffix"}} if resolver else {})}
    path = tmp_path_factory.mktemp("spec") / f"spec.{ending}"
    path.write_text(json.dumps(document) if ending == "json" else yaml.safe_dump(document))
    assert resolve(TokenizerSpec, path, {}, None) == TokenizerSpec.model_validate(document)
    assert resolve(TokenizerSpec, path, {}, [f"quantizer.levels={level}"]) == TokenizerSpec(
        quantizer=RQKMeans(levels=level, seed=3), resolver=Suffix() if resolver else NearestFree()
    )


def test_set_wins_over_a_shortcut_in_any_order():
    spec = resolve(TokenizerSpec, None, {"quantizer.levels": 3}, ["quantizer.levels=5"])
    assert spec.quantizer == RQKMeans(levels=5)


@pytest.mark.parametrize("kind_first", [True, False])
def test_another_kind_begins_a_part_anew(tmp_path, kind_first):
    path = tmp_path / "spec.yaml"
    path.write_text("quantizer: {kind: rq-kmeans, levels: 7, beam: 4}\n")
    sets = ["quantizer.kind=rq-vae", "quantizer.optimisation.epochs=2"]
    spec = resolve(TokenizerSpec, path, {}, sets if kind_first else sets[::-1])
    expected = RQVAE().model_copy(update={"optimisation": spec.quantizer.optimisation})
    assert spec.quantizer == expected
    assert spec.quantizer.optimisation.epochs == 2


def test_the_same_kind_keeps_the_fields_of_the_file(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("quantizer: {kind: rq-kmeans, levels: 7}\n")
    spec = resolve(TokenizerSpec, path, {"quantizer.kind": "rq-kmeans"}, None)
    assert spec.quantizer == RQKMeans(levels=7)


@given(seeds)
def test_one_seed_is_that_of_every_stage_but_those_set_apart(seed):
    spec = resolve(TokenizerSpec, None, {"quantizer.kind": "rq-vae"}, ["text.seed=1"], seed)
    assert (spec.seed, spec.quantizer.seed, spec.text.seed) == (seed, seed, 1)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=5))
def test_values_are_json(list_of):
    sets = [f"quantizer.sizes={json.dumps(list_of)}", "quantizer.kind=fsq"]
    assert resolve(TokenizerSpec, None, {}, sets).quantizer == FSQ(sizes=tuple(list_of))


@pytest.mark.parametrize("text", ["levels", "=3", "quantizer.=3", ".levels=3", "a..b=1"])
def test_what_is_no_field_is_refused(text):
    with pytest.raises(typer.BadParameter, match="expected FIELD=VALUE"):
        resolve(TokenizerSpec, None, {}, [text])
