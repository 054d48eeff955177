"""Whatever is learnt of interactions is blind to what is held out, bit by bit.

One line of `OF_TRAINING` adds a method that reads training histories alone; one of
`CHOSEN_BY_VALIDATION` one that is trained on them and keeps an epoch by validation figures.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from recmodels import DynamicFusion, Optimisation, QBert4Rec, QBert4RecSpec
from recmodels.baselines import TIGER, BERT4Rec, ItemKNN, Popularity, SASRec
from recmodels.data import (
    Dataset,
    Histories,
    Split,
    cooccurrence_graph,
    cooccurrence_vectors,
    interaction_counts,
    interaction_vectors,
    side_of,
    synthetic_catalogue,
)
from recmodels.qbert4rec_training import train_stage_3
from recmodels.training import TrainingLog
from semantic_ids import (
    LETTER,
    BBQRec,
    Features,
    FittedFuser,
    MMGRec,
    RQKMeans,
    Tokenizer,
    TokenizerSpec,
)
from semantic_ids import Popularity as PopularityResolver

Arrays = Mapping[str, np.ndarray]

DATASET = synthetic_catalogue(items=80, users=60)
FEATURES = DATASET.features
SHORT = Optimisation(epochs=2)
TINY = {"levels": 2, "codebook_size": 16, "code_dim": 4, "batch_size": 40, "optimisation": SHORT}


def split_of(histories):
    return Split.leave_one_out(histories, DATASET.size)


def trained(name, histories, epochs):
    return CHOSEN_BY_VALIDATION[name](dataclasses.replace(DATASET, histories=histories), epochs)


def of_side(split):
    side = side_of(split, width=8)
    return {
        "collaborative": side.collaborative,
        "graph": side.graph.toarray(),
        "counts": side.counts,
    }


def of_neighbours(split):
    found = ItemKNN.fit(split, k=5).similarities
    return {"data": found.data, "indices": found.indices, "indptr": found.indptr}


def of_tokenizer(features, split, **fields):
    """All that a tokenizer saves: its codec, its catalogue, its unique and content codes."""
    side = side_of(split, width=8)
    tokenizer = Tokenizer.fit(features, side=side, progress=False, **fields)
    files = tokenizer.to_state().files.items()
    saved = {f"{file}/{name}": array for file, arrays in files for name, array in arrays.items()}
    return {"codes": tokenizer.codes, "content": tokenizer.encode(features), **saved}


def with_behaviour(split):
    modalities = {**FEATURES.modalities, "behaviour": cooccurrence_vectors(split, width=8)}
    present = dict(zip(FEATURES.modalities, FEATURES.present.T, strict=True))
    return Features(modalities, present, FEATURES.ids)


def of_fusion(split):
    features = with_behaviour(split)
    fusion = DynamicFusion(width=16, heads=2, optimisation=SHORT)
    fitted: FittedFuser = fusion.fit(features, progress=False)
    tokens = of_tokenizer(features, split, fuser=fusion, quantizer=RQKMeans(codebook_size=8))
    return {"latent": fitted.transform(features).matrix, **tokens}


OF_TRAINING: dict[str, Callable[[Split], Arrays]] = {
    "Popularity": lambda split: {"counts": Popularity.fit(split).counts},
    "ItemKNN": of_neighbours,
    "interaction_counts": lambda split: {"counts": interaction_counts(split)},
    "cooccurrence_graph": lambda split: {"graph": cooccurrence_graph(split).toarray()},
    "cooccurrence_vectors": lambda split: {"vectors": cooccurrence_vectors(split, width=8)},
    "interaction_vectors": lambda split: {"vectors": interaction_vectors(split, width=8)},
    "side_of": of_side,
    "LETTER": lambda split: of_tokenizer(
        FEATURES, split, quantizer=LETTER(hidden=(16,), clusters=3, **TINY)
    ),
    "MMGRec": lambda split: of_tokenizer(FEATURES, split, quantizer=MMGRec(hidden=(16,), **TINY)),
    "BBQRec": lambda split: of_tokenizer(
        FEATURES, split, quantizer=BBQRec(modalities=("text", "image"), hidden=16, **TINY)
    ),
    "DynamicFusion of behaviour": of_fusion,
    "Popularity resolver": lambda split: of_tokenizer(
        FEATURES,
        split,
        quantizer=RQKMeans(levels=1, codebook_size=8),
        resolver=PopularityResolver(),
    ),
}


@dataclass(frozen=True)
class Trained:
    """What a training left: its weights, and its log, which says what the weights were before."""

    weights: Arrays
    log: TrainingLog


def of_tiger(dataset, epochs):
    pytest.importorskip("transformers")
    tokenizer = Tokenizer.fit(FEATURES, quantizer=RQKMeans(codebook_size=8), progress=False)
    sizes = {"width": 16, "layers": 1, "heads": 2, "head_width": 8, "feed_forward": 16}
    sizes |= {"max_history": 4, "batch_size": 64}
    optimisation = Optimisation(epochs=epochs)
    tiger = TIGER.fit(
        dataset.split(), tokenizer, optimisation=optimisation, progress=False, **sizes
    )
    return Trained(weights_of(tiger.network), tiger.log)


def of_sequence(spec):
    def fit(dataset, epochs):
        optimisation = Optimisation(epochs=epochs)
        parts = ("item", "features")
        made = spec(width=16, item_parts=parts, optimisation=optimisation)
        fitted = made.fit(dataset.split(), FEATURES, progress=False)
        return Trained(fitted.weights(), fitted.log)

    return fit


def of_qbert4rec(**fields):
    def fit(dataset, epochs):
        spec = QBert4RecSpec(
            width=16,
            **fields,
            pretraining=Optimisation(epochs=1),
            finetuning=Optimisation(epochs=epochs),
        )
        tokenizer = Tokenizer.fit(FEATURES, quantizer=RQKMeans(codebook_size=8), progress=False)
        trained = train_stage_3(spec, tokenizer, dataset, dataset.split(), progress=False)
        parts = {f"part.{name}": part for name, part in trained.vectors.parts.items()}
        return Trained(weights_of(trained.model) | parts, trained.log.finetuning)

    return fit


def of_finetuning(dataset, epochs):
    source = dataclasses.replace(synthetic_catalogue(items=60, users=50, seed=1), name="source")
    tokenizer = TokenizerSpec(quantizer=RQKMeans(codebook_size=8))
    fields = {"width": 16, "pretraining": Optimisation(epochs=1), "tokenizer": tokenizer}
    model = QBert4Rec.pretrain([source], progress=False, **fields)
    tuned = model.finetune(dataset, finetuning=Optimisation(epochs=epochs), progress=False)
    parts = {f"part.{name}": part for name, part in tuned.item_parts().items()}
    codes = {"codes": tuned.tokenizer.codes}
    return Trained(weights_of(tuned._model) | parts | codes, tuned.log.finetuning)


def weights_of(module):
    return {name: value.numpy() for name, value in module.state_dict().items()}


#: Each is trained for so many epochs, and validated after each; none is patient.
CHOSEN_BY_VALIDATION: dict[str, Callable[[Dataset, int], Trained]] = {
    "TIGER": of_tiger,
    "SASRec": of_sequence(SASRec),
    "BERT4Rec": of_sequence(BERT4Rec),
    "QBert4Rec.finetune": of_finetuning,
    "QBert4Rec": of_qbert4rec(),
    "QBert4Rec from fused vectors": of_qbert4rec(item_start="fused"),
    "QBert4Rec with a position a code": of_qbert4rec(positions="code"),
    "QBert4Rec with transfer": of_qbert4rec(positions="transfer"),
}


def other_ends(histories, number, seed=0):
    """Replace each of the last items of each user by a random other one."""
    rng = np.random.default_rng(seed)
    items = histories.items.copy()
    for back in range(1, number + 1):
        places = histories.offsets[1:] - back
        shift = rng.integers(1, DATASET.size, size=len(places))
        items[places] = (items[places] + shift) % DATASET.size
    assert np.count_nonzero(items != histories.items) == number * len(histories)
    return Histories(items, histories.offsets)


def are_same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


@pytest.fixture(scope="module")
def learnt():
    """What each method learns of the histories as they are, found once."""
    known = {}

    def find(name):
        if name not in known:
            known[name] = OF_TRAINING[name](split_of(DATASET.histories))
        return known[name]

    return find


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", OF_TRAINING)
def test_what_is_held_out_leaves_no_trace(name, number, learnt):
    other = OF_TRAINING[name](split_of(other_ends(DATASET.histories, number)))
    assert are_same(learnt(name), other)


@pytest.mark.parametrize("name", OF_TRAINING)
def test_what_is_trained_on_leaves_its_trace(name, learnt):
    assert not are_same(learnt(name), OF_TRAINING[name](split_of(other_ends(DATASET.histories, 4))))


@pytest.mark.parametrize("name", CHOSEN_BY_VALIDATION)
def test_the_last_item_leaves_no_trace_in_a_training(name):
    one, other = (
        trained(name, histories, epochs=2)
        for histories in (DATASET.histories, other_ends(DATASET.histories, 1))
    )
    assert are_same(one.weights, other.weights)
    assert one.log == other.log


@pytest.mark.parametrize("name", CHOSEN_BY_VALIDATION)
def test_validation_does_nothing_but_choose_the_epoch(name):
    changed = other_ends(DATASET.histories, 2)
    # Of one epoch there is nothing to choose.
    one, other = (trained(name, histories, epochs=1) for histories in (DATASET.histories, changed))
    assert are_same(one.weights, other.weights)
    assert one.log.validation != other.log.validation
    # Of several the losses tell whether the weights went the same way, whichever are kept.
    one, other = (
        trained(name, histories, epochs=2).log for histories in (DATASET.histories, changed)
    )
    assert one.losses == other.losses


@pytest.mark.parametrize("name", CHOSEN_BY_VALIDATION)
def test_a_training_learns_from_what_it_is_trained_on(name):
    one, other = (
        trained(name, histories, epochs=1)
        for histories in (DATASET.histories, other_ends(DATASET.histories, 4))
    )
    assert not are_same(one.weights, other.weights)


@pytest.mark.parametrize("number", [1, 2])
def test_a_leak_would_be_found(number):
    """The comparison above sees a single look at what is held out."""
    held = {1: lambda split: split.test, 2: lambda split: split.validation}[number]
    one, other = (
        {"counts": np.bincount(held(split_of(histories)).targets, minlength=DATASET.size)}
        for histories in (DATASET.histories, other_ends(DATASET.histories, number))
    )
    assert not are_same(one, other)
