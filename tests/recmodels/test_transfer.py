import dataclasses
import json

import numpy as np
import pytest
import torch

from recmodels import MaskMix, Optimisation, QBert4Rec
from recmodels.baselines import Popularity
from recmodels.data import (
    Dataset,
    Histories,
    read_dataset,
    synthetic_catalogue,
    unite,
    without_overlap,
    write_interactions,
    write_items,
)
from recmodels.domain_training import _DomainVectors, pretrain_domains, within_domains
from recmodels.encoder import SequenceEncoder
from recmodels.evaluation import evaluate
from recmodels.item_vectors import CodeVectors, FeatureVectors, ItemVectors, OwnVectors
from recmodels.masked_items import Lesson, Sequences
from recmodels.objectives import item_softmax, level_softmax, sampled_softmax
from recmodels.sequence_model import SequenceModel
from semantic_ids import Features, NoCodecError, RQKMeans, Tokenizer, TokenizerSpec
from semantic_ids.checkpoints import checkpoints
from semantic_ids.storage import read_state

SHORT = Optimisation(epochs=2, learning_rate=3e-3)
NOTHING = Optimisation(epochs=0)
TINY = TokenizerSpec(quantizer=RQKMeans(levels=3, codebook_size=16))
FIELDS = {"width": 16, "max_history": 12, "pretraining": SHORT, "finetuning": SHORT}
TABLE = "encoder.items.parts.codes.table.weight"


def domain(name, items, users, seed):
    made = synthetic_catalogue(items, users, seed=seed)
    return dataclasses.replace(made, name=name)


TOYS, TOOLS, PETS = (
    domain(name, items, users, seed)
    for seed, (name, items, users) in enumerate(
        [("toys", 100, 60), ("tools", 70, 90), ("pets", 80, 40)]
    )
)
SOURCES = [TOYS, TOOLS]


def pretrain(datasets=SOURCES, **fields):
    return QBert4Rec.pretrain(datasets, progress=False, **{"tokenizer": TINY, **FIELDS, **fields})


@pytest.fixture(scope="module")
def model():
    return pretrain()


def weights(model, folder):
    """All that a model stores, by name."""
    model.save(folder)
    files = read_state(folder, "qbert4rec").files
    return {f"{name}.{key}": a for name, arrays in files.items() for key, a in arrays.items()}


def are_same(one, other):
    return one.keys() == other.keys() and all(
        one[name].tobytes() == other[name].tobytes() for name in one
    )


def other_ends(dataset, number, seed=0):
    """Replace each of the last items of each user by a random other one."""
    rng = np.random.default_rng(seed)
    items = dataset.histories.items.copy()
    for back in range(1, number + 1):
        places = dataset.histories.offsets[1:] - back
        items[places] = (items[places] + rng.integers(1, dataset.size, len(places))) % dataset.size
    histories = Histories(items, dataset.histories.offsets)
    assert np.count_nonzero(items != dataset.histories.items) == number * len(histories)
    return dataclasses.replace(dataset, histories=histories)


def small_model(items, cosine):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        rng = np.random.default_rng(3)
        codes = torch.from_numpy(rng.integers(0, 5, size=(items, 3)))
        latents = torch.from_numpy(rng.normal(size=(items, 4)).astype(np.float32))
        vectors = ItemVectors(
            {"codes": CodeVectors(codes, (5, 5, 5), 8), "features": FeatureVectors(latents, 8)}
        )
        encoder = SequenceEncoder(width=8, layers=1, heads=2, dropout=0.0, positions=6)
        model = SequenceModel(vectors, encoder, cosine=cosine, temperature=0.5, repeats=True)
        torch.nn.init.constant_(model.repeat, -0.3)
        return model.eval()


