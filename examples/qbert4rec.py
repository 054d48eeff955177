"""From a multimodal catalogue to recommendations: fuse, quantize, learn, rank.

Without arguments it makes up a catalogue, so that it runs anywhere:

    python examples/qbert4rec.py

On a folder with items, interactions and feature arrays (`semantic-ids qbert4rec prepare` makes one
of the raw files of Amazon Reviews), and with the control that asks whether the codes mean anything:

    python examples/qbert4rec.py --data FOLDER --control

An installed package tells the same story, which is `recmodels.demo`, as
`semantic-ids qbert4rec demo`. What it does, without what it prints:

    dataset = read_dataset(folder)                    # or synthetic_catalogue()
    model = QBert4Rec.fit(dataset, seed=0)            # fusion, codes, pretraining, fine-tuning
    print(model.tokenizer.statistics())               # what the codes look like
    print(model.evaluate(dataset).metrics)            # each user's last item, the whole catalogue
    model.save("runs/qbert4rec")
    model = QBert4Rec.load("runs/qbert4rec")
    history = dataset.ids[dataset.histories[0]]
    print(model.recommend([history], k=5))
"""

import argparse
from pathlib import Path

from recmodels.demo import demo


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a catalogue folder; made up if left out")
    parser.add_argument("--out", type=Path, default=Path("runs/qbert4rec"), help="for the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="of torch; networks this small gain little by more"
    )
    parser.add_argument("--drop-short", action="store_true", help="drop users of < 3 items")
    parser.add_argument("--control", action="store_true", help="fit again with permuted codes")
    parser.add_argument("--quick", action="store_true", help="a small run that shows the way only")
    try:
        demo(**vars(parser.parse_args()))
    except FileExistsError as error:
        raise SystemExit(f"--out {error}") from None


if __name__ == "__main__":
    main()
