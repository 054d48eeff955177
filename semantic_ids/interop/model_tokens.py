"""CodeTokens: the tokens of a language model that stand for codes, and giving them to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from semantic_ids.tokenizer import Tokenizer
from semantic_ids.vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Special tokens that a tokenizer of transformers may have by a name of its own.
_ROLES = {f"<{role}>": f"{role}_token" for role in ("pad", "mask", "bos", "eos", "sep", "unk")}

Initial = Literal["drawn", "projected", "pca"]


@dataclass(frozen=True, eq=False)
class CodeTokens:
    """Which token of a language model stands for each token of a `Vocabulary`.

    Made by `add_to`, or, for a tokenizer that has the tokens already, by `CodeTokens.of`.

    Parameters
    ----------
    vocabulary : of the codes.
    ids : (len(vocabulary),) int64; ``ids[vocabulary.encode_batch(histories).input_ids]`` is what
        the model takes.

    Examples
    --------
    >>> tokens = CodeTokens(Vocabulary((2, 2), specials=("<eos>",)), np.array([1, 7, 8, 9, 10]))
    >>> tokens.encode([[0, 1], [1, 0]])
    array([[ 7, 10],
           [ 8,  9]])
    >>> [codes.tolist() for codes in tokens.decode_batch([[5, 7, 10, 1], [8, 9, 8, 10]])]
    [[[0, 1]], [[1, 0], [1, 1]]]
    """

    vocabulary: Vocabulary
    ids: np.ndarray

    @classmethod
    def of(
        cls, tokenizer: Tokenizer | Vocabulary, hf_tokenizer: "PreTrainedTokenizerBase"
    ) -> "CodeTokens":
        """Find the tokens in a tokenizer that `add_to` extended, such as one that was loaded.

        Raises
        ------
        ValueError
            if one is missing.
        """
        vocabulary = _vocabulary(tokenizer)
        known = hf_tokenizer.get_vocab()
        names = [_own_name(name, hf_tokenizer) for name in vocabulary.token_names]
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(
                f"hf_tokenizer: {len(missing)} of {len(names)} tokens are missing "
                f"(first: {missing[0]!r}); give it them with add_to"
            )
        return cls(vocabulary, np.array([known[name] for name in names], dtype=np.int64))

    @property
    def levels(self) -> list[np.ndarray]:
        """Token ids of the codes of each position, P arrays (K_l,) int64."""
        specials, sizes = len(self.vocabulary.specials), self.vocabulary.sizes
        return np.split(self.ids[specials:], np.cumsum(sizes)[:-1])

    def special(self, name: str) -> int:
        """Return the model's token id of a special token, such as ``"<eos>"``.

        Raises
        ------
        ValueError
            if the vocabulary has none of that name.
        """
        return int(self.ids[self.vocabulary.special(name)])

    def encode(self, codes: object) -> np.ndarray:
        """Return the model's token ids (n, P) int64 of unique codes (n, P)."""
        return self.ids[self.vocabulary.encode(codes)]

    def decode_batch(self, input_ids: ArrayLike) -> list[np.ndarray]:
        """Return the unique codes that rows of token ids hold; other tokens are skipped.

        Parameters
        ----------
        input_ids : (B, T) int, as a model takes or generates them; negative where ignored.

        Returns
        -------
        codes : B arrays (n, P) int32, n of each row's own.

        Raises
        ------
        ValueError
            if a row holds a part of a code, or its levels out of order.
        """
        array = np.asarray(input_ids)
        plain = Vocabulary(self.vocabulary.sizes, specials=("<other>",))
        coded = self.ids[len(self.vocabulary.specials) :]
        of = np.zeros(max(int(array.max(initial=0)), int(coded.max())) + 2, dtype=np.int64)
        of[coded] = np.arange(1, len(plain))
        # Labels have -100 where nothing is to be learnt; the last entry is no code's.
        return plain.decode_batch(of[np.maximum(array, -1)])


