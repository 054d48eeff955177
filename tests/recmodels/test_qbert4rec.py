import shutil

import numpy as np
import pytest
import torch

from recmodels import (
    DynamicFusion,
    MaskMix,
    Optimisation,
    QBert4Rec,
    QBert4RecSpec,
    early_stopping,
)
from recmodels.baselines import ContentKNN, Popularity
from recmodels.catalogue_split import catalogue_split
from recmodels.data import Dataset, Histories, planted_catalogue, synthetic_catalogue
from recmodels.evaluation import evaluate, target_ranks
from semantic_ids import (
    RQVAE,
    Concat,
    RQKMeans,
    StaleFolderError,
    Tokenizer,
    TokenizerSpec,
    UnknownItemError,
)
from semantic_ids.checkpoints import checkpoints
from semantic_ids.storage import State, read_state, write_state

SHORT = Optimisation(epochs=2, learning_rate=3e-3)
TINY = TokenizerSpec(
    fuser=DynamicFusion(width=16, heads=2, optimisation=Optimisation(epochs=3)),
    quantizer=RQKMeans(levels=3, codebook_size=16),
)
TABLE = "encoder.items.parts.codes.table.weight"
FIELDS = {"width": 16, "max_history": 12, "pretraining": SHORT, "finetuning": SHORT}


def fit(dataset, **fields):
    return QBert4Rec.fit(dataset, progress=False, **{"tokenizer": TINY, **FIELDS, **fields})


def weights(model, folder):
    """All that a model stores, by name."""
    model.save(folder)
    files = read_state(folder, "qbert4rec").files
    return {f"{name}.{key}": a for name, arrays in files.items() for key, a in arrays.items()}


@pytest.fixture(scope="module")
def dataset():
    return synthetic_catalogue(items=200, users=150)


@pytest.fixture(scope="module")
def model(dataset):
    return fit(dataset)


def with_histories(dataset, histories):
    return Dataset(
        dataset.name, dataset.ids, dataset.features, Histories.of(histories), dataset.users
    )


def test_recommendations_are_the_best_scores_of_the_whole_catalogue(model, dataset):
    histories = [dataset.ids[dataset.histories[u]] for u in range(5)]
    best = model.recommend(histories, k=7)
    scores = model.scores(dataset.histories.take(np.arange(5)))
    for user in range(5):
        order = sorted(range(dataset.size), key=lambda item: (-scores[user, item], item))[:7]
        assert list(best.ids[user]) == dataset.ids[order].tolist()
        np.testing.assert_array_equal(best.scores[user], scores[user, order])


def test_evaluation_ranks_the_last_item_after_all_others(model, dataset):
    found = model.evaluate(dataset, progress=False)
    histories = [history.tolist() for history in dataset.histories]
    scores = model.scores(Histories.of([history[:-1] for history in histories]))
    targets = np.array([history[-1] for history in histories])
    ranks = target_ranks(scores, targets)
    # Other batch shapes may move a score by a rounding, so neighbours may change places.
    assert np.abs(found.ranks - ranks).max() <= 1
    validation = model.evaluate(dataset, part="validation", progress=False)
    assert validation.metrics.ndcg_10 == max(model.log.finetuning.validation)


def test_save_and_load_change_nothing(model, dataset, tmp_path):
    model.save(tmp_path / "model")
    loaded = QBert4Rec.load(tmp_path / "model")
    assert loaded.spec == model.spec
    assert np.array_equal(loaded.scores(dataset.histories), model.scores(dataset.histories))
    assert np.array_equal(loaded.tokenizer.codes, model.tokenizer.codes)
    history = dataset.ids[dataset.histories[0]].tolist()
    assert loaded.recommend([history]).ids == model.recommend([history]).ids


