import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Train on one thread: for networks this small, more threads cost more than they bring."""
    torch.set_num_threads(1)
