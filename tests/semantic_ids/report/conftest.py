"""A made-up catalogue whose titles try to be more than text."""

import numpy as np
import pytest

from semantic_ids import Features, RQKMeans, Tokenizer

EVIL = [
    "<script>window.evil = 1</script>",
    "</script><img src=x onerror='window.evil = 1'>",
    "<a href='javascript:window.evil=1'>tea</a> <b>bold</b>",
    'Tom & "Jerry" \u2028 ${evil} `evil` %{label} \\u003c \x00',
    "half a pair \ud800 of surrogates",
]
KINDS = ["green tea", "black coffee", "red lipstick", "blue paint", "steel screw", "glass bulb"]


@pytest.fixture(scope="session")
def features():
    rng = np.random.default_rng(3)
    kind = np.arange(500) % len(KINDS)
    text = rng.normal(size=(len(KINDS), 12))[kind] + 0.3 * rng.normal(size=(500, 12))
    image = rng.normal(size=(len(KINDS), 6))[kind] + 0.5 * rng.normal(size=(500, 6))
    text[7] = text[13]
    image[7] = image[13]
    ids = [f"B{number:03d}" for number in range(500)]
    return Features({"text": text, "<i>image": image}, ids=ids)


@pytest.fixture(scope="session")
def items(features):
    titles = [f"{KINDS[row % len(KINDS)]} no {row}" for row in range(500)]
    titles[: len(EVIL)] = EVIL
    return {"id": features.ids, "title": titles, "category": [KINDS[row % 6] for row in range(500)]}


@pytest.fixture(scope="session")
def tokenizer(features):
    return Tokenizer.fit(features, quantizer=RQKMeans(levels=3, codebook_size=16), progress=False)


@pytest.fixture(scope="session")
def page(tokenizer, features, items, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "page.html"
    return tokenizer.report(path, features=features, items=items, progress=False)
