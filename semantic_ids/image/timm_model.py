"""TimmImages: pictures by a model of timm, PyTorch Image Models."""

from pathlib import Path
from typing import Any, Literal

from semantic_ids.image.base import ImageModel, ImageVectorizer


class TimmImages(ImageVectorizer):
    """Vectors of a model of timm: what its classifier would read.

    Pictures are prepared as timm prepares them for that model at a test.

    Parameters
    ----------
    path : folder with ``config.json`` and ``model.safetensors``, as timm's models are published
        and as ``timm.models.save_for_hf`` writes; or, where `architecture` is given, a
        ``.safetensors`` file of weights.
    device, batch_size : see `ImageVectorizer`.
    architecture : timm's name of the model whose weights a file holds; None for a folder, which
        names it.

    Examples
    --------
    >>> TimmImages(path="vit.safetensors", architecture="vit_tiny_patch16_224").kind
    'timm'
    """

    kind: Literal["timm"] = "timm"
    architecture: str | None = None

    def load(self) -> "LoadedTimmImages":
        """Load the model; see `ImageVectorizer.load`."""
        path = Path(self.path)
        if self.architecture is None:
            if not path.is_dir():
                raise FileNotFoundError(
                    f"{path}: no such folder; nothing is downloaded (of a .safetensors file, give "
                    "the architecture)"
                )
            if not (path / "model.safetensors").is_file():
                raise ValueError(
                    f"{path}: holds no model.safetensors; weights in pickles are not read"
                )
        elif not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; nothing is downloaded")
        elif path.suffix != ".safetensors":
            raise ValueError(f"{path}: expected a .safetensors file; pickles are not read")
        timm = _import_timm()
        try:
            if self.architecture is None:
                model = timm.create_model(f"local-dir:{path}", pretrained=True)
                model.reset_classifier(0)
            else:
                model = _of_file(timm, self.architecture, path)
        except RuntimeError as error:  # an unknown architecture, or weights of another one
            raise ValueError(f"{path}: {error}") from error
        return LoadedTimmImages(self, model.eval().to(self.device))


class LoadedTimmImages(ImageModel):
    """A loaded `TimmImages`.

    Parameters
    ----------
    spec : what it was loaded from.
    model : of timm, without its classifier.
    """

    def __init__(self, spec: TimmImages, model: Any) -> None:
        from timm.data import (  # pyright: ignore[reportMissingImports]
            create_transform,
            resolve_model_data_config,
        )

        self.spec = spec
        self._model = model
        self._prepare: Any = create_transform(**resolve_model_data_config(model), is_training=False)
        self.width = self._measure()

    def _prepared(self, picture: Any) -> Any:
        return self._prepare(picture)

    def _vectors(self, pictures: Any) -> Any:
        return self._model(pictures)


def _import_timm() -> Any:
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError("TimmImages needs timm: pip install 'semantic-ids[image]'") from None
    except RuntimeError as error:  # of operators that torchvision misses
        raise ImportError(
            f"timm cannot be imported ({error}); torchvision has to be built for this torch: "
            "install both from one index"
        ) from error
    return timm


def _of_file(timm: Any, architecture: str, path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = timm.create_model(architecture, pretrained=False, num_classes=0)
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from None
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    kept = {
        name: value
        for name, value in weights.items()
        if not name.startswith(tuple(f"{head}." for head in heads))
    }
    model.load_state_dict(kept)
    return model
