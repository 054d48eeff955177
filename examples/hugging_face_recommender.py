"""Somebody else's recommender on our tokens: a GPT-2 of Hugging Face learns to say the next item.

Nothing here knows of `recmodels`. The model sees token ids, which `Vocabulary` makes of codes, and
says nothing but items of the catalogue, to which `CodeTrie` keeps it. Any sequence model can be
put in GPT-2's place. Its weights are random at first, so nothing is downloaded:

    python examples/hugging_face_recommender.py --data FOLDER

FOLDER holds text_emb.npy, interactions.jsonl.gz and perhaps items.jsonl.gz, as in the README.
Without it a catalogue is made up in which the next item's kind follows from the last one's.
transformers comes with the extra `hf`.
"""

import argparse
import gzip
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, LogitsProcessor, LogitsProcessorList

from semantic_ids import CodeTrie, RQKMeans, Tokenizer, Vocabulary

LONGEST = 20  # items of a history that the model reads
K = 10
NOTHING = -100  # stands where no token is to be learnt


@dataclass(frozen=True)
class Shop:
    """What is needed of a shop: a vector an item, and users' rows of items, oldest first."""

    vectors: np.ndarray
    histories: list[list[int]]
    titles: list[str]


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    started = time.perf_counter()

    shop = read_shop(arguments.data) if arguments.data else made_up_shop(arguments.seed)
    if not arguments.data:
        print("No --data FOLDER was given: this catalogue is made up, and so are its users.")
    print(f"{len(shop.vectors):,} items, {len(shop.histories):,} users")

    tokenizer = Tokenizer.fit(
        shop.vectors, quantizer=RQKMeans(levels=3, codebook_size=64), progress=False
    )
    vocabulary, trie = tokenizer.vocabulary, tokenizer.trie
    print(f"{tokenizer}: {len(vocabulary)} tokens instead of {len(tokenizer):,} items")

    # Leave-one-out: the last item is asked for, the one before it is kept out of training, too.
    model = new_model(vocabulary)
    train(
        model,
        vocabulary,
        [tokenizer.codes[history[:-2]] for history in shop.histories],
        epochs=min(arguments.epochs, 8) if arguments.quick else arguments.epochs,
        seed=arguments.seed,
    )

    asked = np.random.default_rng(arguments.seed).permutation(len(shop.histories))
    asked = asked[: min(arguments.users, 200) if arguments.quick else arguments.users]
    before = [shop.histories[user][:-1] for user in asked]
    wanted = np.array([shop.histories[user][-1] for user in asked])
    print(f"asking for the last item of {len(asked):,} users", flush=True)
    ours = recommend(model, vocabulary, trie, [tokenizer.codes[rows] for rows in before])
    learnt = np.concatenate([history[:-2] for history in shop.histories])
    popular = np.argsort(-np.bincount(learnt, minlength=len(shop.vectors)), kind="stable")[:K]

    print(f"\n{'over the whole catalogue':26s}    HR@{K}")
    print(f"{'GPT-2 on semantic IDs':26s} {hit_rate(ours, wanted):8.4f}")
    print(f"{'the most popular items':26s} {hit_rate(popular[None], wanted):8.4f}")

    print("\nafter")
    for row in before[0][-4:]:
        print(f"  {shop.titles[row][:80]}")
    print("the model says")
    for row in ours[0][:4]:
        (code,) = vocabulary.to_strings(tokenizer.codes[row])
        print(f"  {code:22s} {shop.titles[row][:60]}")
    print(f"\n{time.perf_counter() - started:.0f} s in all")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a catalogue folder; made up if left out")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--users", type=int, default=1000, help="how many are asked for, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--quick", action="store_true", help="a small run that shows the way only")
    return parser.parse_args()


def read_shop(folder: Path) -> Shop:
    vectors = np.load(folder / "text_emb.npy").astype(np.float32)
    with gzip.open(folder / "interactions.jsonl.gz", "rt", encoding="utf-8") as lines:
        histories = [json.loads(line)["items"] for line in lines]
    titles = [f"item {row}" for row in range(len(vectors))]
    if (folder / "items.jsonl.gz").exists():
        with gzip.open(folder / "items.jsonl.gz", "rt", encoding="utf-8") as lines:
            titles = [str(json.loads(line).get("title")) for line in lines]
    return Shop(vectors, [history for history in histories if len(history) >= 3], titles)


