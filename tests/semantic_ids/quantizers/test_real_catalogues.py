"""Every quantizer on real catalogues: films with posters, videos with sound, products with text."""

import numpy as np
import pytest
from scipy.sparse import coo_array

from semantic_ids import (
    FSQ,
    LAMIA,
    LETTER,
    MMQ,
    OPQ,
    PSRQ,
    RQOPQ,
    RQVAE,
    BBQRec,
    Features,
    HierarchicalKMeans,
    MMGRec,
    Optimisation,
    PerModality,
    ProductKMeans,
    ProductVQ,
    PrototypeRQ,
    RQKMeans,
    Side,
    Tokenizer,
)

pytestmark = pytest.mark.slow

FILES = {
    "ml100k": {"text": "text_emb", "image": "image_feat"},
    "tiktok_features": {"image": "image_feat", "audio": "audio_feat"},
    "amazon18_scientific": {"text": "text_emb"},
}
SHORT = Optimisation(epochs=2)
K = 32


def quantizers(names):
    head = RQKMeans(levels=2, codebook_size=K, iterations=5)
    inner = RQKMeans(levels=4 // len(names), codebook_size=K, iterations=5)
    return [
        RQKMeans(codebook_size=K),
        RQKMeans.fine(codebook_size=K, refine=2),
        RQKMeans(codebook_size=K, balanced=True),
        HierarchicalKMeans(levels=4, codebook_size=16),
        ProductKMeans(slots=4, codebook_size=K),
        OPQ(slots=4, codebook_size=K, rounds=2),
        RQOPQ(head=head, tail=OPQ(slots=2, codebook_size=K, rounds=2)),
        PerModality(quantizers=dict.fromkeys(names, inner)),
        PSRQ(modalities=names, levels=2, codebook_size=K),
        PrototypeRQ(names=("one", "two", "three"), codebook_size=K, optimisation=SHORT),
        RQVAE(codebook_size=K, optimisation=SHORT),
        LETTER(codebook_size=K, optimisation=SHORT),
        MMGRec(codebook_size=K, optimisation=SHORT),
        BBQRec(modalities=names, codebook_size=K, optimisation=SHORT),
        MMQ(modalities=names, codebook_size=K, optimisation=SHORT),
        LAMIA(codebook_size=K, optimisation=SHORT),
        ProductVQ(codebook_size=K, optimisation=SHORT),
        FSQ(sizes=(K,) * 4, optimisation=SHORT),
    ]


KINDS = list(range(len(quantizers(("text",)))))


@pytest.fixture(scope="module", params=FILES)
def catalogue(request, data_folder):
    """Features of a catalogue, and made-up things that fitting may use beside them."""
    folder = data_folder / request.param
    arrays = {name: np.load(folder / f"{file}.npy") for name, file in FILES[request.param].items()}
    masks = {name: folder / f"{name}_mask.npy" for name in arrays}
    present = {name: np.load(path) for name, path in masks.items() if path.exists()}
    features = Features(arrays, present=present)
    rng = np.random.default_rng(0)
    n, width = len(features), sum(features.widths.values())
    one, other = np.arange(n), np.roll(np.arange(n), 1)
    ends = np.concatenate([one, other]), np.concatenate([other, one])
    return features, Side(
        collaborative=rng.normal(size=(n, 8)),
        graph=coo_array((np.ones(2 * n), ends), shape=(n, n)),
        counts=rng.integers(0, 50, n),
        prototypes=rng.normal(size=(3, width)),
    )


@pytest.mark.parametrize("number", KINDS, ids=[q.kind for q in quantizers(("text",))])
def test_a_tokenizer_of_every_kind_does_its_work(catalogue, number, tmp_path):
    features, side = catalogue
    quantizer = quantizers(tuple(features.widths))[number]
    tokenizer = Tokenizer.fit(features, side=side, quantizer=quantizer, progress=False)
    codes = tokenizer.encode(np.arange(len(features)))
    assert len(np.unique(codes, axis=0)) == len(features)
    assert tokenizer.lookup(codes) == list(range(len(features)))
    some = features.rows(slice(100, 140))
    np.testing.assert_array_equal(tokenizer.encode(some), tokenizer.content_codes[100:140])
    tokenizer.save(tmp_path / "saved")
    loaded = Tokenizer.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.encode(some), tokenizer.content_codes[100:140])
    decoded = loaded.decode(codes[:5])
    assert {name: array.shape for name, array in decoded.items()} == {
        name: (5, width) for name, width in features.widths.items()
    }
    assert loaded.lookup(codes[:5]) == [0, 1, 2, 3, 4]
    figures = tokenizer.statistics()
    assert figures.relative_error < 1.05
    new = loaded.add(some, ids=np.arange(40) + len(features))
    assert not (new[:, None] == codes).all(axis=2).any()
