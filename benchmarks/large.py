"""Q-BERT4Rec on a large catalogue: fusion, codes, training steps and ranking, with time and memory.

Makes up a catalogue of items in 5,000 clusters, and histories that walk among neighbouring
clusters. Both are written block by block into files, which are then mapped. The fusion learns
from a sample of the items (`fit_sample`) and encodes all; stage 3 reads codes and features, and
trains by the sampled softmax. Memory is the peak of the process's resident memory during a step.

    OMP_NUM_THREADS=1 python benchmarks/large.py --items 1000000 --users 1000000
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from ceilings import machine_lines
from memory import Step, measured, print_head
from turns import write_json

from recmodels import DynamicFusion, Optimisation, QBert4Rec
from recmodels.data import Dataset, Histories
from semantic_ids import Features, TokenizerSpec

_CLUSTERS, _WIDTH, _BLOCK = 5000, 128, 1 << 16
_SHORTEST, _LONGEST = 5, 15


def write_catalogue(path: Path, items: int, rng: np.random.Generator) -> np.ndarray:
    """Write features (items, 128) float16 block by block; return each item's cluster."""
    centres = rng.normal(size=(_CLUSTERS, _WIDTH)).astype(np.float32)
    clusters = np.sort(rng.integers(0, _CLUSTERS, items))
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(items, _WIDTH))
    for start in range(0, items, _BLOCK):
        block = centres[clusters[start : start + _BLOCK]]
        out[start : start + len(block)] = block + rng.standard_normal(block.shape, np.float32)
    out.flush()
    return clusters


def write_walks(
    path: Path, users: int, clusters: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Write histories of 5 to 15 items, each from the cluster of the one before or the next.

    Within a cluster a few items are taken far more often than others. Block by block; returns
    where each user's items begin, and their number.
    """
    lengths = rng.integers(_SHORTEST, _LONGEST + 1, users)
    offsets = np.append(0, np.cumsum(lengths))
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.int32, shape=(int(offsets[-1]),))
    for start in range(0, users, _BLOCK):
        walked = _walks(lengths[start : start + _BLOCK], clusters, rng)
        out[offsets[start] : offsets[start] + len(walked)] = walked
    out.flush()
    return offsets


def _walks(lengths: np.ndarray, clusters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    starts = np.searchsorted(clusters, np.arange(_CLUSTERS + 1))
    walked = np.cumsum(rng.integers(0, 2, lengths.sum()))
    before = walked[np.cumsum(lengths) - lengths]
    firsts = rng.integers(0, _CLUSTERS, len(lengths))
    cluster = (np.repeat(firsts - before, lengths) + walked) % _CLUSTERS
    sizes = starts[cluster + 1] - starts[cluster]
    cluster = np.where(sizes > 0, cluster, clusters[0])
    sizes = starts[cluster + 1] - starts[cluster]
    return starts[cluster] + (sizes * rng.random(len(sizes)) ** 3).astype(int)


def catalogue(folder: Path, items: int, users: int) -> Dataset:
    """Make up the data set, its features and its histories mapped from files."""
    rng = np.random.default_rng(0)
    clusters = write_catalogue(folder / "vectors.npy", items, rng)
    offsets = write_walks(folder / "items.npy", users, clusters, rng)
    vectors, walked = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("vectors", "items")
    )
    ids = np.arange(items)
    features = Features({"text": vectors}, ids=ids)
    return Dataset("large", ids, features, Histories(walked, offsets), (None,) * users)


def run(folder: Path, items: int, users: int, steps: int, negatives: int) -> list[Step]:
    """Go through all stages, step by step."""
    found: list[Step] = []
    few = Optimisation(epochs=2)
    spec = TokenizerSpec(fuser=DynamicFusion(optimisation=few), fit_sample=min(items, 65_536))

    def nothing() -> int:
        return 0

    print_head()
    with measured("features, histories written", found, nothing):
        dataset = catalogue(folder, items, users)
    given = dataset.histories
    assert given is not None
    print(f"  ({items:,} items, {len(given.items):,} interactions of {users:,} users)")
    with measured("fusion, codebooks, all codes", found, nothing):
        tokenizer = spec.fit(dataset.features, progress=False)
    with measured(f"{steps:,} training steps", found, nothing):
        model = QBert4Rec.fit(
            dataset,
            tokenizer=tokenizer,
            item_parts=("codes", "features"),
            objective="sampled",
            negatives=negatives,
            pretraining=Optimisation(epochs=0),
            finetuning=Optimisation(epochs=1, learning_rate=3e-3),
            epoch_size=256 * steps,
            validated_users=1000,
            progress=False,
        )
    histories = [given[user] for user in range(1000)]
    with measured("ranking for 1,000 users", found, nothing):
        model.recommend(histories, k=10)
    print(f"NDCG@10 of 1,000 validation targets {model.log.finetuning.validation[-1]:.4f}")
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--negatives", type=int, default=8192, help="items that a step draws")
    parser.add_argument("--folder", type=Path, help="where files go; a temporary one by default")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_lines())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        found = run(
            Path(temporary),
            arguments.items,
            arguments.users,
            arguments.steps,
            arguments.negatives,
        )
    write_json(arguments.out, vars(arguments), found)


if __name__ == "__main__":
    main()
