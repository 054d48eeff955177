"""New items every day: they get codes, no old code moves, and the codec says when it is worn out.

A shop opens with five departments. Every day brings new items and sells some out. For some days
the news is more of the same; then a department opens that the codec has never seen. `drift` sees
it, `refit` makes a new tokenizer, and `mapping` says what became of each code:

    python examples/new_items_every_day.py
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recmodels.data import synthetic_catalogue
from semantic_ids import Drift, Features, RQKMeans, Tokenizer

NEW_DEPARTMENT = "Music"
#: Refit once a day's items are so much worse encoded than items of the opening that were kept back.
TOLERANCE = 1.5


@dataclass(frozen=True)
class Shop:
    """Rows of a catalogue: what is there at first, what is kept back, and each day's news."""

    opening: np.ndarray
    kept_back: np.ndarray
    days: list[np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/growing"), help="for the tokenizer")
    parser.add_argument("--days", type=int, default=6, help="the last two bring the new department")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer items, smaller codebooks")
    arguments = parser.parse_args()
    if arguments.days < 3:
        raise SystemExit(f"--days {arguments.days}: expected at least 3")

    items = 1000 if arguments.quick else 6000
    features, is_new = catalogue(items, arguments.seed)
    shop = share_out(is_new, arguments.days, arguments.seed)
    quantizer = RQKMeans(codebook_size=32 if arguments.quick else 128)
    opened = Tokenizer.fit(features.rows(shop.opening), quantizer=quantizer)
    opened.save(arguments.out, overwrite=True)
    print(f"the shop opens: {opened}")

    # Items that were fitted are encoded better than others, so others say what is to be expected.
    expected = last_error(opened.drift(features.rows(shop.kept_back)))
    print(f"relative error of items like these that were kept back: {expected:.3f}\n")
    print("day  new items  sold out  old codes that moved  rel. error  drift says")
    for day, rows in enumerate(shop.days, start=1):
        news = features.rows(rows)
        tokenizer = Tokenizer.load(arguments.out)
        drift = tokenizer.drift(news)
        error = last_error(drift)
        says = "refit" if error > TOLERANCE * expected else "all well"
        moved, sold_out = live_through(tokenizer, news, seed=day)
        tokenizer.save(arguments.out)
        print(f"{day:3d}  {len(news):9,}  {sold_out:8,}  {moved:20,}  {error:10.3f}  {says}")
        if says == "refit":
            compare_with_opening(opened, tokenizer)
            print(f"\nWhat drift saw\n{drift}")
            start_anew(tokenizer, features, tomorrow=shop.days[day:]).save(
                arguments.out, overwrite=True
            )
            break
    print(f"\ntokenizer in {arguments.out}")


def live_through(tokenizer: Tokenizer, news: Features, seed: int) -> tuple[int, int]:
    """Add the day's items and sell some out; return how many old codes moved, and how many sold."""
    ids, codes = tokenizer.ids, tokenizer.codes
    tokenizer.add(news)
    moved = int((tokenizer.encode(ids) != codes).any(axis=1).sum())
    sold_out = np.random.default_rng(seed).choice(ids, size=len(news) // 4, replace=False)
    tokenizer.remove(sold_out)
    return moved, len(sold_out)


def compare_with_opening(opened: Tokenizer, now: Tokenizer) -> None:
    ids = np.array([item for item in opened.ids if item in now], dtype=opened.ids.dtype)
    same = (opened.encode(ids) == now.encode(ids)).all(axis=1).sum()
    print(f"\n{same:,} of the {len(ids):,} items of the opening that are left have their old code")


def start_anew(tokenizer: Tokenizer, features: Features, tomorrow: list[np.ndarray]) -> Tokenizer:
    """Refit on what the shop holds today, and say what that changes."""
    print("\nThe refit: all codes anew, by the same spec; models of the old ones are trained anew")
    assert features.ids is not None
    today = np.flatnonzero([item in tokenizer for item in features.ids.tolist()])
    refit = tokenizer.refit(features.rows(today))
    item, (old, new) = next(iter(refit.mapping().items()))
    old, new = tokenizer.vocabulary.to_strings([old, new])
    print(f"item {item} was {old} and is {new}")
    print(tokenizer.compare(refit.tokenizer))
    for rows in tomorrow[:1]:
        news = features.rows(rows)
        before, after = (last_error(one.drift(news)) for one in (tokenizer, refit.tokenizer))
        print(f"\nrelative error of tomorrow's items: {before:.3f} as it was, {after:.3f} refitted")
    return refit.tokenizer


def catalogue(items: int, seed: int) -> tuple[Features, np.ndarray]:
    """Make up items; return their features, which carry ids, and who is of the new department."""
    dataset = synthetic_catalogue(items=items, users=1, seed=seed)
    assert dataset.features is not None
    assert dataset.categories is not None
    is_new = np.array([text.startswith(NEW_DEPARTMENT) for text in dataset.categories])
    return dataset.features, is_new


def share_out(is_new: np.ndarray, days: int, seed: int) -> Shop:
    """Leave the new department to the last two days, and share the rest out at random."""
    known = np.random.default_rng(seed).permutation(np.flatnonzero(~is_new))
    opening, kept_back, news = np.split(known, [len(known) * 7 // 10, len(known) * 8 // 10])
    quiet, loud = np.array_split(news, days - 2), np.array_split(np.flatnonzero(is_new), 2)
    return Shop(opening, kept_back, [*quiet, *loud])


def last_error(drift: Drift) -> float:
    """Return the relative error after the last level, over the variance of the fit."""
    assert drift.relative_error is not None  # the items of the fit are not all alike
    return drift.relative_error[-1]


if __name__ == "__main__":
    main()