def test_a_damaged_model_is_refused(model, tmp_path):
    folder = tmp_path / "model"
    model.save(folder)
    path = next(folder.glob("encoder-*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=path.name):
        QBert4Rec.load(folder)
    with pytest.raises(ValueError, match="holds a qbert4rec, expected a tokenizer"):
        Tokenizer.load(folder)


def test_fitting_repeats_bit_for_bit(model, dataset, tmp_path):
    first, again = weights(model, tmp_path / "a"), weights(fit(dataset), tmp_path / "b")
    assert first.keys() == again.keys()
    for name, array in first.items():
        assert np.array_equal(array, again[name]), name


def test_another_seed_gives_other_weights(model, dataset, tmp_path):
    first, other = weights(model, tmp_path / "a"), weights(fit(dataset, seed=1), tmp_path / "b")
    assert np.array_equal(first["catalogue.codes"], other["catalogue.codes"])
    assert not np.array_equal(first[TABLE], other[TABLE])


def test_the_last_item_of_a_user_leaves_no_trace(model, dataset, tmp_path):
    """Other test targets, bit-identical codes, counts and weights."""
    rng = np.random.default_rng(5)
    histories = [[*row[:-1].tolist(), int(rng.integers(dataset.size))] for row in dataset.histories]
    other = with_histories(dataset, histories)
    assert other.histories != dataset.histories
    first, second = weights(model, tmp_path / "a"), weights(fit(other), tmp_path / "b")
    for name, array in first.items():
        assert np.array_equal(array, second[name]), name
    counts = Popularity.fit(dataset.split()).counts
    assert np.array_equal(counts, Popularity.fit(other.split()).counts)


def test_the_validation_item_only_chooses_the_epoch(dataset, tmp_path):
    """With one epoch there is nothing to choose: the last two items leave no trace."""
    rng = np.random.default_rng(6)
    histories = [
        [*row[:-2].tolist(), *rng.integers(dataset.size, size=2).tolist()]
        for row in dataset.histories
    ]
    once = Optimisation(epochs=1)
    first = fit(dataset, finetuning=once)
    second = fit(with_histories(dataset, histories), finetuning=once)
    one, two = weights(first, tmp_path / "a"), weights(second, tmp_path / "b")
    for name, array in one.items():
        assert np.array_equal(array, two[name]), name


def test_a_training_item_does_leave_a_trace(model, dataset, tmp_path):
    """The two tests above can fail: change what may be learnt from, and weights change."""
    histories = [row.tolist() for row in dataset.histories]
    histories[0][0] = (histories[0][0] + 1) % dataset.size
    first = weights(model, tmp_path / "a")
    second = weights(fit(with_histories(dataset, histories)), tmp_path / "b")
    assert not np.array_equal(first[TABLE], second[TABLE])


@pytest.mark.parametrize(
    "fuser", [Concat(), DynamicFusion(width=32, optimisation=Optimisation(epochs=30))]
)
def test_a_planted_rule_is_learnt_from_content_alone(fuser):
    """Targets never occur in training: popularity, ids and permuted codes are at chance."""
    planted = planted_catalogue()
    tokenizer = Tokenizer.fit(
        planted.features,
        fuser=fuser,
        quantizer=RQKMeans(levels=3, codebook_size=32),
        progress=False,
    )
    fields = {
        "item_parts": ("codes",),
        "width": 32,
        "dropout": 0.1,
        "pretraining": Optimisation(epochs=2, learning_rate=5e-3),
        "finetuning": Optimisation(epochs=6, learning_rate=5e-3),
    }
    order = np.random.default_rng(0).permutation(len(tokenizer))
    permuted = Tokenizer.from_codes(
        tokenizer.ids, tokenizer.codes[order], codebook_sizes=tokenizer.code_sizes, resolver=None
    )
    found = {
        name: fit(planted, tokenizer=codes, **fields).evaluate(planted, progress=False)
        for name, codes in (("content", tokenizer), ("permuted", permuted))
    }
    split = planted.split()
    popularity = evaluate(Popularity.fit(split), split.test, progress=False).metrics.hr_10
    chance = 10 / planted.size
    content, control = found["content"].metrics.hr_10, found["permuted"].metrics.hr_10
    assert content > 3 * max(popularity, chance, control)
    assert content > 0.15


def test_pretraining_counts_masks_and_fallbacks(dataset):
    users = [row.tolist()[:4] for row in dataset.histories]
    short = with_histories(dataset, users)
    only_regions = MaskMix(span=0, tail=0, multi_region=1, random=0)
    log = fit(short, masks=only_regions).log
    # Two training items a user: no room for two runs.
    assert log.masked_sequences == log.fallbacks == 2 * len(users)


def test_a_fitted_tokenizer_may_know_more_items(dataset):
    """The whole catalogue is ranked, in the tokenizer's order, not the data set's."""
    order = np.random.default_rng(1).permutation(dataset.size)
    tokenizer = Tokenizer.fit(
        dataset.features.rows(order), quantizer=TINY.quantizer, progress=False
    )
    model = fit(dataset, tokenizer=tokenizer)
    history = dataset.ids[dataset.histories[0]].tolist()
    rows = [tokenizer.ids.tolist().index(item) for item in history]
    expected = model.scores(Histories.of([rows]))[0].argmax()
    assert model.recommend([history], k=1).ids[0][0] == tokenizer.ids[expected]


def test_items_that_come_and_go_are_ranked_as_the_catalogue_stands(dataset, tmp_path):
    tokenizer = Tokenizer.fit(dataset.features, quantizer=TINY.quantizer, progress=False)
    model = fit(dataset, tokenizer=tokenizer)
    history = dataset.ids[dataset.histories[0]].tolist()
    before = model.recommend([history], k=dataset.size)
    scores = dict(zip(before.ids[0], before.scores[0], strict=True))

    tokenizer.remove(dataset.ids[:50])  # the caller's tokenizer is the caller's own
    assert model.recommend([history], k=dataset.size).ids == before.ids

    gone = next(item for item in before.ids[0] if item not in history)
    model.tokenizer.remove(gone)
    row = int(np.flatnonzero(dataset.ids == history[0])[0])
    model.tokenizer.add(
        {"text": dataset.features.modality("text")[0][row : row + 1]}, ids=["newcomer"]
    )
    after = model.recommend([history, ["newcomer"]], k=dataset.size)
    assert set(after.ids[0]) == set(before.ids[0]) - {gone} | {"newcomer"}
    for item, score in zip(after.ids[0], after.scores[0], strict=True):
        if item != "newcomer":
            assert score == pytest.approx(scores[item], abs=1e-4)
    model.save(tmp_path / "m")
    assert (
        QBert4Rec.load(tmp_path / "m").recommend([history], k=9).ids
        == model.recommend([history], k=9).ids
    )


def test_the_spec_names_the_tokenizer_that_was_used(dataset, model):
    assert model.spec.tokenizer == TINY
    tokenizer = Tokenizer.fit(dataset.features, quantizer=TINY.quantizer, progress=False)
    assert fit(dataset, tokenizer=tokenizer).spec.tokenizer == tokenizer.spec


def test_the_second_of_two_writers_is_told(model, tmp_path):
    model.save(tmp_path / "m")
    first, second = QBert4Rec.load(tmp_path / "m"), QBert4Rec.load(tmp_path / "m")
    first.tokenizer.remove(first.tokenizer.ids[:1])
    first.save(tmp_path / "m")
    with pytest.raises(StaleFolderError):
        second.save(tmp_path / "m")


def test_a_model_refuses_another_tokenizer(dataset, tmp_path):
    tokenizer = Tokenizer.fit(dataset.features, quantizer=TINY.quantizer, progress=False)
    model = fit(dataset, tokenizer=tokenizer)
    model.save(tmp_path / "m")
    other = tokenizer.refit(dataset.features.rows(np.arange(190)), progress=False).tokenizer
    both = rf"trained on one with fingerprint {tokenizer.fingerprint}, .* {other.fingerprint}"
    model.tokenizer = other
    for call in (lambda: model.save(tmp_path / "m"), lambda: model.recommend([[]], k=3)):
        with pytest.raises(ValueError, match=both):
            call()
    state = read_state(tmp_path / "m", "qbert4rec")
    theirs = other.to_state()
    metadata = {**state.metadata, "tokenizer": theirs.metadata}
    files = {**state.files, **theirs.files}
    write_state(tmp_path / "m", State("qbert4rec", metadata, files), overwrite=True)
    with pytest.raises(ValueError, match=both):
        QBert4Rec.load(tmp_path / "m")
    model.tokenizer = tokenizer
    model.tokenizer.remove(dataset.ids[:1])  # another catalogue, but the same codec
    model.save(tmp_path / "again")
    assert len(QBert4Rec.load(tmp_path / "again").tokenizer) == dataset.size - 1


def test_a_model_is_not_overwritten_by_a_tokenizer(model, tmp_path):
    model.save(tmp_path / "m")
    with pytest.raises(FileExistsError, match="not that of a tokenizer"):
        model.tokenizer.save(tmp_path / "m")
    QBert4Rec.load(tmp_path / "m")


def test_another_model_is_refused_unless_it_is_to_overwrite(model, tmp_path):
    model.save(tmp_path / "m")
    loaded = QBert4Rec.load(tmp_path / "m")
    loaded.save(tmp_path / "n")
    with pytest.raises(FileExistsError, match=r"holds a qbert4rec .* overwrite=True"):
        QBert4Rec.load(tmp_path / "m").save(tmp_path / "n")
    QBert4Rec.load(tmp_path / "m").save(tmp_path / "n", overwrite=True)


def test_an_empty_history_gets_recommendations(model):
    assert len(model.recommend([[]], k=3).ids[0]) == 3
    assert len(model.recommend([], k=3)) == 0


def test_unknown_items_can_be_skipped_and_seen_ones_left_out(model, dataset):
    history = dataset.ids[dataset.histories[0]].tolist()
    skipped = model.recommend([["nobody", *history, "nothing"], ["nobody"]], unknown="skip")
    expected = model.recommend([history, []])
    assert skipped.ids == expected.ids
    everything = model.recommend([history], k=dataset.size, exclude_seen=True)
    whole = model.recommend([history], k=dataset.size).ids[0]
    assert everything.ids[0] == tuple(item for item in whole if item not in history)
    with pytest.raises(ValueError, match='unknown: expected "error" or "skip"'):
        model.recommend([history], unknown="ignore")


@pytest.mark.parametrize("history", [[3, 4], ["nobody", 5]])
def test_ids_of_another_kind_are_not_skipped(model, history):
    with pytest.raises(UnknownItemError, match="this catalogue's ids are str, got"):
        model.recommend([history], unknown="skip")


def test_some_users_choose_the_epoch(dataset, monkeypatch):
    """The same ones after every epoch, so many as the spec says."""
    asked = []
    real = early_stopping.evaluate

    def watched(scorer, held, **options):
        asked.append(held.targets.tolist())
        return real(scorer, held, **options)

    monkeypatch.setattr(early_stopping, "evaluate", watched)
    fit(dataset, validated_users=7, finetuning=Optimisation(epochs=2))
    assert len(asked) == 2
    assert asked[0] == asked[1]
    assert len(asked[0]) == 7


@pytest.mark.parametrize(
    ("positions", "cosine"),
    [("item", True), ("item", False), ("code", True), ("transfer", False), ("transfer", True)],
)
def test_an_explanation_adds_up(dataset, positions, cosine):
    model = fit(dataset, positions=positions, cosine=cosine)
    history = dataset.ids[dataset.histories[0]][-5:].tolist()
    best = model.recommend([history], k=dataset.size)
    shown = [0, 1, 2, best.ids[0].index(history[0])]
    items, scores = [best.ids[0][at] for at in shown], best.scores[0][shown]
    found = model.explain(history, items)
    parts = {"code a", "code b", "code c", "item", "features"}
    for one, item, score in zip(found, items, scores, strict=True):
        assert one.parts.item == item
        assert set(one.parts.names) - parts == ({"in the history"} if item in history else set())
        assert set(one.parts.names) >= parts
        assert one.parts.score == pytest.approx(score, abs=1e-4)
        row = model.tokenizer.rows(item)[0]
        # One at a time, by scoring the history without it.
        rows = model.tokenizer.rows(history).tolist()
        expected = {
            history[at]: score - model.scores(Histories.of([rows[:at] + rows[at + 1 :]]))[0, row]
            for at in range(len(rows))
        }
        assert dict(one.drops) == pytest.approx(expected, abs=1e-4)
        drops = [drop for _, drop in one.drops]
        assert drops == sorted(drops, reverse=True)


def test_features_of_added_items_are_kept(dataset, tmp_path):
    """An item that comes by the model is scored by its features, not by what its code kept."""
    model = fit(dataset)
    text, image = (dataset.features.modality(name)[0] for name in ("text", "image"))
    twin = {"text": text[:1], "image": image[:1]}
    model.add(twin, ids=["twin"])
    model.tokenizer.add(twin, ids=["stranger"])
    parts, ids = model.item_parts(), model.tokenizer.ids.tolist()
    features = parts["features"]
    same = features[ids.index(dataset.ids[0])]
    np.testing.assert_allclose(features[ids.index("twin")], same, atol=1e-5)
    assert np.abs(features[ids.index("stranger")] - same).max() > 1e-3
    assert not parts["item"][ids.index("twin")].any()
    # What is there already, given once more, changes nothing.
    model.add(twin, ids=dataset.ids[:1])
    assert parts["item"][ids.index(dataset.ids[0])].any()
    again = model.item_parts()
    for name, part in parts.items():
        np.testing.assert_allclose(again[name], part, atol=1e-5, err_msg=name)
    parts = again
    model.save(tmp_path / "m")
    loaded = QBert4Rec.load(tmp_path / "m").item_parts()
    for name, part in parts.items():
        assert np.array_equal(loaded[name], part), name


@pytest.mark.parametrize("parts", [("codes",), ("item",), ("features",), ("item", "features")])
def test_a_model_of_some_parts_is_saved_and_loaded(dataset, parts, tmp_path):
    model = fit(dataset, item_parts=parts)
    assert tuple(model.item_parts()) == parts
    model.save(tmp_path / "m")
    loaded = QBert4Rec.load(tmp_path / "m")
    assert np.array_equal(loaded.scores(dataset.histories), model.scores(dataset.histories))
    assert loaded.parameters == model.parameters


@pytest.mark.parametrize("positions", ["code", "transfer"])
def test_a_model_of_several_positions_an_item_ranks_and_is_stored(dataset, positions, tmp_path):
    """Scores are products with the parts' sum, before and after a save, of a newcomer as well."""
    model = fit(dataset, positions=positions)
    # The masks of two further slots are all that there is more of.
    assert model.parameters == fit(dataset).parameters + 2 * model.spec.width
    text = dataset.features.modality("text")[0]
    model.add({"text": text[:1]}, ids=["newcomer"])
    parts = model.item_parts()
    width = model.spec.width * model.tokenizer.code_length
    assert {part.shape for part in parts.values()} == {(dataset.size + 1, width)}
    scores = model.scores(dataset.histories)
    assert scores.shape == (len(dataset.histories), dataset.size + 1)
    assert np.isfinite(scores).all()
    model.save(tmp_path / "m")
    loaded = QBert4Rec.load(tmp_path / "m")
    assert np.array_equal(loaded.scores(dataset.histories), scores)
    assert loaded.spec == model.spec
    assert loaded.parameters == model.parameters


@pytest.mark.parametrize("positions", ["item", "code", "transfer"])
@pytest.mark.parametrize("objective", ["sampled", "levels"])
def test_other_objectives_learn(dataset, objective, positions):
    log = fit(dataset, objective=objective, positions=positions, negatives=64).log
    assert log.finetuning.losses[-1] < log.pretraining.losses[0]


def test_training_goes_on_where_it_was_killed(dataset, tmp_path):
    """Cut off after pretraining, the same lines end with the same weights."""
    tokenizer = Tokenizer.fit(dataset.features, quantizer=TINY.quantizer, progress=False)
    whole = weights(fit(dataset, tokenizer=tokenizer), tmp_path / "a")

    class Killed(Exception):
        pass

    def killed(*_args, **_kwargs):
        raise Killed

    with pytest.MonkeyPatch.context() as patch, checkpoints(tmp_path / "run", every=0):
        patch.setattr("recmodels.qbert4rec_training.finetune", killed)
        with pytest.raises(Killed):
            fit(dataset, tokenizer=tokenizer)
    # A pretraining that is done serves for another fine-tuning too.
    longer = Optimisation(epochs=3, learning_rate=1e-3)
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    with checkpoints(tmp_path / "other", every=0):
        other = fit(dataset, tokenizer=tokenizer, finetuning=longer)
    with checkpoints(tmp_path / "run", every=0):
        again = weights(fit(dataset, tokenizer=tokenizer), tmp_path / "b")
    assert all(np.array_equal(whole[name], again[name]) for name in whole)
    anew = weights(fit(dataset, tokenizer=tokenizer, finetuning=longer), tmp_path / "c")
    other = weights(other, tmp_path / "d")
    assert all(np.array_equal(anew[name], other[name]) for name in anew)
    for fields in ({"pretraining": longer}, {"masks": MaskMix(span=1, tail=0)}, {"width": 32}):
        with (
            checkpoints(tmp_path / "other", every=0),
            pytest.raises(ValueError, match="pretraining: holds the training of another spec"),
        ):
            fit(dataset, tokenizer=tokenizer, **fields)


def test_bad_input_is_refused_by_name(model, dataset):
    with pytest.raises(UnknownItemError, match="'nobody'"):
        model.recommend([["nobody"]])
    with pytest.raises(ValueError, match=r"histories\[0\]: expected a sequence of ids"):
        model.recommend(dataset.ids[:3].tolist())
    with pytest.raises(ValueError, match="part: expected"):
        model.evaluate(dataset, part="train")
    with pytest.raises(TypeError, match="tokenizer: expected a Tokenizer"):
        fit(dataset, tokenizer=TINY.quantizer)
    with pytest.raises(ValueError, match=r"k=201 .* 200"):
        model.recommend([[]], k=201)
    with pytest.raises(ValueError, match="heads=3 does not divide width=64"):
        QBert4RecSpec(heads=3)
    with pytest.raises(ValueError, match="named twice"):
        QBert4RecSpec(item_parts=("codes", "codes"))
    with pytest.raises(ValueError, match="objective='levels' needs codes"):
        QBert4RecSpec(item_parts=("item",), objective="levels")
    with pytest.raises(ValueError, match="positions='code' needs codes"):
        QBert4RecSpec(item_parts=("item",), positions="code")
    with pytest.raises(ValueError, match="levels"):
        fit(dataset, levels=3)
    bare = Dataset("bare", dataset.ids, None, dataset.histories, dataset.users)
    with pytest.raises(ValueError, match="bare has no features"):
        fit(bare)
    silent = Dataset("silent", dataset.ids, dataset.features)
    with pytest.raises(ValueError, match="silent has no histories"):
        fit(silent)
    three = with_histories(dataset, [row.tolist()[:3] for row in dataset.histories])
    with pytest.raises(ValueError, match="4 items"):
        fit(three)


def test_the_spec_is_a_json_value():
    spec = QBert4RecSpec(tokenizer=TINY, **FIELDS)
    assert QBert4RecSpec.model_validate_json(spec.model_dump_json()) == spec


def test_fitting_and_loading_leave_the_global_random_numbers_alone(dataset, tmp_path):
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    fit(dataset).save(tmp_path / "m")
    QBert4Rec.load(tmp_path / "m")
    assert torch.equal(torch.rand(3), expected)


def test_rows_of_another_order_are_refused_where_they_would_be_mistaken(dataset):
    order = np.random.default_rng(0).permutation(dataset.size)
    spec = TokenizerSpec(quantizer=RQKMeans(levels=2, codebook_size=16))
    moved = spec.fit(dataset.features.rows(order), progress=False)
    model = fit(dataset, tokenizer=moved)
    plain = fit(dataset, tokenizer=spec.fit(dataset.features, progress=False))
    split = dataset.split()
    for name, call in {
        "recommender": lambda: evaluate(model, split.test),
        "features": lambda: ContentKNN.fit(split, dataset.features.rows(order)),
    }.items():
        with pytest.raises(ValueError, match=f"{name}: row 0 is item .* in the split"):
            call()
    ranks = evaluate(plain, split.test, progress=False).ranks
    assert np.array_equal(ranks, plain.evaluate(dataset, progress=False).ranks)


def test_nothing_is_fitted_before_all_is_known_to_fit(dataset, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(DynamicFusion, "fit", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        QBert4Rec.fit(dataset, device="cuda")
    late = TokenizerSpec(fuser=DynamicFusion(), quantizer=RQVAE(device="cuda"))
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        QBert4Rec.fit(dataset, tokenizer=late)
    histories = [*(row.tolist() for row in dataset.histories), [3, 4]]
    short = Dataset("short", dataset.ids, dataset.features, histories)
    with pytest.raises(ValueError, match="leave-one-out needs 3 items a user, but 1 of 151"):
        QBert4Rec.fit(short)


def test_a_fitted_tokenizer_may_come_from_a_machine_with_a_card(dataset, monkeypatch):
    spec = TokenizerSpec(quantizer=RQVAE(levels=2, codebook_size=16, device="cuda", hidden=(8,)))
    with monkeypatch.context() as patch:  # trained on the processor, as if it were a card
        patch.setattr("semantic_ids.fitting.check_devices", lambda spec: None)
        patch.setattr("semantic_ids.training.chosen_device", lambda device: torch.device("cpu"))
        patch.setattr(
            "semantic_ids.quantizers.neural.fitting.chosen_device",
            lambda device: torch.device("cpu"),
        )
        tokenizer = spec.fit(dataset.features, progress=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fit(dataset, tokenizer=tokenizer).size == dataset.size


def test_histories_that_can_be_read_once_are_read_once(model, dataset):
    history = dataset.ids[:4].tolist()
    once = model.recommend([iter(history)], unknown="skip")
    assert np.array_equal(once.ids, model.recommend([history]).ids)


def test_a_split_in_the_tokenizers_rows_has_its_ids(dataset):
    order = np.random.default_rng(1).permutation(dataset.size)
    moved = Tokenizer.fit(dataset.features.rows(order), quantizer=TINY.quantizer)
    split = catalogue_split(dataset, moved)
    assert split.test.ids.tolist() == moved.ids.tolist()
    named = split.test.ids[split.test.targets]
    assert np.array_equal(named, dataset.ids[dataset.split().test.targets])
