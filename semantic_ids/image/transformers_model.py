"""TransformersImages: pictures by a vision model of Hugging Face's transformers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from semantic_ids.image.base import ImageModel, ImageVectorizer


class TransformersImages(ImageVectorizer):
    """Vectors of a vision model in transformers' form: ViT, DINOv2, CLIP, SigLIP, Swin, ConvNeXt.

    Pictures are prepared as the folder's ``preprocessor_config.json`` says, by Pillow, so that
    they are the same whether torchvision is installed or not.

    Parameters
    ----------
    path : folder that ``save_pretrained`` of the model and of its image processor wrote.
    device, batch_size : see `ImageVectorizer`.
    pooling : what stands for a picture. ``"model"``: the vector that the model itself makes,
        which of CLIP and its like is the one that texts are compared with; refused where
        the file has no weights for it, as that of a ViT classifier. ``"mean"`` and ``"first"``:
        the mean of the last layer's vectors, or the first of them, that of the class token.

    Examples
    --------
    >>> TransformersImages(path="models/dinov2-small", pooling="first").kind
    'transformers-vision'
    """

    kind: Literal["transformers-vision"] = "transformers-vision"
    pooling: Literal["model", "mean", "first"] = "model"

    def load(self) -> "LoadedTransformersImages":
        """Load the model and its image processor; see `ImageVectorizer.load`."""
        folder = Path(self.path)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; nothing is downloaded")
        if not any(folder.glob("*.safetensors")):
            raise ValueError(
                f"{folder}: holds no .safetensors file; weights in pickles are not read: save "
                "the model with save_pretrained"
            )
        try:
            import PIL  # noqa: F401
            from transformers import AutoImageProcessor, AutoModel
        except ImportError as error:
            raise ImportError(
                f"TransformersImages cannot import transformers and Pillow ({error}): "
                "pip install 'semantic-ids[image]'; a torchvision, if there is one, has to be "
                "built for this torch"
            ) from error
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **local)
        with _no_bars():
            model, found = AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype="float32", output_loading_info=True, **local
            )
        self._check_weights(set(found["missing_keys"]))
        return LoadedTransformersImages(self, model.eval().to(self.device), processor)

    def _check_weights(self, missing: set[str]) -> None:
        """Refuse a model part of which would be random numbers."""
        used = {name for name in missing if self.pooling == "model" or "pooler" not in name}
        if not used:
            return
        hint = ""
        if all("pooler" in name for name in used):
            hint = '; pooling="mean" or "first" does without'
        raise ValueError(
            f"{self.path}: its files lack {len(used)} weights of the model "
            f"(first: {min(used)}){hint}"
        )


class LoadedTransformersImages(ImageModel):
    """A loaded `TransformersImages`.

    Parameters
    ----------
    spec : what it was loaded from.
    model, processor : of transformers, for that folder.
    """

    def __init__(self, spec: TransformersImages, model: Any, processor: Any) -> None:
        self.spec = self._source = spec
        self._model = model
        self._processor = processor
        self.width = self._measure()

    def _prepared(self, picture: Any) -> Any:
        # Said outright: of a picture that is three pixels high it would be guessed.
        made = self._processor(
            images=picture, return_tensors="pt", input_data_format="channels_last"
        )
        return made["pixel_values"][0]

    def _vectors(self, pictures: Any) -> Any:
        own = self._source.pooling == "model"
        if own and hasattr(self._model, "get_image_features"):
            made = self._model.get_image_features(pixel_values=pictures)
            return getattr(made, "pooler_output", made)
        # Of a model of pictures and texts, the half that sees.
        made = getattr(self._model, "vision_model", self._model)(pixel_values=pictures)
        if own:
            vector = getattr(made, "pooler_output", None)
            if vector is None:
                raise ValueError(
                    f"{self.spec.path}: {type(self._model).__name__} makes no vector of a whole "
                    'picture; choose pooling="mean" or "first"'
                )
            return vector.flatten(1)  # of convolutions (n, width, 1, 1)
        last = made.last_hidden_state
        if last.ndim == 4:  # of convolutions (n, width, h, w)
            last = last.flatten(2).transpose(1, 2)
        return last.mean(dim=1) if self._source.pooling == "mean" else last[:, 0]


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers from showing bars of its own inside."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
