"""SemanticIDTransformer: scikit-learn's own checks, pipelines, searches."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from semantic_ids import Concat, RQKMeans, Suffix, Tokenizer
from semantic_ids.interop.scikit_learn import SemanticIDTransformer

SMALL = RQKMeans(levels=2, codebook_size=4)

#: Checks of scikit-learn that are expected to fail, each with the reason.
EXPECTED_FAILURES: dict[str, str] = {}


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(200, 6))


@pytest.mark.filterwarnings("ignore:codebook_size=")
@parametrize_with_checks(
    [SemanticIDTransformer(), SemanticIDTransformer(quantizer=SMALL)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_codes_are_those_of_a_tokenizer(rows):
    transformer = SemanticIDTransformer(quantizer=SMALL, fuser=Concat()).fit(rows[:150])
    stages = {"quantizer": SMALL, "fuser": Concat(), "resolver": Suffix()}
    tokenizer = Tokenizer.fit(rows[:150], **stages)
    codes = transformer.transform(rows)
    assert np.array_equal(codes, tokenizer.encode(rows))
    back = transformer.inverse_transform(codes)
    assert np.array_equal(back, tokenizer.decode(codes)["features"])
    assert back.shape == rows.shape


def test_fewer_rows_than_entries_shrink_the_codebooks_with_a_warning(rows):
    quantizer = RQKMeans(levels=2, codebook_size=(4, 256))
    with pytest.warns(UserWarning, match=r"needs at least as many rows, got 200; .*\(4, 200\)"):
        transformer = SemanticIDTransformer(quantizer=quantizer).fit(rows)
    assert transformer.tokenizer_.code_sizes[:2] == (4, 200)
    assert transformer.quantizer == quantizer  # what was asked for stays as it was


def test_more_rows_than_codes_are_no_collision_to_a_transformer(rows):
    quantizer = RQKMeans(levels=1, codebook_size=2)
    codes = SemanticIDTransformer(quantizer=quantizer).fit_transform(rows)
    assert sorted(np.unique(codes).tolist()) == [0, 1]


def test_fields_of_the_specs_are_parameters():
    transformer = SemanticIDTransformer()
    assert transformer.get_params()["quantizer__levels"] == RQKMeans().levels
    assert set(transformer.get_params(deep=False)) == {"quantizer", "fuser"}
    transformer.set_params(quantizer__levels=2, quantizer__codebook_size=8)
    assert transformer.quantizer == RQKMeans(levels=2, codebook_size=8)
    transformer.set_params(quantizer=SMALL, quantizer__seed=5)
    assert transformer.quantizer == RQKMeans(levels=2, codebook_size=4, seed=5)
    assert clone(transformer).get_params() == transformer.get_params()


@pytest.mark.parametrize(
    "wrong", [{"levels": 3}, {"quantizer__depth": 3}, {"quantizer__levels": 0}, {"q__levels": 1}]
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=r"levels|depth"):
        SemanticIDTransformer().set_params(**wrong)


def test_what_is_no_spec_is_refused_at_the_fit(rows):
    with pytest.raises(TypeError, match="expected a Quantizer"):
        SemanticIDTransformer(quantizer=3).fit(rows)  # type: ignore[arg-type]


def test_what_are_no_codes_is_refused(rows):
    transformer = SemanticIDTransformer(quantizer=SMALL)
    for method in (transformer.inverse_transform, transformer.transform):
        with pytest.raises(NotFittedError):
            method(rows)
    with pytest.raises(NotFittedError):
        transformer.get_feature_names_out()
    transformer.fit(rows)
    with pytest.raises(ValueError, match="X: row 0 has 4 at level 1, whose codes are 0 to 3"):
        transformer.inverse_transform([[0, 4]])
    with pytest.raises(ValueError, match=r"X: expected integers of shape \(n, 2\)"):
        transformer.inverse_transform([[0, 1, 2]])


def test_a_search_finds_how_many_levels_a_classifier_needs(rows):
    labels = np.arange(len(rows)) % 2
    rows = rows + 6 * labels[:, None]  # two heaps, which two entries tell apart and one does not
    pipeline = make_pipeline(
        SemanticIDTransformer(quantizer=RQKMeans(levels=1, codebook_size=1)),
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(),
    )
    grid = {"semanticidtransformer__quantizer__codebook_size": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(rows, labels)
    assert search.best_params_ == {"semanticidtransformer__quantizer__codebook_size": 2}
    assert search.best_score_ == 1


def test_frames_keep_the_names_of_their_columns(rows):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(rows, columns=[f"x{i}" for i in range(rows.shape[1])])
    pipeline = make_pipeline(StandardScaler(), SemanticIDTransformer(quantizer=SMALL))
    pipeline.set_output(transform="pandas")
    codes = pipeline.fit_transform(frame)
    assert codes.columns.tolist() == ["code_a", "code_b"]
    assert pipeline[-1].feature_names_in_.tolist() == frame.columns.tolist()
    assert (
        codes.to_numpy().tolist()
        == pipeline[-1].transform(pipeline[0].transform(frame)).to_numpy().tolist()
    )
