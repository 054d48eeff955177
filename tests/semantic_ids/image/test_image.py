"""Pictures become vectors: tiny models of random weights, written by the libraries themselves."""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_ids import ImageVectorizer, TimmImages, TransformersImages
from semantic_ids.image.opening import UnreadableImageError, open_image

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image", reason="the extra `image` is not installed")
transformers = pytest.importorskip("transformers", reason="the extra `image` is not installed")
try:
    import timm
except (ImportError, RuntimeError):  # the latter where torchvision is not that of this torch
    timm = None
needs_timm = pytest.mark.skipif(
    timm is None, reason="timm, of the extra `image`, cannot be imported beside this torch"
)

SIDE = 32


def picture(seed, size=(SIDE, SIDE)):
    values = np.random.default_rng(seed).integers(0, 256, size=(*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A ViT of random weights with its image processor."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=SIDE,
        patch_size=8,
    )
    transformers.ViTModel(config).save_pretrained(folder)
    processor = transformers.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(vit):
    return TransformersImages(path=str(vit), batch_size=4).load()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Files of several formats and sizes, in an order that is not theirs by name."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for number, name in enumerate(["c.png", "a.jpg", "e.webp", "b.gif", "d.bmp", "f.png"]):
        picture(number, (SIDE + 5 * number, SIDE + 3)).save(folder / name)
        paths.append(folder / name)
    return paths


def by_hand(vit, images, attribute="pooler_output"):
    """What the model makes of pictures of its own size: scaled to -1 to 1, one by one."""
    network = transformers.ViTModel.from_pretrained(vit).eval()
    rows = []
    for image in images:
        values = (np.asarray(image, dtype=np.float32) / 255 - 0.5) / 0.5
        with torch.no_grad():
            made = network(pixel_values=torch.from_numpy(values.transpose(2, 0, 1))[None])
        rows.append(getattr(made, attribute)[0].numpy())
    return np.stack(rows)


def test_vectors_are_those_of_the_model(vit, model):
    images = [picture(seed) for seed in range(7)]
    made = model.transform(images, progress=False)
    assert made.vectors.dtype == np.float32
    assert made.present.all()
    np.testing.assert_allclose(made.vectors, by_hand(vit, images), atol=1e-5)
    last = by_hand(vit, images, "last_hidden_state")
    for pooling, expected in (("mean", last.mean(axis=1)), ("first", last[:, 0])):
        other = TransformersImages(path=str(vit), pooling=pooling).load()
        np.testing.assert_allclose(other.transform(images).vectors, expected, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch_or_place(model, vit, photos):
    together = model.transform(photos).vectors
    alone = np.concatenate([model.transform([path]).vectors for path in photos])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(model.transform(photos[::-1]).vectors, together[::-1], atol=1e-5)
    wide = TransformersImages(path=str(vit), batch_size=64).load()
    np.testing.assert_allclose(wide.transform(photos).vectors, together, atol=1e-5)
    assert np.abs(together[:, None] - together[None]).max(axis=2)[~np.eye(6, dtype=bool)].min() > 0


def test_paths_strings_and_images_are_the_same(model, photos):
    opened = [open_image(path) for path in photos]
    np.testing.assert_array_equal(model.transform(photos).vectors, model.transform(opened).vectors)
    np.testing.assert_array_equal(
        model.transform(photos).vectors, model.transform(list(map(str, photos))).vectors
    )


def test_what_is_missing_or_damaged_is_absent_and_counted(model, photos, tmp_path):
    whole = photos[1].read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    Image.new("RGB", (1, 1)).save(tmp_path / "placeholder.gif")
    names = ["cut.jpg", "empty.jpg", "page.jpg", "placeholder.gif", "nowhere.jpg"]
    images = [photos[0], None, *(tmp_path / name for name in names), photos[2]]
    made = model.transform(images)
    assert made.present.tolist() == [True, *[False] * 6, True]
    assert (made.missing, made.unreadable) == (2, 4)
    assert made.first_missing == "row 1"
    assert made.first_unreadable.startswith(str(tmp_path / "cut.jpg"))
    assert "truncated" in made.first_unreadable
    assert not made.vectors[~made.present].any()
    np.testing.assert_allclose(
        made.vectors[[0, -1]], model.transform([photos[0], photos[2]]).vectors, atol=1e-5
    )
    assert "2 missing (first: row 1); 4 unreadable (first: " in repr(made)


def test_without_any_picture_there_are_zeros(model):
    assert model.transform([]).vectors.shape == (0, 24)
    made = model.transform([None, None])
    assert (made.vectors.shape, made.missing) == ((2, 24), 2)


def test_progress_goes_through_all_pictures(model, photos, capsys):
    model.transform([*photos, None], progress=True)
    assert "7/7" in capsys.readouterr().err


def test_other_things_are_refused_by_row(model):
    with pytest.raises(TypeError, match="images: row 1: expected a path or a PIL image, got a int"):
        model.transform([None, 5])


@pytest.mark.parametrize("size", [(3, 40), (40, 3), (2, 2), (3, 1)])
def test_odd_sizes_are_still_pictures(model, size):
    made = model.transform([picture(0, size), picture(1, size)])
    assert made.present.all()
    assert not np.array_equal(*made.vectors)


# --- opening


def test_a_turned_photograph_is_set_upright(tmp_path):
    image = picture(0, (8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # its left edge is the top
    image.save(tmp_path / "turned.png", exif=exif)
    expected = np.rot90(np.asarray(image), k=-1)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "turned.png")), expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "RGBA", "LA", "I;16"])