def add_to(
    tokenizer: Tokenizer | Vocabulary,
    hf_tokenizer: "PreTrainedTokenizerBase",
    model: "PreTrainedModel",
    *,
    initial: Initial = "drawn",
    seed: int = 0,
) -> CodeTokens:
    """Give a language model a token for every code, and the special tokens that it lacks.

    Both `hf_tokenizer` and `model` are changed. A special token that the tokenizer has by another
    name, such as T5's ``</s>`` for ``<eos>``, is taken as it is. Embeddings of tokens that were
    there stay as they are, and a second call changes nothing.

    Parameters
    ----------
    tokenizer : whose codes; a Vocabulary will do for `initial="drawn"`.
    hf_tokenizer, model : of transformers, fitting each other.
    initial : what the embeddings of new tokens are at first, in input and output alike: normal
        numbers (`"drawn"`), or the codebook entries, by a random projection (`"projected"`) or by
        their principal components (`"pca"`). All have the mean and the standard deviation of the
        embeddings that were there, level by level. Entries are what a code adds to the vector
        that a prefix of zeros decodes to; positions that a resolver added have none and are drawn.
    seed : where the random numbers begin.

    Returns
    -------
    tokens : which token of the model stands for which of ours.

    Raises
    ------
    ValueError
        if `initial` is none of these.
    TypeError, NoCodecError
        if it needs codebook entries, and there are none.

    Examples
    --------
    >>> import tokenizers, transformers
    >>> backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"tea": 0}, unk_token="tea"))
    >>> words = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="tea")
    >>> config = transformers.GPT2Config(
    ...     vocab_size=1, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0
    ... )
    >>> model = transformers.GPT2LMHeadModel(config)
    >>> tokens = add_to(Vocabulary((4, 4)), words, model)
    >>> words("<a_3><b_1>")["input_ids"] == tokens.encode([[3, 1]])[0].tolist()
    True
    >>> model.config.vocab_size  # tea, five special tokens, eight codes
    14
    """
    if initial not in ("drawn", "projected", "pca"):
        raise ValueError(f"initial={initial!r} should be 'drawn', 'projected' or 'pca'")
    entries = [] if initial == "drawn" else _entries(tokenizer, initial)
    # Sorted, for get_vocab has another order each time, and sums would differ in the last bits.
    before = np.array(sorted(hf_tokenizer.get_vocab().values()), dtype=np.int64)
    _extend(hf_tokenizer, _vocabulary(tokenizer))
    tokens = CodeTokens.of(tokenizer, hf_tokenizer)
    old = _weights(model)
    statistics = {name: _moments(weight, before) for name, weight in old.items()}
    size = max(len(hf_tokenizer), int(tokens.ids.max()) + 1)
    if size > len(old["input"]):
        model.resize_token_embeddings(size, mean_resizing=False)
    new = ~np.isin(tokens.ids, before)
    rng = np.random.default_rng(seed)
    for name, weight in _weights(model).items():
        rows = rng.normal(size=(len(tokens.ids), weight.shape[1]))
        project = _pca if initial == "pca" else _project
        first = len(tokens.vocabulary.specials)
        for projected in project(entries, weight.shape[1], rng) if entries else []:
            rows[first : first + len(projected)] = projected
            first += len(projected)
        mean, deviation = statistics[name]
        _fill(weight, tokens.ids[new], (mean + deviation * rows)[new])
    return tokens


def _vocabulary(tokenizer: Tokenizer | Vocabulary) -> Vocabulary:
    return tokenizer if isinstance(tokenizer, Vocabulary) else tokenizer.vocabulary


def _own_name(name: str, hf_tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return what a tokenizer calls a token of ours."""
    return getattr(hf_tokenizer, _ROLES[name], None) or name if name in _ROLES else name


def _extend(hf_tokenizer: "PreTrainedTokenizerBase", vocabulary: Vocabulary) -> None:
    """Add the tokens that a tokenizer lacks, those of codes at the end and in their order."""
    from transformers import AddedToken

    roles: dict[str, Any] = {
        _ROLES[name]: name
        for name in vocabulary.specials
        if name in _ROLES and getattr(hf_tokenizer, _ROLES[name], None) is None
    }
    hf_tokenizer.add_special_tokens(roles)
    others = [name for name in vocabulary.specials if name not in _ROLES]
    specials = [AddedToken(name, special=True, normalized=False) for name in others]
    hf_tokenizer.add_tokens(specials, special_tokens=True)
    # Not special: decode(skip_special_tokens=True) is to keep the items. Not normalized: a
    # tokenizer that writes all in small letters would not find them.
    names = vocabulary.token_names[len(vocabulary.specials) :]
    hf_tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])


def _weights(model: "PreTrainedModel") -> Mapping[str, "torch.Tensor"]:
    """Return the embeddings of a model's input and, where they are others, of its output."""
    tables: dict[str, Any] = {"input": model.get_input_embeddings().weight}
    output: Any = model.get_output_embeddings()
    if output is not None and output.weight is not tables["input"]:
        tables["output"] = output.weight
    return tables


def _moments(weight: "torch.Tensor", rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Return mean (h,) and standard deviation of the embeddings in use."""
    import torch

    used = torch.as_tensor(rows[rows < weight.shape[0]], device=weight.device)
    there = weight.detach()[used].float()
    mean = there.mean(dim=0)
    return mean.cpu().numpy(), float((there - mean).square().mean().sqrt())


def _fill(weight: "torch.Tensor", ids: np.ndarray, rows: np.ndarray) -> None:
    import torch

    with torch.no_grad():
        weight[torch.as_tensor(ids, device=weight.device)] = torch.as_tensor(rows).to(weight)


def _entries(tokenizer: Tokenizer | Vocabulary, initial: str) -> list[np.ndarray]:
    """Return what each code of each level adds to a prefix of zeros, L arrays (K_l, d)."""
    if isinstance(tokenizer, Vocabulary):
        raise TypeError(f"tokenizer: initial={initial!r} needs a Tokenizer, got a Vocabulary")
    codec = tokenizer._need_codec()
    entries = []
    for level, size in enumerate(codec.sizes):
        codes = np.zeros((size, level + 1), dtype=np.int32)
        codes[:, level] = np.arange(size)
        vectors = codec.quantizer.decode(codes)
        below = codec.quantizer.decode(codes[:1, :level]) if level else 0.0
        entries.append((vectors - below).astype(np.float64))
    return entries


def _project(entries: list[np.ndarray], width: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Multiply all levels' entries by one matrix of normal numbers, (K_l, width) each."""
    matrix = rng.normal(size=(entries[0].shape[1], width))
    return [_standardised(level @ matrix) for level in entries]


def _pca(entries: list[np.ndarray], width: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Turn entries to their principal components, of all levels together; zeros fill up."""
    centred = [level - level.mean(axis=0) for level in entries]
    _, _, components = np.linalg.svd(np.concatenate(centred), full_matrices=False)
    basis = components[:width].T
    fill = np.zeros((len(basis), width - basis.shape[1]))
    return [_standardised(level @ np.hstack([basis, fill])) for level in centred]


def _standardised(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=0)
    return centred / (np.sqrt((centred**2).mean()) or 1.0)
