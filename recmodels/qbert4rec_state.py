"""How a Q-BERT4Rec model is stored: files of the tokenizer, the encoder and the items."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recmodels.catalogue_vectors import CatalogueVectors, FeatureProjection
from recmodels.qbert4rec_spec import QBert4RecSpec
from recmodels.qbert4rec_training import new_model
from recmodels.sequence_model import SequenceModel
from recmodels.training import seeded
from semantic_ids import Concat, Tokenizer
from semantic_ids.ids import pack_ids, unpack_ids
from semantic_ids.storage import State, stored_array

KIND = "qbert4rec"
_OURS = ("encoder", "items")


@dataclass(frozen=True, eq=False)
class Stored:
    """What a folder holds of a model.

    Attributes
    ----------
    spec : what it was fitted from.
    tokenizer : stages 1 and 2.
    trained_on : fingerprint of the tokenizer that stage 3 learnt to read.
    model : stage 3.
    vectors : the parts of the item vectors that are no codes.
    """

    spec: QBert4RecSpec
    tokenizer: Tokenizer
    trained_on: str
    model: SequenceModel
    vectors: CatalogueVectors

    def to_state(self) -> State:
        """Return metadata and arrays; `from_state` makes the same of them."""
        tokenizer = self.tokenizer.to_state()
        projection = self.vectors.projection
        metadata = {
            "spec": self.spec.model_dump(mode="json"),
            "tokenizer": dict(tokenizer.metadata),
            "trained_on": self.trained_on,
            "item_parts": list(self.vectors.parts),
            "widths": None if projection is None else dict(projection.fuser.widths),
        }
        weights = {name: value.numpy() for name, value in self.model.state_dict().items()}
        files = {**tokenizer.files, "encoder": weights, "items": _item_arrays(self.vectors)}
        return State(KIND, metadata, files)

    @classmethod
    def from_state(cls, state: State) -> "Stored":
        """Rebuild a model.

        Raises
        ------
        ValueError
            if an array is missing, of another shape, or not finite.
        """
        spec = QBert4RecSpec.model_validate(state.metadata["spec"])
        files = {name: arrays for name, arrays in state.files.items() if name not in _OURS}
        tokenizer = Tokenizer.from_state(State("tokenizer", state.metadata["tokenizer"], files))
        with seeded(0):
            model = new_model(spec, tokenizer)
        model.load_state_dict(
            {name: torch.from_numpy(value.copy()) for name, value in state.files["encoder"].items()}
        )
        vectors = _item_vectors(spec, state.metadata, dict(state.files["items"]))
        return cls(spec, tokenizer, state.metadata["trained_on"], model, vectors)


def _item_arrays(vectors: CatalogueVectors) -> dict[str, np.ndarray]:
    arrays = {f"part.{name}": part for name, part in vectors.parts.items()}
    if vectors.projection is not None:
        arrays["projection"] = vectors.projection.weight
        fuser = vectors.projection.fuser.arrays()
        arrays |= {f"fuser.{name}": array for name, array in fuser.items()}
    return pack_ids(vectors.ids) | arrays


def _item_vectors(
    spec: QBert4RecSpec, metadata: Mapping[str, Any], arrays: dict[str, np.ndarray]
) -> CatalogueVectors:
    ids = unpack_ids(arrays)
    parts = {
        name: stored_array(arrays, f"part.{name}", (len(ids), spec.width))
        for name in metadata["item_parts"]
    }
    for name, part in parts.items():
        if not np.isfinite(part).all():
            raise ValueError(f"part.{name}: holds NaN or infinity")
    if metadata["widths"] is None:
        return CatalogueVectors(ids, parts, None)
    prefix = "fuser."
    own = {name[len(prefix) :]: a for name, a in arrays.items() if name.startswith(prefix)}
    fuser = Concat().restore(metadata["widths"], own)
    weight = stored_array(arrays, "projection", (spec.width, None))
    return CatalogueVectors(ids, parts, FeatureProjection(fuser, weight))
