"""Bars: what is shown, and that a killed process stops no other."""

import os
import signal
import threading

import pytest
from tqdm import tqdm

from semantic_ids.progress import progress_bar


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_killed_inside_a_bar_stops_no_other():
    """A child takes the lock of bars, as drawing one does, and is killed before it lets go."""
    bar = progress_bar(range(1), description="bar", progress=False)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        type(bar).get_lock().acquire()
        os.write(writing, b"held")
        signal.pause()
    assert os.read(reading, 4) == b"held"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done = threading.Event()

    def another():
        list(progress_bar(range(3), description="another", progress=False))
        done.set()

    threading.Thread(target=another, daemon=True).start()
    assert done.wait(timeout=10)


def test_bars_of_other_packages_keep_their_lock():
    assert type(progress_bar(description="bar", progress=False)).get_lock() is not tqdm.get_lock()
