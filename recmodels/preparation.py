"""From the raw files of Amazon Reviews to a data folder: `Preparation`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, SerializeAsAny

from recmodels.data.amazon import read_amazon
from recmodels.data.amazon_items import AmazonItem, read_amazon_items
from recmodels.data.folder import ITEMS
from recmodels.data.interactions import Interactions
from recmodels.data.jsonl import lines
from recmodels.data.writing import write_interactions, write_items
from recmodels.item_pictures import listing_sha256, pictures_by_name, write_images
from recmodels.unfinished import UnfinishedFolder, file_sha256, versions
from semantic_ids import ImageVectorizer, Spec, TextVectorizer, TfidfText
from semantic_ids.model_files import model_checksum

#: Rows of text that a killed run does again at most.
_BLOCK_TEXTS = 1024

#: What the vectors of a built-in kind of text depend on, beside the package itself.
_LIBRARIES = {
    "tfidf-svd": ("scikit-learn", "scipy"),
    "sentence-transformers": ("sentence-transformers", "transformers", "torch"),
}
_ROWS = "items are in the order of their ids, users too"
_TIES = "interactions of one user at one time keep the order of the reviews file"


class Preparation(Spec):
    """How a data folder is made of reviews and metadata.

    Parameters
    ----------
    core : interactions that each user and each item needs with those that stay.
    description : characters of an item's description that its text takes in, at most.
    text : how texts become vectors.
    image : how pictures become vectors; None for a folder without.

    Examples
    --------
    >>> Preparation(core=3, text={"kind": "tfidf-svd", "width": 64}).text.width
    64
    """

    core: int = Field(default=5, ge=3)
    description: int = Field(default=1000, ge=0)
    text: Annotated[SerializeAsAny[TextVectorizer], BeforeValidator(TextVectorizer.parse)] = (
        TfidfText()
    )
    image: (
        Annotated[SerializeAsAny[ImageVectorizer], BeforeValidator(ImageVectorizer.parse)] | None
    ) = None

    def run(
        self,
        reviews: str | Path,
        meta: str | Path,
        out: str | Path,
        *,
        images: str | Path | None = None,
        name: str | None = None,
        overwrite: bool = False,
        progress: bool | None = None,
    ) -> dict[str, Any]:
        """Make the folder, or go on where a run with equal arguments was cut off.

        Items of which the metadata say nothing are left out with their interactions, then users
        and items of fewer than `core` interactions, until all have enough. Every other rating and
        every repeat stays. Items are in the order of their ids, users too; interactions of one
        user at one time keep the order of the file. Equal input makes equal files.

        Parameters
        ----------
        reviews : a file that `read_amazon` reads.
        meta : its metadata, as `read_amazon_items` reads them.
        out : folder to make. Until it is whole it is ``OUT.partial``.
        images : folder of pictures, each named by its item's id and any ending, such as
            ``B0047.jpg``; of several, the first by name. What is missing or unreadable is masked.
        name : of the data set; by default that of the folder.
        overwrite : replace what was made or begun there with other arguments.
        progress : show bars; None shows them in a terminal.

        Returns
        -------
        about : what ``dataset.json`` then says: counts, arguments, checksums, versions.

        Raises
        ------
        FileExistsError
            if the folder holds other things, or was made or begun with other arguments.
        FileNotFoundError
            if a file, a folder or a model is not there.
        ValueError
            if a file cannot be used, nothing is left, or `images` and `image` are not both given.
        """
        if (images is None) != (self.image is None):
            raise ValueError("images, a folder, needs a model to read it, and a model a folder")
        sources = {"reviews": Path(reviews), "meta": Path(meta)}
        for path in sources.values():
            if not path.is_file():
                raise FileNotFoundError(f"{path}: no such file")
        pictures = None if images is None else pictures_by_name(Path(images))
        out = Path(out)
        unfinished = UnfinishedFolder(
            out,
            {
                "name": name or out.resolve().name,
                **{f"{key}_sha256": file_sha256(path) for key, path in sources.items()},
                "images_listing_sha256": None if pictures is None else listing_sha256(pictures),
                "spec": self.model_dump(mode="json"),
                **self._model_checksums(),
            },
            overwrite=overwrite,
        )
        if unfinished.whole is not None:
            return unfinished.whole
        # Models first: what cannot be loaded is said before the work.
        model = None if self.image is None else self.image.load()
        if getattr(self.text, "path", None) is not None:
            self.text.fit(["any text"])
        counts = unfinished.stage(
            "catalogue", lambda: self._write_catalogue(unfinished, sources, progress)
        )
        text = unfinished.stage("text", lambda: self._write_texts(unfinished, progress))
        about = {
            "name": name or out.resolve().name,
            **counts,
            "rows": _ROWS,
            "ties": _TIES,
            "files": {key: path.name for key, path in sources.items()},
            "text": text,
        }
        if pictures is not None and model is not None:
            about["image"] = unfinished.stage(
                "image", lambda: write_images(unfinished, model, pictures, progress)
            )
        return unfinished.commit(about)

    def _model_checksums(self) -> dict[str, str]:
        """Return the checksums of the models that vectorizers name by a path."""
        paths = {
            "text": getattr(self.text, "path", None),
            "image": getattr(self.image, "path", None),
        }
        return {
            f"{name}_model_sha256": model_checksum(Path(path)).hex()
            for name, path in paths.items()
            if path is not None
        }

    def _write_catalogue(
        self, unfinished: UnfinishedFolder, sources: Mapping[str, Path], progress: bool | None
    ) -> dict[str, Any]:
        seen = read_amazon(sources["reviews"], progress=progress)
        known = read_amazon_items(sources["meta"], seen.item_ids.tolist(), progress=progress)
        described = {item: what for item, what in known.items() if what.text(self.description)}
        if not described:
            raise ValueError(
                f"{sources['meta']}: describes none of the {len(seen.item_ids):,} items of "
                f"{sources['reviews']}; are the two of one category and one year?"
            )
        kept = seen.of_items(described).k_core(self.core, self.core)
        ids = kept.item_ids.tolist()
        write_interactions(unfinished.path, kept.histories, map(str, kept.user_ids.tolist()))
        write_items(unfinished.path, ({"id": item, **described[item]._asdict()} for item in ids))
        return {
            **_counts(kept),
            "raw": {
                "users": len(seen.user_ids),
                "items": len(seen.item_ids),
                "interactions": len(seen),
                "items_without_description": len(seen.item_ids) - len(described),
            },
        }

    def _write_texts(self, unfinished: UnfinishedFolder, progress: bool | None) -> dict[str, Any]:
        records = (record for _, record in lines(unfinished.path / ITEMS))
        texts = [
            AmazonItem(*(record[key] for key in AmazonItem._fields)).text(self.description)
            for record in records
        ]
        fitted = self.text.fit(texts, progress=progress)
        vectors = unfinished.blocks(
            "texts",
            len(texts),
            _BLOCK_TEXTS,
            lambda start, end: {"vectors": fitted.transform(texts[start:end])},
            progress=progress,
        )["vectors"]
        unfinished.save("text_emb.npy", vectors)
        return {
            "columns": vectors.shape[1],
            "versions": versions(*_LIBRARIES.get(self.text.model_dump()["kind"], ())),
        }


def _counts(kept: Interactions) -> dict[str, int]:
    """Count what stays, and what figures on such data hang by: repeats and ties."""
    lengths = np.bincount(kept.users)
    ends = np.cumsum(lengths)
    pairs = np.unique(np.stack([kept.users, kept.items]), axis=1).shape[1]
    return {
        "users": len(kept.user_ids),
        "items": len(kept.item_ids),
        "interactions": len(kept),
        "repeated_interactions": len(kept) - pairs,
        "users_whose_last_two_tie": int((kept.times[ends - 1] == kept.times[ends - 2]).sum()),
    }