def test_every_kind_of_picture_becomes_rgb(mode, tmp_path):
    Image.new(mode, (5, 4)).save(tmp_path / "a.tiff")
    opened = open_image(tmp_path / "a.tiff")
    assert (opened.mode, opened.size) == ("RGB", (5, 4))


def test_transparency_is_white(tmp_path):
    pixels = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 51]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = np.asarray(open_image(tmp_path / "a.png"), dtype=int)[0]
    expected = [[200, 0, 0], [255, 255, 255], [244, 204, 204]]  # 255 + (c - 255) / 5
    np.testing.assert_allclose(found, expected, atol=1)


@pytest.fixture(scope="module")
def encoded():
    """The bytes of one picture in several formats."""
    files = {}
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        buffer = io.BytesIO()
        picture(3, (20, 20)).save(buffer, kind)
        files[kind] = buffer.getvalue()
    return files


@given(data=st.data())
def test_damage_gives_a_picture_or_says_that_there_is_none(data, encoded, tmp_path_factory):
    content = bytearray(encoded[data.draw(st.sampled_from(sorted(encoded)))])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[:end])
    with contextlib.suppress(UnreadableImageError):
        assert open_image(path).mode == "RGB"


# --- loading


def test_what_is_not_there_is_not_downloaded():
    for spec in (
        TransformersImages(path="google/vit-base-patch16-224"),
        TimmImages(path="timm/vit_tiny_patch16_224.augreg_in21k"),
        TimmImages(path="vit.safetensors", architecture="vit_tiny_patch16_224"),
    ):
        with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
            spec.load()


def test_pickles_are_refused(tmp_path):
    for name in ("pytorch_model.bin", "model.pth"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="weights in pickles are not read"):
        TransformersImages(path=str(tmp_path)).load()
    with pytest.raises(ValueError, match="weights in pickles are not read"):
        TimmImages(path=str(tmp_path)).load()
    with pytest.raises(ValueError, match="pickles are not read"):
        TimmImages(path=str(tmp_path / "model.pth"), architecture="resnet18").load()


def test_weights_that_would_be_random_are_refused(vit, tmp_path):
    from safetensors.torch import load_file, save_file

    for path in vit.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(vit / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "pooler" not in name}
    assert len(kept) == len(weights) - 2
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r'lack 2 weights .*pooler.*; pooling="mean"'):
        TransformersImages(path=str(tmp_path)).load()
    assert TransformersImages(path=str(tmp_path), pooling="mean").load().width == 24
    kept.pop(min(kept))
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lack 1 weights of the model"):
        TransformersImages(path=str(tmp_path), pooling="mean").load()


def test_code_in_a_folder_is_not_run(vit, tmp_path):
    for path in vit.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModel": "own.Own", "AutoConfig": "own.Cfg"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ValueError, match="trust_remote_code"):
        TransformersImages(path=str(tmp_path)).load()


def test_clip_gives_the_vector_that_texts_are_compared_with(tmp_path):
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "intermediate_size": 16, "vocab_size": 20},
        vision_config={**small, "intermediate_size": 16, "image_size": SIDE, "patch_size": 8},
        projection_dim=12,
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    processor.save_pretrained(tmp_path)
    images = [picture(seed) for seed in range(3)]
    made = TransformersImages(path=str(tmp_path)).load().transform(images).vectors
    network = transformers.CLIPModel.from_pretrained(tmp_path).eval()
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        seen = network.vision_model(pixel_values=pixels)
        expected = network.visual_projection(seen.pooler_output)
    np.testing.assert_allclose(made, expected.numpy(), atol=1e-5)
    mean = TransformersImages(path=str(tmp_path), pooling="mean").load().transform(images).vectors
    np.testing.assert_allclose(mean, seen.last_hidden_state.mean(dim=1).numpy(), atol=1e-5)


