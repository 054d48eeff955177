"""What the contract test runs on: one small spec of every quantizer, and one small catalogue."""

import numpy as np

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
    Latent,
    MMGRec,
    Optimisation,
    PerModality,
    ProductKMeans,
    ProductVQ,
    PrototypeRQ,
    Quantizer,
    RQKMeans,
    Side,
)
from semantic_ids.quantizers.neural.lookup import Lookup

#: Networks so small and so briefly trained that only the promises can be tested of them.
TINY = {"hidden": (8,), "optimisation": Optimisation(epochs=2), "batch_size": 32}
SMALL = TINY | {"hidden": 8, "code_dim": 3}

#: A quantizer is covered by a line here. Keep it small: it is fitted a dozen times.
QUANTIZERS: list[Quantizer] = [
    RQKMeans(levels=3, codebook_size=(6, 4, 5), iterations=5),
    RQKMeans(levels=1, codebook_size=8, iterations=5),
    RQKMeans(levels=3, codebook_size=5, iterations=5, restarts=2, beam=4),
    RQKMeans.fine(levels=3, codebook_size=(6, 4, 5), refine=3),
    RQKMeans(levels=2, codebook_size=8, balanced=True),
    RQKMeans(levels=3, codebook_size=(6, 4, 5), prefix_weight=1.0),
    HierarchicalKMeans(levels=3, codebook_size=(6, 4, 5), iterations=5),
    HierarchicalKMeans(levels=4, iterations=5),
    # Its list of all codes puts those first that say rightly who has what: a test of its own.
    PerModality(
        quantizers={
            "text": RQKMeans(levels=2, codebook_size=8, iterations=5),
            "image": ProductKMeans(slots=2, codebook_size=8, iterations=5),
        }
    ),
    PSRQ(modalities=("text", "image"), levels=2, codebook_size=4, iterations=5),
    PSRQ(modalities=("text", "image"), levels=1, codebook_size=(6,)),
    RQVAE(levels=3, codebook_size=(6, 4, 5), code_dim=4, **TINY),
    LETTER(levels=2, codebook_size=(6, 4), code_dim=4, clusters=2, **TINY),
    FSQ(sizes=(5, 4, 2), **TINY),
    ProductVQ(levels=3, codebook_size=5, slot_dim=2, **TINY),
    ProductVQ(levels=2, codebook_size=(5, 3), shared=False, lookup=Lookup(search="cosine"), **TINY),
    MMQ(modalities=("text", "image"), shared=1, specific=1, codebook_size=5, **SMALL),
    MMQ(modalities=("text", "image"), shared=0, specific=2, codebook_size=4, **SMALL),
    LAMIA(slots=3, codebook_size=5, **SMALL),
    BBQRec(modalities=("text", "image"), levels=2, codebook_size=4, **SMALL),
    MMGRec(levels=2, codebook_size=6, code_dim=4, **TINY),
    PrototypeRQ(names=tuple("abcdef"), modality="text", levels=2, codebook_size=5, iterations=5),
    ProductKMeans(slots=3, codebook_size=5, iterations=5),
    ProductKMeans(slots=2, codebook_size=6, shared=True, iterations=5),
    OPQ(slots=3, codebook_size=5, rounds=3, iterations=5),
    RQOPQ(
        head=RQKMeans(levels=2, codebook_size=4, iterations=5),
        tail=OPQ(slots=2, codebook_size=5, rounds=2, iterations=5),
    ),
    RQOPQ(
        head=RQKMeans(levels=1, codebook_size=6, iterations=5),
        tail=ProductKMeans(slots=2, codebook_size=4, iterations=5),
    ),
]

#: Items, and columns of the modalities that the catalogue has.
ITEMS = 60
WIDTHS = {"text": 5, "image": 3}


def name_of(spec: Quantizer) -> str:
    """The fields that are not at their defaults, to tell the specs of one kind apart."""
    chosen = spec.model_dump(mode="json", exclude_defaults=True)
    return "-".join([spec.model_dump()["kind"], *(f"{key}={chosen[key]}" for key in chosen)])


def features(seed: int = 0, n: int = ITEMS) -> Features:
    """Clustered vectors of two modalities; every seventh item lacks text, another one image."""
    rng = np.random.default_rng(seed)
    # The clusters are those of every seed, so that other items resemble those of the fit.
    centres = np.random.default_rng(99).normal(size=(8, sum(WIDTHS.values())))
    values = centres[rng.integers(8, size=n)] + 0.3 * rng.normal(size=(n, centres.shape[1]))
    place = np.arange(n) % 7
    return Features(
        {"text": values[:, : WIDTHS["text"]], "image": values[:, WIDTHS["text"] :]},
        present={"text": place != 3, "image": place != 5},
    )


def latent(seed: int = 0, n: int = ITEMS, widths: dict[str, int] | None = None) -> Latent:
    """The same items side by side, zeros where a modality is missing."""
    given, widths = features(seed, n), widths or WIDTHS
    blocks, columns, start = {}, [], 0
    for place, (name, width) in enumerate(widths.items()):
        values = given.modalities[name][:, :width]
        columns.append(np.where(given.present[:, place, None], values, 0))
        blocks[name] = slice(start, start + width)
        start += width
    matrix = np.concatenate(columns, axis=1).astype(np.float32)
    return Latent(matrix, blocks, given.present)


def side(n: int = ITEMS) -> Side:
    """Something of everything that a fit may ask for."""
    rng = np.random.default_rng(7)
    return Side(
        collaborative=rng.normal(size=(n, 4)),
        graph=(rng.random((n, n)) < 0.1).astype(float),
        counts=rng.integers(1, 9, size=n),
        labels=rng.integers(3, size=n),
        prototypes=rng.normal(size=(6, WIDTHS["text"])),
    )
