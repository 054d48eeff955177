"""Quantizers of other packages, behind one signature, for `quantizers.py`.

Each is fitted as its documentation shows, on vectors (N, d) float32, and comes back as codebook
sizes, a function that encodes vectors and one that decodes codes.
"""

import os
from collections.abc import Callable
from importlib import import_module

import numpy as np

LEVELS, SIZE, BITS = 4, 256, 8  # of the codes, where a name does not say otherwise

Encode = Callable[[np.ndarray], np.ndarray]
Method = Callable[[np.ndarray], tuple[tuple[int, ...], Encode, Encode]]


def faiss_residual(beam: int) -> Method:
    """Fit faiss.ResidualQuantizer with a beam."""

    def fit(x: np.ndarray) -> tuple[tuple[int, ...], Encode, Encode]:
        import faiss

        quantizer = faiss.ResidualQuantizer(x.shape[1], LEVELS, BITS)
        quantizer.train_type = faiss.ResidualQuantizer.Train_default
        quantizer.max_beam_size = beam
        quantizer.train(x)
        return (
            (SIZE,) * LEVELS,
            lambda rows: faiss.unpack_bitstrings(quantizer.compute_codes(rows), LEVELS, BITS),
            lambda codes: quantizer.decode(faiss.pack_bitstrings(codes, BITS)),
        )

    return fit


def faiss_kmeans(x: np.ndarray) -> tuple[tuple[int, ...], Encode, Encode]:
    """Fit faiss.Kmeans level by level to what the levels before left over."""
    import faiss

    books, left = [], x.copy()
    for level in range(LEVELS):
        kmeans = faiss.Kmeans(x.shape[1], SIZE, niter=20, seed=level, min_points_per_centroid=1)
        kmeans.train(left)
        books.append(np.array(kmeans.centroids))
        left -= books[-1][faiss.knn(left, books[-1], 1)[1][:, 0]]

    def encode(rows: np.ndarray) -> np.ndarray:
        rest, codes = rows.copy(), []
        for book in books:
            codes.append(faiss.knn(rest, book, 1)[1][:, 0])
            rest -= book[codes[-1]]
        return np.stack(codes, axis=1)

    def decode(codes: np.ndarray) -> np.ndarray:
        return np.sum([book[code] for book, code in zip(books, codes.T, strict=True)], axis=0)

    return (SIZE,) * LEVELS, encode, decode


def faiss_opq(slots: int) -> Method:
    """Fit faiss.OPQMatrix, then faiss.ProductQuantizer."""

    def fit(x: np.ndarray) -> tuple[tuple[int, ...], Encode, Encode]:
        import faiss

        rotation = faiss.OPQMatrix(x.shape[1], slots)
        rotation.train(x)
        matrix = faiss.vector_to_array(rotation.A).reshape(x.shape[1], x.shape[1])
        quantizer = faiss.ProductQuantizer(x.shape[1], slots, BITS)
        quantizer.train(x @ matrix.T)
        return (
            (SIZE,) * slots,
            lambda rows: quantizer.compute_codes(rows @ matrix.T),
            lambda codes: quantizer.decode(codes.astype(np.uint8)) @ matrix,  # pyright: ignore[reportCallIssue]
        )

    return fit


def semantic_id_kmeans(x: np.ndarray) -> tuple[tuple[int, ...], Encode, Encode]:
    """Fit RQKMeans of semantic-id."""
    peer = import_module("semantic_id").RQKMeans
    peer = peer(n_levels=LEVELS, n_clusters=SIZE, random_state=0, n_init=1).fit(x)
    return (SIZE,) * LEVELS, peer.encode, peer.decode


def semantic_id_vae(x: np.ndarray) -> tuple[tuple[int, ...], Encode, Encode]:
    """Fit RQVAE of semantic-id; without `verbose` it would return the first epoch's weights."""
    import torch

    torch.manual_seed(0)
    peer = (
        import_module("semantic_id")
        .RQVAE(
            in_dim=x.shape[1],
            num_emb_list=[SIZE] * LEVELS,
            e_dim=32,
            layers=[512, 256, 128],
            kmeans_init=True,
            lr=1e-3,
            epochs=30,
            verbose=True,
        )
        .fit(x)
    )
    return (SIZE,) * LEVELS, peer.encode, peer.decode


def rectokens_kmeans(x: np.ndarray) -> tuple[tuple[int, ...], Encode, Encode]:
    """Fit RQKMeansTokenizer of rectokens, by mini-batches, one pass."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    import torch

    module = import_module("rectokens.tokenizers.rq_kmeans")
    sequence = import_module("rectokens.core.tokenizer").TokenSequence
    peer = module.RQKMeansTokenizer(num_levels=LEVELS, codebook_size=SIZE, dim=x.shape[1])
    for batch in torch.from_numpy(x).split(1024):
        peer.fit_step(batch)
    return (
        (SIZE,) * LEVELS,
        lambda rows: peer.encode(torch.from_numpy(rows)).codes.numpy(),
        lambda codes: peer.decode(sequence(codes=torch.from_numpy(codes))).numpy(),
    )


def pytorch_residual(x: np.ndarray) -> tuple[tuple[int, ...], Encode, Encode]:
    """Fit ResidualVQ of vector-quantize-pytorch: its moving averages, ten passes."""
    import torch

    torch.manual_seed(0)
    peer = import_module("vector_quantize_pytorch").ResidualVQ(
        dim=x.shape[1],
        num_quantizers=LEVELS,
        codebook_size=SIZE,
        kmeans_init=True,
        threshold_ema_dead_code=2,
    )
    peer.train()
    with torch.no_grad():
        for _ in range(10):
            for batch in torch.from_numpy(x).split(8192):
                peer(batch[None])
    peer.eval()

    def encode(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return peer(torch.from_numpy(rows)[None])[1][0].numpy()

    def decode(codes: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return peer.get_output_from_indices(torch.from_numpy(codes)[None])[0].numpy()

    return (SIZE,) * LEVELS, encode, decode


#: Name -> package on the index, module to import, method.
PEERS: dict[str, tuple[str, str, Method]] = {
    "faiss-rq": ("faiss-cpu", "faiss", faiss_residual(beam=1)),
    "faiss-rq-beam-5": ("faiss-cpu", "faiss", faiss_residual(beam=5)),
    "faiss-kmeans": ("faiss-cpu", "faiss", faiss_kmeans),
    "faiss-opq-4": ("faiss-cpu", "faiss", faiss_opq(slots=4)),
    "faiss-opq-32": ("faiss-cpu", "faiss", faiss_opq(slots=32)),
    "semantic-id-rq-kmeans": ("semantic-id", "semantic_id", semantic_id_kmeans),
    "semantic-id-rq-vae": ("semantic-id", "semantic_id", semantic_id_vae),
    "rectokens-rq-kmeans": ("rectokens", "rectokens", rectokens_kmeans),
    "vq-pytorch-rq": ("vector-quantize-pytorch", "vector_quantize_pytorch", pytorch_residual),
}