def test_convolutions_are_pooled_over_the_picture(tmp_path):
    torch.manual_seed(0)
    config = transformers.ConvNextConfig(hidden_sizes=[8, 12], depths=[1, 1], num_stages=2)
    transformers.ConvNextModel(config).save_pretrained(tmp_path)
    processor = transformers.ConvNextImageProcessorPil(size={"shortest_edge": SIDE})
    processor.save_pretrained(tmp_path)
    images = [picture(seed) for seed in range(3)]
    for pooling in ("model", "mean"):
        loaded = TransformersImages(path=str(tmp_path), pooling=pooling).load()
        made = loaded.transform(images)
        assert made.vectors.shape == (3, 12)
        alone = loaded.transform(images[2:]).vectors
        np.testing.assert_allclose(made.vectors[2:], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "module"),
    [(TransformersImages, "transformers"), (TransformersImages, "PIL"), (TimmImages, "timm")],
)
def test_without_the_library_the_extra_is_named(spec, module, vit, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'semantic-ids\[image\]'"):
        spec(path=str(vit)).load()


def test_specs_are_values():
    for spec in (
        TransformersImages(path="a", pooling="mean", batch_size=2),
        TimmImages(path="a.safetensors", architecture="resnet18"),
    ):
        assert ImageVectorizer.parse(spec.model_dump(mode="json")) == spec
    with pytest.raises(ValueError, match="unknown imagevectorizer kind 'camera'"):
        ImageVectorizer.parse({"kind": "camera", "path": "x"})
    with pytest.raises(ValueError, match="batch_size"):
        TimmImages(path="a", batch_size=0)


# --- timm

#: A ViT that is small enough for a test.
TINY = {"img_size": SIDE, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def timm_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timm")
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=5, **TINY)
    timm.models.save_for_hf(
        network,
        folder,
        model_args=TINY,
        data_config={"crop_pct": 1.0},
        safe_serialization=True,
    )
    return folder, network.eval()


@needs_timm
def test_a_folder_of_timm_gives_what_its_classifier_would_read(timm_folder, photos):
    folder, network = timm_folder
    loaded = TimmImages(path=str(folder), batch_size=3).load()
    assert loaded.width == 24
    images = [picture(seed) for seed in range(5)]
    made = loaded.transform([*images, None])
    assert made.present.tolist() == [True] * 5 + [False]
    values = np.stack([(np.asarray(i, dtype=np.float32) / 255 - 0.5) / 0.5 for i in images])
    with torch.no_grad():
        maps = network.forward_features(torch.from_numpy(values.transpose(0, 3, 1, 2)))
        expected = network.forward_head(maps, pre_logits=True).numpy()
    np.testing.assert_allclose(made.vectors[:5], expected, atol=1e-5)
    together = loaded.transform(photos).vectors
    alone = np.concatenate([loaded.transform([path]).vectors for path in photos])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@needs_timm
def test_a_file_of_weights_goes_by_its_architecture(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model("test_vit", pretrained=False, num_classes=7).eval()
    path = tmp_path / "weights.safetensors"
    save_file(network.state_dict(), path)
    loaded = TimmImages(path=str(path), architecture="test_vit").load()
    made = loaded.transform([picture(0, (200, 180))])
    network.reset_classifier(0)
    with torch.no_grad():
        expected = network(loaded._prepare(picture(0, (200, 180)))[None]).numpy()
    np.testing.assert_allclose(made.vectors, expected, atol=1e-5)
    for architecture, message in [
        ("test_resnet", "Missing key"),
        ("no_such_net", "Unknown model"),
    ]:
        with pytest.raises(ValueError, match=message):
            TimmImages(path=str(path), architecture=architecture).load()
    path.write_bytes(b"not")
    with pytest.raises(ValueError, match="not a safetensors file"):
        TimmImages(path=str(path), architecture="test_vit").load()


def test_a_broken_torchvision_is_named(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "broken").mkdir()
    Path(tmp_path / "broken" / "timm.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "broken"))
    with pytest.raises(ImportError, match="torchvision has to be built for this torch"):
        TimmImages(path=str(tmp_path)).load()
