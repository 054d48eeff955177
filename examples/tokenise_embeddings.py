"""Tokenise my own embeddings: a file of vectors goes in, a code for every item comes out.

The ten lines are those of `tokenise`; the rest makes up vectors, where no file is given:

    python examples/tokenise_embeddings.py
    python examples/tokenise_embeddings.py --embeddings vectors.npy --out my-codes
"""

import argparse
from pathlib import Path

import numpy as np

from semantic_ids import RQKMeans, Tokenizer


def tokenise(embeddings: Path | np.ndarray, out: Path, codebook_size: int) -> None:
    tokenizer = Tokenizer.fit(embeddings, quantizer=RQKMeans(codebook_size=codebook_size))
    tokenizer.save(out, overwrite=True)
    print(tokenizer.statistics())
    (code,) = tokenizer.encode([0])  # an id, here a row number -> its unique code
    (text,) = tokenizer.vocabulary.to_strings(code)  # as the tokens of a language model
    print(f"\nitem 0 is {text}, and {text} is item {tokenizer.lookup(code)[0]}")
    print(f"nearest by codes: {tokenizer.neighbours(code, k=4).ids[0][1:]}")
    alike = tokenizer.items_under(code[:1])
    print(f"{len(alike):,} items share its first code, such as {alike[:5]}")
    print(f"its vector, from the code: {tokenizer.decode(code)['features'][0, :4].round(2)}, ...")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--embeddings", type=Path, help=".npy, (items, columns); else made up")
    parser.add_argument("--out", type=Path, default=Path("runs/tokens"), help="for the tokenizer")
    parser.add_argument("--codebook-size", type=int, default=256, help="at most as many as items")
    parser.add_argument("--quick", action="store_true", help="fewer items, smaller codebooks")
    arguments = parser.parse_args()

    size = min(arguments.codebook_size, 32) if arguments.quick else arguments.codebook_size
    embeddings = arguments.embeddings
    if embeddings is None:
        embeddings = made_up_vectors(500 if arguments.quick else 5000)
        print("No --embeddings were given: these are made up.\n")
    tokenise(embeddings, arguments.out, size)
    print(f"\ntokenizer in {arguments.out}: Tokenizer.load({str(arguments.out)!r})")


def made_up_vectors(items: int, width: int = 64) -> np.ndarray:
    """Items of fifty kinds, each a little beside the middle of its kind, (items, width)."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(50, width))
    vectors = kinds[rng.integers(50, size=items)] + 0.3 * rng.normal(size=(items, width))
    return vectors.astype(np.float32)


if __name__ == "__main__":
    main()
