"""Real vectors for the tests of the tokenizer, and one thread for all but a few of them."""

import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # On small arrays threads mostly wait for each other, the longer the busier the machine is.
    # Only libraries that are loaded already are limited, hence the import of faiss.
    assert faiss.omp_get_max_threads() > 0
    with threadpool_limits(1):
        yield


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
