"""The image stage: pictures become vectors, before modalities are fused."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from semantic_ids.image.opening import UnreadableImageError, open_image
from semantic_ids.progress import progress_bar
from semantic_ids.spec import StageSpec


class ImageVectorizer(StageSpec, ABC):
    """How pictures become vectors: by a model that lies on disk; needs the extra ``image``.

    Nothing is learned and nothing is downloaded. A subclass declares its `kind`, by which it is
    found.

    Parameters
    ----------
    path : where the model lies.
    device : where torch runs it, such as ``"cpu"`` or ``"cuda"``.
    batch_size : pictures that go through the model together.

    Examples
    --------
    >>> ImageVectorizer.parse({"kind": "timm", "path": "models/vit"}).batch_size
    32
    """

    group: ClassVar[str] = "semantic_ids.image"

    path: str = Field(min_length=1)
    device: str = "cpu"
    batch_size: int = Field(default=32, ge=1)

    @abstractmethod
    def load(self) -> "ImageModel":
        """Load the model.

        Raises
        ------
        FileNotFoundError
            if there is none.
        ImportError
            if the library that it needs is not installed.
        ValueError
            if its files cannot be used, or would have to be unpickled.
        """


@dataclass(frozen=True, eq=False)
class ImageVectors:
    """Vectors of N pictures, and which of them there are.

    Attributes
    ----------
    vectors : (N, d) float32, zeros where there is no picture.
    present : (N,) bool.
    missing : how many were None, or files that are not there.
    unreadable : how many files hold no picture, or only part of one.
    first_missing, first_unreadable : the first of these, by its path or row; None without any.

    Examples
    --------
    >>> ImageVectors(np.zeros((2, 3), np.float32), np.array([True, False]), 1, 0, "tea.jpg")
    ImageVectors(1 of 2 pictures, 3 columns; 1 missing (first: tea.jpg))
    """

    vectors: np.ndarray
    present: np.ndarray
    missing: int = 0
    unreadable: int = 0
    first_missing: str | None = None
    first_unreadable: str | None = None

    def __repr__(self) -> str:
        """Count them."""
        text = f"{self.present.sum():,} of {len(self.present):,} pictures"
        text += f", {self.vectors.shape[1]} columns"
        if self.missing:
            text += f"; {self.missing:,} missing (first: {self.first_missing})"
        if self.unreadable:
            text += f"; {self.unreadable:,} unreadable (first: {self.first_unreadable})"
        return f"ImageVectors({text})"


@dataclass
class _Absent:
    """What `ImageVectors` says of the pictures that there are not, while they are opened."""

    missing: int = 0
    unreadable: int = 0
    first_missing: str | None = None
    first_unreadable: str | None = None

    def opened(self, row: int, image: Any) -> Any:
        """Return a picture; None, and counted, if it is not there."""
        name = str(image) if isinstance(image, str | Path) else f"row {row}"
        try:
            if image is not None:
                return open_image(image)
        except FileNotFoundError:
            pass
        except UnreadableImageError as error:
            self.unreadable += 1
            self.first_unreadable = self.first_unreadable or f"{name}: {error}"
            return None
        except TypeError as error:
            raise TypeError(f"images: row {row}: {error}") from None
        self.missing += 1
        self.first_missing = self.first_missing or name
        return None


class ImageModel(ABC):
    """A loaded `ImageVectorizer`: a pure function from one picture to one vector.

    Vectors of equal pictures agree to some 1e-5 in whatever batch they are made.

    Attributes
    ----------
    spec : the ImageVectorizer that it was loaded from.
    width : columns of the vectors.
    """

    spec: ImageVectorizer
    width: int

    def transform(self, images: Sequence[Any], *, progress: bool | None = None) -> ImageVectors:
        """Return the vectors of pictures, in their order.

        Parameters
        ----------
        images : paths of files, PIL images, or None where there is no picture.
        progress : show a bar; None shows it in a terminal.

        Raises
        ------
        TypeError
            if anything is none of these.
        ValueError
            if the model makes anything but a finite vector of a picture.
        """
        vectors = np.zeros((len(images), self.width), dtype=np.float32)
        present = np.zeros(len(images), dtype=bool)
        absent = _Absent()
        with progress_bar(total=len(images), description="images", progress=progress) as bar:
            for start in range(0, len(images), self.spec.batch_size):
                block = images[start : start + self.spec.batch_size]
                prepared = {
                    row: self._prepared(picture)
                    for row, image in enumerate(block, start=start)
                    if (picture := absent.opened(row, image)) is not None
                }
                if prepared:
                    rows = list(prepared)
                    vectors[rows] = self._checked(list(prepared.values()))
                    present[rows] = True
                bar.update(len(block))
        return ImageVectors(vectors, present, **vars(absent))

    def _checked(self, prepared: list[Any]) -> np.ndarray:
        import torch

        shapes = {tuple(picture.shape) for picture in prepared}
        if len(shapes) > 1:
            raise ValueError(
                f"{self.spec.path}: makes pictures of several sizes, {sorted(shapes)[:2]}, which "
                "do not go through it together; give batch_size=1"
            )
        with torch.inference_mode():
            made = self._vectors(torch.stack(prepared).to(self.spec.device))
        vectors = made.float().cpu().numpy()
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise ValueError(
                f"{self.spec.path}: expected a finite vector a picture, got shape "
                f"{vectors.shape[1:]} a picture, NaN or infinity"
            )
        return vectors

    def _measure(self) -> int:
        """Return how many columns the vectors have, by a grey picture."""
        from PIL import Image

        return self._checked([self._prepared(Image.new("RGB", (64, 64), "grey"))]).shape[1]

    @abstractmethod
    def _prepared(self, picture: Any) -> Any:
        """Return an RGB image as the tensor (3, h, w) that the model takes."""

    @abstractmethod
    def _vectors(self, pictures: Any) -> Any:
        """Return the vectors (n, width) of prepared images (n, 3, h, w)."""