BOUNDS = np.array([0, 7, 9, 20])
SEQUENCES = [[[-1, 3, 0, 6], [1, 2, 5, 4]], [[-1, -1, 8, 7]], [[9, 19, 12, 11], [-1, 10, 13, 18]]]


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("at", range(3))
def test_the_softmax_is_taken_within_a_domain(at, cosine):
    """The loss is that of a float64 sum over the domain's items, one masked place at a time."""
    model = small_model(20, cosine)
    items = torch.tensor(SEQUENCES[at])
    masked = torch.zeros(items.shape, dtype=torch.bool)
    masked[:, -1] = masked[:, -2] = True
    vectors = model.items().detach()
    hidden = model.encoder.masked(vectors[items.clamp(min=0)], items, masked).detach()
    losses = []
    seen = items[masked.nonzero()[:, 0], :-2]
    bonus = -0.3 / (0.5 if cosine else 1)
    for one, had, target in zip(hidden.double(), seen, items[masked].tolist(), strict=True):
        scores = []
        for row in range(BOUNDS[at], BOUNDS[at + 1]):
            score = (one @ vectors[row].double()).item()
            if cosine:
                score /= 0.5 * (one.norm() * vectors[row].double().norm()).item()
            scores.append(score + bonus * (had == row).sum().item())
        losses.append(np.logaddexp.reduce(scores) - scores[target - BOUNDS[at]])
    objective = within_domains(model, BOUNDS, lambda part, _: item_softmax(part))
    loss = objective(items, masked)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)
    loss.backward()
    # Nothing comes again, so the bonus is to fall wherever something was seen.
    assert (model.repeat.grad.item() > 0) == bool((seen >= 0).any())
    # Over all items it is another number: the test can fail.
    assert item_softmax(model)(items, masked).item() > np.mean(losses) + 1e-3


def test_levels_of_a_domain_are_those_of_its_own_items():
    """A code's chance has all codes beside it: a domain's loss is that of the whole model."""
    model = small_model(20, cosine=True)
    whole, parted = (
        level_softmax(model),
        within_domains(model, BOUNDS, lambda p, _: level_softmax(p)),
    )
    for sequence in SEQUENCES:
        items = torch.tensor(sequence)
        masked = torch.zeros(items.shape, dtype=torch.bool)
        masked[:, -1] = True
        with torch.no_grad():
            torch.testing.assert_close(parted(items, masked), whole(items, masked))


def test_no_item_of_another_domain_feels_a_step():
    model = small_model(20, cosine=True)
    items, masked = torch.tensor(SEQUENCES[1]), torch.zeros(1, 4, dtype=torch.bool)
    masked[0, -1] = True
    model.items.parts["codes"].table = torch.nn.Embedding(60, 8)
    model.items.parts["codes"].tokens = torch.arange(60).view(20, 3)  # no code is shared
    counts = torch.arange(20)
    for objective in (
        within_domains(model, BOUNDS, lambda part, _: item_softmax(part)),
        within_domains(model, BOUNDS, lambda part, rows: sampled_softmax(part, counts[rows], 16)),
    ):
        model.zero_grad()
        objective(items, masked).backward()
        felt = model.items.parts["codes"].table.weight.grad.view(20, -1).abs().sum(dim=1) > 0
        assert felt.nonzero().flatten().tolist() == [7, 8]


def histories_of(lengths, rng):
    bounds = np.array([0, 30, 60])
    rows = [
        rng.integers(bounds[at], bounds[at + 1], size=n).tolist()
        for at, group in enumerate(lengths)
        for n in group
    ]
    return Histories.of(rows), bounds


