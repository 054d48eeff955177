"""The story of the package, from a multimodal catalogue to recommendations, as a demo tells it."""

import time
from pathlib import Path

import numpy as np
import torch

from recmodels.baselines import Popularity, Uniform
from recmodels.comparison import paired_difference
from recmodels.data import Dataset, read_dataset, synthetic_catalogue
from recmodels.evaluation import Evaluation, evaluate
from recmodels.fusion import DynamicFusion
from recmodels.qbert4rec import QBert4Rec
from recmodels.training import Optimisation
from semantic_ids import RQKMeans, Tokenizer, TokenizerSpec
from semantic_ids.cli.output import say

_OURS, _CONTROL = "Q-BERT4Rec", "Q-BERT4Rec, codes permuted"


def demo(
    data: Path | None = None,
    out: Path = Path("runs/qbert4rec"),
    *,
    seed: int = 0,
    threads: int = 1,
    drop_short: bool = False,
    control: bool = False,
    quick: bool = False,
    progress: bool | None = None,
) -> QBert4Rec:
    """Fit Q-BERT4Rec, and print what it makes of a catalogue and how it ranks.

    Parameters
    ----------
    data : a data folder, as `read_dataset` reads it; None for a catalogue that is made up.
    out : folder for the model; a model that it holds is replaced.
    seed : of everything that is random.
    threads : of torch; networks this small gain little by more.
    drop_short : leave out users of fewer than 3 items.
    control : fit a second model whose codes are permuted over the items, which tells how much the
        meaning of the codes contributes.
    quick : a small run, which shows the way only.
    progress : show bars; None shows them in a terminal.

    Returns
    -------
    model : as it was read back from `out`.

    Raises
    ------
    FileExistsError
        if `out` is a file or holds other things than a model.
    """
    torch.set_num_threads(threads)
    started = time.perf_counter()
    _check_out(out)
    # Before anything is said: the folder may not be one of data.
    dataset = _load(data, seed, drop_short=drop_short, quick=quick)
    if quick:
        say("A quick run shows the way only: its figures mean nothing.")

    _say_heading("The catalogue")
    say(repr(dataset))

    _say_heading("Q-BERT4Rec: fusing, quantizing, pretraining, fine-tuning")
    model = _fit(dataset, None, seed, quick, progress)
    say(repr(model))
    say(f"fitted in {time.perf_counter() - started:.0f} s")

    _say_heading("What the codes look like")
    say(str(model.tokenizer.statistics()))
    _say_prefix_neighbours(dataset, model.tokenizer)

    _say_heading("Ranking the whole catalogue for each user's last item")
    rows = _ranked(dataset, model, seed, progress)
    if control:
        other = _fit(dataset, _permuted(model.tokenizer, seed), seed, quick, progress)
        rows[_CONTROL] = other.evaluate(dataset, progress=progress)
    _say_table(rows)

    _say_heading("A recommendation from the stored model")
    model.save(out, overwrite=True)
    stored = QBert4Rec.load(out)
    _say_recommendation(dataset, stored)
    say(f"\nmodel in {out}, {time.perf_counter() - started:.0f} s in all")
    return stored


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out}: is a file; expected a folder or nothing")
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").exists():
        raise FileExistsError(f"{out}: holds other files; name a new or an empty folder")


def _load(data: Path | None, seed: int, *, drop_short: bool, quick: bool) -> Dataset:
    if data is not None:
        return read_dataset(data, short_users="drop" if drop_short else "error")
    if quick:
        return synthetic_catalogue(items=400, users=300, seed=seed)
    return synthetic_catalogue(seed=seed)


def _fit(
    dataset: Dataset, tokenizer: Tokenizer | None, seed: int, quick: bool, progress: bool | None
) -> QBert4Rec:
    if not quick:
        return QBert4Rec.fit(dataset, tokenizer=tokenizer, seed=seed, progress=progress)
    short = Optimisation(epochs=1)
    small = TokenizerSpec(
        fuser=DynamicFusion(optimisation=Optimisation(epochs=3)),
        quantizer=RQKMeans(codebook_size=32),
    )
    return QBert4Rec.fit(
        dataset,
        tokenizer=tokenizer or small,
        seed=seed,
        progress=progress,
        epoch_size=4096,
        pretraining=short,
        finetuning=short,
    )


def _ranked(
    dataset: Dataset, model: QBert4Rec, seed: int, progress: bool | None
) -> dict[str, Evaluation]:
    """Ask the model and what it has to beat for each user's last item."""
    split = dataset.split()
    return {
        _OURS: model.evaluate(dataset, progress=progress),
        "popularity": evaluate(Popularity.fit(split), split.test, progress=progress),
        "random": evaluate(Uniform(dataset.size, seed=seed), split.test, progress=progress),
    }


def _permuted(tokenizer: Tokenizer, seed: int) -> Tokenizer:
    """Give every item another item's code: as many codes, as even, and without meaning."""
    order = np.random.default_rng(seed).permutation(len(tokenizer))
    return Tokenizer.from_codes(
        tokenizer.ids,
        tokenizer.codes[order],
        codebook_sizes=tokenizer.code_sizes,
        resolver=None,
    )


def _say_prefix_neighbours(dataset: Dataset, tokenizer: Tokenizer, count: int = 5) -> None:
    """Show some items whose codes begin alike, by as many codes as that many items share."""
    length, rows = _shared_prefix(tokenizer.codes, count)
    say(f"\n{len(rows)} items whose codes begin with the same {length}:")
    codes = tokenizer.vocabulary.to_strings(tokenizer.codes[rows])
    for text, row in zip(codes, rows, strict=True):
        say(f"  {text:34s} {_title(dataset, row)}")


def _shared_prefix(codes: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """Find the longest prefix that `count` items share: its length, and the first such rows."""
    length = codes.shape[1]
    while True:
        _, group, sizes = np.unique(
            codes[:, :length], axis=0, return_inverse=True, return_counts=True
        )
        if sizes.max() >= count or length == 1:
            return length, np.flatnonzero(group == sizes.argmax())[:count]
        length -= 1


def _say_table(rows: dict[str, Evaluation]) -> None:
    say(f"{'':28s} {'HR@10':>8s} {'NDCG@10':>8s}   (items of the history are not filtered)")
    for name, evaluation in rows.items():
        say(f"{name:28s} {evaluation.metrics.hr_10:8.4f} {evaluation.metrics.ndcg_10:8.4f}")
    if _CONTROL in rows:
        gain = paired_difference(rows[_OURS].hits(10), rows[_CONTROL].hits(10))
        say(
            f"HR@10 above permuted codes: {gain.mean:+.4f}, "
            f"paired standard error {gain.standard_error:.4f}"
        )


def _say_recommendation(dataset: Dataset, model: QBert4Rec) -> None:
    history = dataset.split().test.histories[0]
    say("after")
    for row in history[-5:]:
        say(f"  {_title(dataset, row)}")
    best = model.recommend([dataset.ids[history]], k=5)
    say("comes")
    for item, score in zip(best.ids[0], best.scores[0], strict=True):
        row = int(model.tokenizer.rows(item)[0])
        say(f"  {score:6.2f}  {_title(dataset, row)}")


def _title(dataset: Dataset, row: int) -> str:
    return dataset.titles[row][:80] if dataset.titles else f"item {dataset.ids[row]}"


def _say_heading(text: str) -> None:
    say(f"\n{text}\n{'-' * len(text)}")
