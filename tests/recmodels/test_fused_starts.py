import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recmodels import DynamicFusion, Optimisation, QBert4Rec, QBert4RecSpec
from recmodels.data import Dataset, synthetic_catalogue, unite
from recmodels.fused_starts import fused_starts, main_directions
from semantic_ids import NoCodecError, RQKMeans, Tokenizer, TokenizerSpec

NOTHING = Optimisation(epochs=0)
TINY = TokenizerSpec(
    fuser=DynamicFusion(width=16, heads=2, optimisation=Optimisation(epochs=2)),
    quantizer=RQKMeans(levels=3, codebook_size=16),
)
FUSED = {"item_start": "fused", "width": 8, "max_history": 12}

MATRICES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(2, 12), st.integers(1, 6)),
    elements=st.integers(-20, 20).map(float),
)


@pytest.fixture(scope="module")
def dataset():
    return synthetic_catalogue(items=90, users=60)


@pytest.fixture(scope="module")
def tokenizer(dataset):
    return TINY.fit(dataset.features, progress=False)


def squared_distances(rows):
    rows = rows.astype(np.float64)
    return ((rows[:, None] - rows[None]) ** 2).sum(axis=-1)


@settings(deadline=None)
@given(MATRICES, st.integers(0, 3))
def test_with_room_for_all_directions_distances_stay_up_to_one_factor(matrix, more):
    rows = main_directions(matrix, matrix.shape[1] + more)
    assert rows.shape == (len(matrix), matrix.shape[1] + more)
    assert rows.dtype == np.float32
    centred = matrix - matrix.mean(axis=0, dtype=np.float64)
    spread = (centred**2).sum(axis=1).mean()
    if spread == 0:
        assert not rows.any()
        return
    np.testing.assert_allclose(
        squared_distances(rows), squared_distances(matrix) / spread, atol=1e-4
    )


@settings(deadline=None)
@given(MATRICES, st.integers(1, 6))
def test_fewer_columns_are_those_of_the_largest_singular_values(matrix, width):
    centred = matrix - matrix.mean(axis=0, dtype=np.float64)
    values = np.linalg.svd(centred, compute_uv=False)[:width]
    if not values.any():
        return
    squares = np.zeros(width)
    squares[: len(values)] = values**2 / (values**2).sum() * len(matrix)
    found = (main_directions(matrix, width).astype(np.float64) ** 2).sum(axis=0)
    np.testing.assert_allclose(found, squares, atol=1e-3 * len(matrix))


def test_an_item_starts_from_its_own_fused_vector(dataset, tokenizer):
    order = np.random.default_rng(0).permutation(dataset.size)[:70]
    fewer = Dataset("fewer", dataset.ids[order], dataset.features.rows(order))
    starts = fused_starts(QBert4RecSpec(**FUSED), tokenizer, fewer)
    fused = main_directions(tokenizer.fuser.transform(fewer.features).matrix, 8)
    rows = {name: row for row, name in enumerate(tokenizer.ids.tolist())}
    for name, vector in zip(fewer.ids.tolist(), fused, strict=True):
        assert np.array_equal(starts[rows.pop(name)], vector)
    assert not starts[list(rows.values())].any()  # those that the data set lacks


def test_without_training_own_vectors_are_what_they_started_from(dataset, tokenizer):
    model = QBert4Rec.fit(
        dataset,
        tokenizer=tokenizer,
        pretraining=NOTHING,
        finetuning=NOTHING,
        progress=False,
        **FUSED,
    )
    own = model.item_parts()["item"]
    starts = fused_starts(model.spec, tokenizer, dataset)
    known = np.isin(np.arange(dataset.size), dataset.split().train.items)
    assert known.any()
    assert np.array_equal(own[known], starts[known])
    assert not own[~known].any()  # nobody had them


def test_fine_tuning_goes_on_from_what_was_trained_and_from_zeros():
    first, second = synthetic_catalogue(60, 50, seed=1), synthetic_catalogue(70, 50, seed=2)
    model = QBert4Rec.pretrain(
        [first], tokenizer=TINY, pretraining=Optimisation(epochs=1), progress=False, **FUSED
    )
    again, new = (
        model.finetune(dataset, finetuning=NOTHING, progress=False).item_parts()["item"]
        for dataset in (unite([first]), second)
    )
    assert np.array_equal(again, model.item_parts()["item"])
    assert again.any()
    assert not np.array_equal(again, fused_starts(model.spec, model.tokenizer, unite([first])))
    assert not new.any()


@pytest.mark.parametrize("offset", [0, 1e3, 1e6])
def test_directions_do_not_depend_on_how_far_away_the_rows_are(offset):
    rng = np.random.default_rng(0)
    # Steps that float32 still tells apart there.
    steps = rng.integers(-8, 9, size=(200, 6)).astype(np.float32)
    near, far = main_directions(steps, 3), main_directions(np.float32(offset) + steps, 3)
    np.testing.assert_allclose(np.abs(far), np.abs(near), atol=1e-4)


def test_rows_that_hardly_differ_give_numbers():
    rows = np.full((30, 2), 1000.0, dtype=np.float32)
    rows[7, 1] = np.nextafter(rows[7, 1], np.float32(2000))
    found = main_directions(rows, 2)
    assert np.isfinite(found).all()
    np.testing.assert_allclose((found.astype(np.float64) ** 2).sum(axis=1).mean(), 1, rtol=1e-5)


def test_random_starts_ask_for_nothing(dataset):
    bare = Dataset("bare", dataset.ids, histories=dataset.histories, users=dataset.users)
    codes = Tokenizer.from_codes(dataset.ids, np.arange(dataset.size)[:, None])
    assert fused_starts(QBert4RecSpec(), codes, bare) is None


def test_what_has_no_fused_vectors_is_refused(dataset, tokenizer):
    bare = Dataset("bare", dataset.ids, histories=dataset.histories, users=dataset.users)
    with pytest.raises(ValueError, match="item_start='fused': the data set 'bare' has no features"):
        QBert4Rec.fit(bare, tokenizer=tokenizer, progress=False, **FUSED)
    codes = Tokenizer.from_codes(dataset.ids, np.arange(dataset.size)[:, None])
    with pytest.raises(NoCodecError):
        QBert4Rec.fit(dataset, tokenizer=codes, progress=False, **FUSED)
    with pytest.raises(ValueError, match="item_start='fused' needs item in item_parts"):
        QBert4RecSpec(item_start="fused", item_parts=("codes",))