@pytest.mark.parametrize("epoch_size", [1000, 20])
def test_a_batch_is_of_one_domain_and_an_epoch_is_whole(epoch_size):
    rng = np.random.default_rng(0)
    histories, items = histories_of([rng.integers(0, 9, 40), rng.integers(0, 9, 17)], rng)
    users = np.array([0, 40, 57])
    usable = [(histories.lengths[a:b] >= 2).sum() for a, b in ((0, 40), (40, 57))]
    seen = []

    def objective(batch, masked):
        seen.append(batch)
        rows = batch[batch >= 0].numpy()
        assert len(np.unique(np.searchsorted(items, rows, side="right"))) == 1
        assert masked.any()
        return model.encoder.mask.sum() * 0

    model = small_model(60, cosine=True)
    lesson = Lesson(model, objective, histories, Sequences(6, 8, epoch_size), rng, progress=False)
    log, count = pretrain_domains(lesson, users, MaskMix(), Optimisation(epochs=3))
    found = [
        sum(len(b) for b in seen if (b.max() >= 30) == bool(at)) / len(log.losses) for at in (0, 1)
    ]
    total = sum(usable)
    expected = usable if total <= epoch_size else [epoch_size * n // total for n in usable]
    assert found == expected
    assert count.sequences == sum(len(batch) for batch in seen)
    if epoch_size > total:
        assert len(seen) == 3 * sum(-(-n // 8) for n in usable)


def test_a_pretrained_model_is_an_ordinary_one(model, tmp_path):
    union = unite(SOURCES)
    assert model.tokenizer.ids.tolist() == union.ids.tolist()
    assert len(model.log.pretraining.losses) == 2
    assert not model.log.finetuning.losses
    model.save(tmp_path / "m")
    loaded = QBert4Rec.load(tmp_path / "m")
    assert np.array_equal(loaded.scores(union.histories), model.scores(union.histories))
    history = union.ids[union.histories[0]].tolist()
    assert loaded.recommend([history]).ids == model.recommend([history]).ids
    assert model.evaluate(union, progress=False).metrics.users == 150
    one, other = (loaded.finetune(PETS, progress=False), model.finetune(PETS, progress=False))
    assert np.array_equal(one.scores(PETS.histories), other.scores(PETS.histories))


def test_pretraining_repeats_bit_for_bit(model, tmp_path):
    assert are_same(weights(model, tmp_path / "a"), weights(pretrain(), tmp_path / "b"))


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_held_out_leaves_no_trace_in_pretraining(number, tmp_path):
    """Neither of the sources nor of the target that they are kept apart from."""
    found = []
    for change in (lambda dataset: dataset, lambda dataset: other_ends(dataset, number)):
        sources, overlaps = without_overlap([change(one) for one in SOURCES], change(PETS))
        assert [overlap.users for overlap in overlaps] == [40, 40]
        found.append(weights(pretrain(sources), tmp_path / str(len(found))))
    assert are_same(*found)


def test_what_is_pretrained_on_leaves_its_trace(model, tmp_path):
    """The test above can fail."""
    other = pretrain([TOYS, other_ends(TOOLS, 3)])
    one, two = weights(model, tmp_path / "a"), weights(other, tmp_path / "b")
    assert are_same(
        *({n: a for n, a in w.items() if n.startswith("catalogue")} for w in (one, two))
    )
    assert not np.array_equal(one[TABLE], two[TABLE])


def test_only_masks_and_no_fine_tuning_change_a_pretrained_model(model, tmp_path):
    other = pretrain(finetuning=Optimisation(epochs=9))
    assert are_same(weights(model, tmp_path / "a"), weights(other, tmp_path / "b"))
    masks = pretrain(masks=MaskMix(span=1, tail=0, multi_region=0, random=0))
    assert not np.array_equal(
        weights(masks, tmp_path / "c")[TABLE], weights(model, tmp_path / "a")[TABLE]
    )


@pytest.mark.parametrize("objective", ["sampled", "levels"])
def test_other_objectives_pretrain(objective):
    log = pretrain(objective=objective, negatives=128).log
    assert log.pretraining.losses[-1] < log.pretraining.losses[0]


@pytest.mark.parametrize("positions", ["code", "transfer"])
def test_items_of_several_slots_pretrain_and_go_on(positions, tmp_path):
    """The slots of a domain's item vectors are those of all: their sum is the item's vector."""
    model = pretrain(positions=positions)
    slots = model.tokenizer.code_length
    rows = torch.arange(3, 9)
    items = _DomainVectors(whole_items(slots), slice(3, 9))
    assert items().shape == (6, slots * 4)
    torch.testing.assert_close(items(), whole_items(slots)(rows))
    tuned = model.finetune(PETS, progress=False)
    tuned.save(tmp_path / "m")
    loaded = QBert4Rec.load(tmp_path / "m")
    scores = loaded.scores(PETS.histories)
    assert np.array_equal(scores, tuned.scores(PETS.histories))


def whole_items(slots):
    """Item vectors of 12 items, the same at every call."""
    torch.manual_seed(0)
    codes = torch.stack([torch.arange(12) % 5] * slots, dim=1)
    parts = {
        "codes": CodeVectors(codes, (5,) * slots, 4, slots),
        "item": OwnVectors(torch.ones(12, dtype=torch.bool), 4),
    }
    return ItemVectors(parts, slots)


def test_before_fine_tuning_a_model_is_what_it_was(model, tmp_path):
    """Shared codes, encoder and projection as they were; own vectors of new items are zeros."""
    adapted = model.finetune(PETS, finetuning=NOTHING, progress=False)
    before, after = weights(model, tmp_path / "a"), weights(adapted, tmp_path / "b")
    for name in before:
        if name.startswith(("encoder.", "codec.", "items.projection", "items.fuser")):
            assert np.array_equal(before[name], after[name]), name
    assert adapted.tokenizer.fingerprint == model.tokenizer.fingerprint
    assert adapted.tokenizer.ids.tolist() == PETS.ids.tolist()
    assert np.array_equal(adapted.tokenizer.content_codes, model.tokenizer.encode(PETS.features))
    parts = adapted.item_parts()
    assert not parts["item"].any()
    by_model = model._vectors.projection.of(PETS.features)
    np.testing.assert_allclose(parts["features"], by_model, atol=1e-5)
    assert not adapted.log.finetuning.losses


def test_fine_tuning_leaves_the_pretrained_model_alone(model, tmp_path):
    before = weights(model, tmp_path / "a")
    tuned = model.finetune(PETS, progress=False)
    assert are_same(before, weights(model, tmp_path / "b"))
    assert len(tuned.log.finetuning.losses) == 2
    own = tuned.item_parts()["item"]
    learnt = np.bincount(PETS.split().train.items, minlength=PETS.size) > 0
    assert (own != 0).any(axis=1).tolist() == learnt.tolist()
    validation = tuned.evaluate(PETS, part="validation", progress=False)
    assert validation.metrics.ndcg_10 == max(tuned.log.finetuning.validation)
    history = PETS.ids[PETS.histories[0]].tolist()
    assert set(tuned.recommend([history], k=80).ids[0]) == set(PETS.ids.tolist())
    tuned.save(tmp_path / "t")
    loaded = QBert4Rec.load(tmp_path / "t")
    assert np.array_equal(loaded.scores(PETS.histories), tuned.scores(PETS.histories))


def test_items_that_are_known_by_id_keep_their_own_vectors(model):
    toys = unite([TOYS])
    adapted = model.finetune(toys, finetuning=NOTHING, progress=False)
    known, found = model.item_parts(), adapted.item_parts()
    assert adapted.tokenizer.ids.tolist() == toys.ids.tolist()
    for name, part in found.items():
        np.testing.assert_allclose(part, known[name][: TOYS.size], atol=1e-5)
    assert found["item"].any()


def test_a_refitted_tokenizer_keeps_what_does_not_depend_on_codes(model, tmp_path):
    adapted = model.finetune(PETS, tokenizer="refit", finetuning=NOTHING, progress=False)
    assert adapted.tokenizer.fingerprint == TINY.fit(PETS.features).fingerprint
    assert adapted.tokenizer.fingerprint != model.tokenizer.fingerprint
    before, after = weights(model, tmp_path / "a"), weights(adapted, tmp_path / "b")
    for name in before:
        if name.startswith(("encoder.encoder", "items.projection", "items.fuser")):
            assert np.array_equal(before[name], after[name]), name
    assert not np.array_equal(before[TABLE], after[TABLE])
    assert not adapted.item_parts()["item"].any()
    tuned = model.finetune(PETS, tokenizer="refit", progress=False)
    assert tuned.log.finetuning.losses[-1] < tuned.log.finetuning.losses[0]


def test_row_numbers_are_ids_too(model):
    numbers = np.arange(PETS.size)
    features = Features.of(PETS.features.without_ids(), numbers)
    numbered = dataclasses.replace(PETS, ids=numbers, features=features)
    tuned, named = (model.finetune(target, progress=False) for target in (numbered, PETS))
    # Of two items with one content code, the smaller id keeps it; so compare what is the same.
    assert tuned.tokenizer.ids.tolist() == numbers.tolist()
    assert np.array_equal(tuned.tokenizer.content_codes, named.tokenizer.content_codes)
    assert isinstance(tuned.recommend([[3, 4]], k=1).ids[0][0], int)


def test_parts_that_are_left_out_stay_out():
    for parts in (("codes",), ("item", "features"), ("codes", "item")):
        model = pretrain(item_parts=parts)
        tuned = model.finetune(PETS, progress=False)
        assert tuple(tuned.item_parts()) == parts


def written(dataset, folder):
    """Write a data folder, with a user more who is too short to be read."""
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({"name": dataset.name}))
    write_items(folder, [{"id": item} for item in dataset.ids.tolist()])
    rows = Histories.of([*dataset.histories, [0, 1]])
    write_interactions(folder, rows, [*dataset.users, "short"])
    for name, array in dataset.features.modalities.items():
        np.save(folder / f"{name}_emb.npy", array)
        np.save(folder / f"{name}_mask.npy", dataset.features.modality(name)[1])
    return folder


def test_folders_are_read(tmp_path):
    folders = [written(dataset, tmp_path / dataset.name) for dataset in (*SOURCES, PETS)]
    *sources, target = [read_dataset(folder, short_users="drop") for folder in folders]
    assert [len(source.users) for source in sources] == [len(one.users) for one in SOURCES]
    tuned = pretrain(folders[:2]).finetune(str(folders[2]), progress=False)
    expected = pretrain(sources).finetune(target, progress=False)
    assert np.array_equal(tuned.scores(target.histories), expected.scores(target.histories))


def test_training_goes_on_where_it_was_killed(tmp_path):
    tokenizer = TINY.fit(unite(SOURCES).features, progress=False)
    whole = pretrain(tokenizer=tokenizer)
    tuned = whole.finetune(PETS, progress=False)
    for _ in range(2):
        with checkpoints(tmp_path / "run", every=0):
            again = pretrain(tokenizer=tokenizer)
            tuned_again = again.finetune(PETS, progress=False)
        assert np.array_equal(whole.scores(PETS.histories), again.scores(PETS.histories))
        assert np.array_equal(tuned.scores(PETS.histories), tuned_again.scores(PETS.histories))
    # Other weights to go on from are another training.
    other = pretrain(tokenizer=tokenizer, seed=1)
    with checkpoints(tmp_path / "run", every=0), pytest.raises(ValueError, match="another"):
        other.finetune(PETS, progress=False)


def planted(name, users, seed):
    """Make up a domain of its own items in 20 kinds; the next kind follows one common cycle."""
    common, rng = np.random.default_rng(99), np.random.default_rng(seed)
    cycle, centres = common.permutation(20), common.normal(size=(20, 24))
    kinds = rng.permutation(np.arange(120) % 20)
    vectors = centres[kinds] + 0.2 * rng.normal(size=(120, 24))
    ids = np.array([f"{name}-{row}" for row in range(120)], dtype=np.dtypes.StringDType())
    of_kind = [np.flatnonzero(kinds == kind) for kind in range(20)]
    histories = []
    for _ in range(users):
        start, length = rng.integers(20), rng.integers(5, 12)
        walk = cycle[(start + np.arange(length)) % 20]
        histories.append([int(rng.choice(of_kind[kind])) for kind in walk])
    return Dataset(
        name,
        ids,
        Features({"text": vectors.astype(np.float32)}, ids=ids),
        Histories.of(histories),
        (None,) * users,
    )


def test_a_common_rule_over_content_helps_a_domain_of_few_users():
    target = planted("target", 320, 1)
    few = dataclasses.replace(
        target, histories=target.histories.take(np.arange(20)), users=target.users[:20]
    )
    settings = {
        "width": 32,
        "dropout": 0.1,
        "tokenizer": TokenizerSpec(quantizer=RQKMeans(levels=2, codebook_size=32)),
        "pretraining": Optimisation(epochs=12, learning_rate=5e-3),
        "finetuning": Optimisation(epochs=4, learning_rate=1e-3),
        "batch_size": 64,
        "progress": False,
    }
    alone = QBert4Rec.fit(few, **settings)
    model = QBert4Rec.pretrain([planted("one", 400, 2), planted("two", 400, 3)], **settings)
    found = {
        "alone": alone,
        "zero-shot": model.finetune(few, finetuning=NOTHING, progress=False),
        "shared": model.finetune(few, progress=False),
        "refit": model.finetune(few, tokenizer="refit", progress=False),
        "popularity": Popularity.fit(few.split()),
    }
    held = target.split().test
    hits = {name: evaluate(one, held, progress=False).metrics.hr_10 for name, one in found.items()}
    # Who knows the rule always hits: a kind has 6 items, and there are 10 guesses.
    assert hits["shared"] > 2 * hits["alone"]
    assert hits["zero-shot"] > 3 * hits["popularity"]


def test_a_card_that_is_not_there_is_refused_before_any_fit(model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(TokenizerSpec, "fit", lambda *_, **__: pytest.fail("fitted"))
    monkeypatch.setattr(model, "spec", model.spec.model_copy(update={"device": "cuda"}))
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        model.finetune(PETS, tokenizer="refit")
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        pretrain(device="cuda")


def test_bad_input_is_refused_by_name(model, tmp_path):
    bare = dataclasses.replace(TOOLS, features=None)
    with pytest.raises(ValueError, match="datasets: tools has no features, but others have"):
        pretrain([TOYS, bare])
    with pytest.raises(ValueError, match="datasets: tools have no features"):
        pretrain([bare])
    with pytest.raises(ValueError, match="tools has no histories"):
        pretrain([TOYS, dataclasses.replace(TOOLS, histories=None, users=())])
    with pytest.raises(ValueError, match="expected at least one"):
        pretrain([])
    with pytest.raises(ValueError, match="catalogue is not that of toys"):
        pretrain([TOYS], tokenizer=TINY.fit(TOYS.features))
    with pytest.raises(TypeError, match="tokenizer: expected a Tokenizer"):
        pretrain(tokenizer=TINY.quantizer)
    with pytest.raises(ValueError, match='tokenizer: expected "shared" or "refit"'):
        model.finetune(PETS, tokenizer="mine")
    with pytest.raises(ValueError, match="pets has no features"):
        model.finetune(dataclasses.replace(PETS, features=None))
    with pytest.raises(ValueError, match="pets has no histories"):
        model.finetune(dataclasses.replace(PETS, histories=None, users=()))
    sound = Features({"sound": np.ones((PETS.size, 3))}, ids=PETS.ids)
    for tokenizer in ("shared", "refit"):
        with pytest.raises(ValueError, match=r"'sound'.*unknown modality"):
            model.finetune(dataclasses.replace(PETS, features=sound), tokenizer=tokenizer)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.finetune(tmp_path / "nowhere")
    codes = Tokenizer.from_codes(TOYS.ids, np.arange(TOYS.size)[:, None])
    of_codes = QBert4Rec.fit(TOYS, tokenizer=codes, progress=False, **FIELDS)
    with pytest.raises(NoCodecError):
        of_codes.finetune(PETS, progress=False)
