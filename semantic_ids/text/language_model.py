"""SentenceTransformerText: texts by a language model that lies in a folder."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from semantic_ids.model_files import folder_checksum
from semantic_ids.one_thread import one_thread
from semantic_ids.storage import stored_array
from semantic_ids.text.base import Arrays, FittedText, TextVectorizer


class SentenceTransformerText(TextVectorizer):
    """Vectors of a sentence-transformers model; needs the extra ``text``.

    Nothing is learned and nothing is downloaded: the model's folder must be there, at the fit and
    wherever features are encoded, and is refused if its files are no longer those of the fit. It
    is not saved with the tokenizer.

    Texts go through the model one by one: beside others they would be padded, and the last bits
    of a vector would depend on its neighbours. Where that is too slow, make the vectors beforehand
    and give them as an array.

    Parameters
    ----------
    path : folder that ``SentenceTransformer.save`` wrote.
    device : where torch runs it, such as ``"cpu"`` or ``"cuda"``. On the CPU it runs on one
        thread, so that vectors do not depend on how many there are.
    prompt : put in front of every text, such as ``"passage: "``; None for the model's default.

    Examples
    --------
    >>> SentenceTransformerText(path="models/all-MiniLM-L6-v2").kind
    'sentence-transformers'
    """

    kind: Literal["sentence-transformers"] = "sentence-transformers"
    path: str = Field(min_length=1)
    device: str = "cpu"
    prompt: str | None = None

    def fit(
        self, texts: Sequence[str], *, progress: bool | None = None
    ) -> "FittedSentenceTransformer":
        """Load the model and take the checksum of its files.

        Raises
        ------
        FileNotFoundError
            if there is no such folder.
        ImportError
            if sentence-transformers is not installed.
        ValueError
            if weights in the folder would have to be unpickled.
        """
        checksum = folder_checksum(Path(self.path))
        model = _load(self)
        return FittedSentenceTransformer(self, _vectors(model, self, texts[:1]).shape[1], checksum)

    def restore(self, arrays: Arrays) -> "FittedSentenceTransformer":
        """Rebuild from the checksum and the width; the model is loaded when it is used."""
        checksum = stored_array(arrays, "sha256", (32,), np.uint8).tobytes()
        width = int(stored_array(arrays, "width", (1,), np.int64)[0])
        if width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")
        return FittedSentenceTransformer(self, width, checksum)


class FittedSentenceTransformer(FittedText):
    """A `SentenceTransformerText` that knows which model it was fitted with.

    Parameters
    ----------
    spec : names the folder.
    width : columns of the model's vectors.
    checksum : of the folder, as `folder_checksum` takes it.
    """

    def __init__(self, spec: SentenceTransformerText, width: int, checksum: bytes) -> None:
        self.spec = self._source = spec
        self.width = width
        self._checksum = checksum

    @cached_property
    def _model(self) -> Any:
        if folder_checksum(Path(self._source.path)) != self._checksum:
            raise ValueError(
                f"{self._source.path}: its files are not those that the tokenizer was fitted with; "
                "put that model there again, or fit anew"
            )
        return _load(self._source)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 vectors (n, width), text by text.

        Raises
        ------
        FileNotFoundError, ImportError, ValueError
            as `SentenceTransformerText.fit`; also if the model has changed.
        """
        return _vectors(self._model, self._source, texts)

    def arrays(self) -> Arrays:
        """Width and checksum of the model."""
        return {
            "sha256": np.frombuffer(self._checksum, dtype=np.uint8),
            "width": np.array([self.width], dtype=np.int64),
        }


def _load(spec: SentenceTransformerText) -> Any:
    for pickled in Path(spec.path).rglob("pytorch_model.bin"):
        if not pickled.with_name("model.safetensors").exists():
            raise ValueError(
                f"{pickled}: a pickle, which is not read; save the model as safetensors, with "
                "SentenceTransformer.save"
            )
    try:
        from sentence_transformers import (  # pyright: ignore[reportMissingImports]
            SentenceTransformer,
        )
    except ImportError:
        raise ImportError(
            "SentenceTransformerText needs sentence-transformers: pip install 'semantic-ids[text]'"
        ) from None
    return SentenceTransformer(
        spec.path,
        device=spec.device,
        local_files_only=True,
        model_kwargs={"use_safetensors": True},
    )


def _vectors(model: Any, spec: SentenceTransformerText, texts: Sequence[str]) -> np.ndarray:
    with one_thread():
        vectors = model.encode(
            list(texts),
            prompt=spec.prompt,
            batch_size=1,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
    return np.asarray(vectors, dtype=np.float32)
