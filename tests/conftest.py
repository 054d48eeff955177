"""What all tests share: the real data, if it is at hand, and how hypothesis runs."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes depends on the machine and its load, not on what it proves.
settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets, NAME/text_emb.npy and so on."""
    folder = os.environ.get("SEMANTIC_IDS_DATA")
    if not folder:
        pytest.skip("SEMANTIC_IDS_DATA is not set: real data is not at hand")
    return Path(folder)
