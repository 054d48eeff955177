"""Real vectors for the tests of the tokenizer."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tiny(data_folder):
    """Text vectors of a small catalogue, (N, 384) float32."""
    return np.load(data_folder / "tiny_office" / "text_emb.npy").astype(np.float32)


@pytest.fixture(scope="session")
def scientific(data_folder):
    """Text vectors of a catalogue in which some items have the same text, (N, 384) float32."""
    return np.load(data_folder / "amazon18_scientific" / "text_emb.npy").astype(np.float32)


@pytest.fixture(scope="session")
def films(data_folder):
    """Text vectors, poster vectors and which films have a poster."""
    folder = data_folder / "ml100k"
    names = ("text_emb", "image_feat", "image_mask")
    return tuple(np.load(folder / f"{name}.npy") for name in names)