def made_up_shop(seed: int, kinds: int = 20, size: int = 20, users: int = 2000) -> Shop:
    """Make up items of some kinds, whose vectors tell them, and users who go from kind to kind."""
    rng = np.random.default_rng(seed)
    kind = np.arange(kinds * size) // size
    vectors = rng.normal(size=(kinds, 32))[kind] + 0.3 * rng.normal(size=(len(kind), 32))
    follows = np.roll(rng.permutation(kinds), 1)
    histories = []
    for _ in range(users):
        at, history = rng.integers(kinds), []
        for _ in range(rng.integers(4, 12)):
            history.append(int(at * size + rng.integers(size)))
            at = follows[at]
        histories.append(history)
    titles = [f"kind {k}, no. {number % size}" for number, k in enumerate(kind)]
    return Shop(vectors.astype(np.float32), histories, titles)


def new_model(vocabulary: Vocabulary) -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(vocabulary),
            n_positions=(LONGEST + 1) * len(vocabulary.sizes) + 1,
            n_embd=64,
            n_layer=2,
            n_head=4,
            bos_token_id=vocabulary.special("<bos>"),
            eos_token_id=vocabulary.special("<eos>"),
            pad_token_id=vocabulary.special("<pad>"),
        )
    )


def train(
    model: GPT2LMHeadModel,
    vocabulary: Vocabulary,
    histories: list[np.ndarray],
    *,
    epochs: int,
    seed: int,
    batch_size: int = 64,
) -> None:
    """Learn to say each token of a history from those before it."""
    rng = np.random.default_rng(seed)
    steps = epochs * -(-len(histories) // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        # Of about equal length in a batch, so that little of it is padding.
        order = rng.permutation(len(histories))
        order = order[np.argsort([len(histories[user]) for user in order], kind="stable")]
        batches = np.array_split(order, -(-len(order) // batch_size))
        losses = []
        for number in rng.permutation(len(batches)):
            ids, mask = tensors(vocabulary, [histories[user] for user in batches[number]])
            logits = model(input_ids=ids, attention_mask=mask).logits
            following = ids.masked_fill(mask == 0, NOTHING)[:, 1:]
            loss = cross_entropy(logits[:, :-1].mT, following, ignore_index=NOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1:2d}: {np.mean(losses):.3f} nats a token", flush=True)


def tensors(
    vocabulary: Vocabulary,
    histories: list[np.ndarray],
    padding_side: Literal["left", "right"] = "right",
) -> tuple[torch.Tensor, torch.Tensor]:
    batch = vocabulary.encode_batch(
        histories,
        max_length=LONGEST * len(vocabulary.sizes) + 1,
        padding_side=padding_side,
        bos=True,
    )
    return torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)


class OnlyItems(LogitsProcessor):
    """Allows the tokens after `start` that lead on to an item of the catalogue, no others."""

    def __init__(self, vocabulary: Vocabulary, trie: CodeTrie, start: int) -> None:
        self.offsets, self.trie, self.start = vocabulary.offsets, trie, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Set the scores (B, V) of all tokens that must not follow `input_ids` (B, T) to -inf."""
        said = input_ids[:, self.start :]
        level = said.shape[1]
        first, size = self.offsets[level], self.trie.sizes[level]
        mask = self.trie.torch_mask(said - torch.from_numpy(self.offsets[:level]))
        allowed = torch.zeros_like(scores, dtype=torch.bool)
        allowed[:, first : first + size] = mask
        return scores.masked_fill(~allowed, -torch.inf)


def recommend(
    model: GPT2LMHeadModel,
    vocabulary: Vocabulary,
    trie: CodeTrie,
    histories: list[np.ndarray],
    batch_size: int = 100,
    beams: int = 20,
) -> np.ndarray:
    """Return the rows of the K items that a beam search finds best for each history, (n, K)."""
    model.eval()
    # Its type says more of the model than transformers declares of GPT-2.
    generate: Any = getattr(model, "generate")  # noqa: B009
    found = []
    for begin in range(0, len(histories), batch_size):
        ids, mask = tensors(vocabulary, histories[begin : begin + batch_size], "left")
        said = generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=len(vocabulary.sizes),
            num_beams=beams,
            num_return_sequences=K,
            do_sample=False,
            logits_processor=LogitsProcessorList([OnlyItems(vocabulary, trie, ids.shape[1])]),
        )
        nodes = trie.root(len(said))
        for codes in vocabulary.decode(said[:, ids.shape[1] :].numpy()).T:
            nodes = trie.step(nodes, codes)
        found.append(trie.rows_at(nodes).reshape(-1, K))
    return np.concatenate(found)


def hit_rate(recommended: np.ndarray, wanted: np.ndarray) -> float:
    return float((recommended == wanted[:, None]).any(axis=1).mean())


if __name__ == "__main__":
    main()
