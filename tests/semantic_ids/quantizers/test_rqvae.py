"""RQ-VAE: no collapse, errors as good as a peer's, codes that repeat bit for bit."""

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score
from threadpoolctl import threadpool_limits
from torch import nn

from semantic_ids import RQVAE, Latent, Optimisation, RQKMeans
from semantic_ids.quantizers.neural.fitting import _Fit
from semantic_ids.quantizers.neural.lookup import Lookup

SMALL = RQVAE(
    levels=3,
    codebook_size=8,
    hidden=(16,),
    code_dim=6,
    batch_size=64,
    optimisation=Optimisation(epochs=25, learning_rate=5e-3),
)


def relative_error(x, decoded):
    x = x.astype(np.float64)
    return ((x - decoded) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()


def planted(n=600, width=12, seed=0):
    """Eight classes, eight kinds within each class, and noise; and the class of each row.

    Classes and kinds lie in five dimensions, so that a latent of six can hold them.
    """
    # The classes are those of every seed, so that other rows resemble those of the fit.
    fixed, rng = np.random.default_rng(99), np.random.default_rng(seed)
    directions = fixed.normal(size=(5, width))
    coarse, fine = 8 * fixed.normal(size=(8, 5)), fixed.normal(size=(8, 5))
    labels = rng.integers(8, size=n)
    x = (coarse[labels] + fine[rng.integers(8, size=n)]) @ directions
    x += 0.1 * rng.normal(size=x.shape)
    return x.astype(np.float32), labels


@pytest.fixture(scope="module")
def fitted():
    return SMALL.fit(planted()[0], progress=False)


def utilisation(codes, sizes):
    return [len(np.unique(codes[:, level])) / size for level, size in enumerate(sizes)]


# --- learning


def test_planted_classes_are_the_first_codes(fitted):
    x, labels = planted()
    codes = fitted.encode(x)
    assert normalized_mutual_info_score(labels, codes[:, 0]) > 0.8
    assert relative_error(x, fitted.decode(codes)) < 0.05
    assert min(utilisation(codes, fitted.codebook_sizes)) == 1


def test_each_level_lowers_the_error(fitted):
    x, _ = planted()
    totals = fitted.errors(x, fitted.encode(x)).sum(axis=0)
    assert (np.diff(totals) < 0).all()


def test_the_log_says_what_happened(fitted):
    log = fitted.log
    assert set(log.terms) == {"reconstruction", "commitment"}
    assert log.terms["reconstruction"][-1] < 0.1 < log.terms["reconstruction"][0]
    assert len(log.utilisation) == len(log.losses) == len(log.validation)
    assert all(len(shares) == 3 for shares in log.utilisation)
    assert SMALL.restore(fitted.arrays()).log.losses == ()


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_unit_of_the_vectors_does_not_matter(scale):
    x, _ = planted()
    spec = SMALL.model_copy(update={"optimisation": Optimisation(epochs=8, learning_rate=5e-3)})
    plain, scaled = (spec.fit(factor * x + 3 * factor, progress=False) for factor in (1, scale))
    errors = [
        relative_error(factor * x + 3 * factor, q.decode(q.encode(factor * x + 3 * factor)))
        for factor, q in ((1, plain), (scale, scaled))
    ]
    assert errors[1] == pytest.approx(errors[0], rel=0.2)


@pytest.mark.parametrize(
    "lookup",
    [
        Lookup(),
        Lookup(estimator="rotation"),
        Lookup(estimator="gumbel", temperature=0.1),
        Lookup(search="cosine"),
        Lookup(search="cosine", decay=0.9),
    ],
    ids=lambda s: f"{s.search}-{s.estimator}-{s.decay}",
)
def test_every_way_of_choosing_and_learning_learns(lookup):
    x, _ = planted()
    fitted = SMALL.model_copy(update={"lookup": lookup}).fit(x, progress=False)
    codes = fitted.encode(x)
    assert relative_error(x, fitted.decode(codes)) < 0.15
    assert min(utilisation(codes, fitted.codebook_sizes)) >= 0.75


def test_a_level_whose_assignment_is_balanced_in_training_is_used_more_evenly():
    x, _ = planted()
    perplexity = []
    for sinkhorn in (0.0, (0.0, 0.0, 0.003)):
        spec = SMALL.model_copy(update={"sinkhorn": sinkhorn, "restart": False})
        last = spec.fit(x, progress=False).encode(x)[:, 2]
        shares = np.bincount(last, minlength=8) / len(last)
        perplexity.append(np.exp(-(shares[shares > 0] * np.log(shares[shares > 0])).sum()))
    assert perplexity[1] > perplexity[0]


# --- which epoch is kept: never the one with the fewest collisions


def collision_rate(codes):
    return 1 - len(np.unique(codes, axis=0)) / len(codes)


def test_the_kept_epoch_is_not_the_one_with_the_fewest_collisions(monkeypatch):
    """A peer keeps the epoch of the lowest collision rate: on these rows an untrained network.

    A narrow latent of 64 kinds of rows: before training its codes tell the noise of rows of one
    kind apart, afterwards they say the kind.
    """
    rng = np.random.default_rng(0)
    kinds = 2 * rng.normal(size=(64, 4)) @ rng.normal(size=(4, 12))
    x = kinds[rng.integers(64, size=600)] + 0.5 * rng.normal(size=(600, 12))
    rates, validate = [], _Fit.validate

    def watched(self):
        measured = validate(self)
        rates.append(collision_rate(self._codes))
        return measured

    monkeypatch.setattr(_Fit, "validate", watched)
    spec = SMALL.model_copy(update={"code_dim": 3, "lookup": Lookup()})
    log = spec.fit(x, progress=False).log
    fewest, kept = int(np.argmin(rates)), log.best_epoch
    assert kept is not None
    assert fewest < 3
    assert log.validation[fewest] < -0.8, "it hardly rebuilds more than the mean"
    assert log.validation[kept] > -0.3
    assert kept > 10


def test_held_out_rows_are_never_trained_on():
    x, _ = planted(200)
    seen = []
    original = _Fit._batch

    def watched(self, rows):
        if torch.is_grad_enabled():
            seen.append(rows)
        return original(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Fit, "_batch", watched)
        SMALL.model_copy(update={"held_out": 0.2}).fit(x, progress=False)
    assert len(np.unique(np.concatenate(seen))) == 160


# --- repeatable, and pure


def test_fitting_leaves_torch_as_it_was():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    fast = SMALL.model_copy(update={"optimisation": Optimisation(epochs=1)})
    fast.fit(planted()[0], progress=False).encode(planted()[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert (torch.get_float32_matmul_precision(), torch.get_num_threads()) == (precision, threads)


def test_codes_do_not_depend_on_threads_batches_or_order(fitted):
    x, _ = planted(700, seed=1)
    whole, latents = fitted.encode(x), fitted.latents(x)
    order = np.random.default_rng(0).permutation(len(x))
    assert np.array_equal(fitted.latents(x[order]), latents[order])
    for batch in (1, 255, 257):
        parts = [fitted.latents(x[i : i + batch]) for i in range(0, 514, batch)]
        assert np.array_equal(np.concatenate(parts)[:514], latents[:514])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with threadpool_limits(threads):
                assert np.array_equal(fitted.latents(x), latents)
                assert np.array_equal(fitted.encode(x), whole)
                assert np.array_equal(
                    fitted.decode(whole), fitted.decode(whole[order])[order.argsort()]
                )
    finally:
        torch.set_num_threads(before)


def test_a_memory_mapped_matrix_is_read_row_by_row(tmp_path, monkeypatch):
    x, _ = planted(300)
    np.save(tmp_path / "x.npy", x)
    mapped = Latent.of(np.load(tmp_path / "x.npy", mmap_mode="r"))
    asked = []
    original = _Fit._batch
    monkeypatch.setattr(
        _Fit, "_batch", lambda self, rows: asked.append(len(rows)) or original(self, rows)
    )
    spec = SMALL.model_copy(update={"optimisation": Optimisation(epochs=2), "batch_size": 50})
    codes = spec.fit(mapped, progress=False).encode(x)
    assert isinstance(mapped.matrix.base, np.memmap) or isinstance(mapped.matrix, np.memmap)
    assert asked.count(50) == 2 * 6
    assert np.array_equal(spec.fit(x, progress=False).encode(x), codes)


# --- what is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"levels": 0}, "levels"),
        ({"codebook_size": 0}, r"codebook_size=0: expected 1 to 1048576"),
        ({"levels": 3, "codebook_size": (8, 8)}, r"has 2 entries, levels=3"),
        ({"levels": 3, "sinkhorn": (0.1, 0.1)}, r"sinkhorn=\(0.1, 0.1\): expected .* 3 levels"),
        ({"sinkhorn": -1.0}, r"sinkhorn=-1.0"),
        ({"hidden": (0,)}, "hidden"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_fields_are_checked_when_the_spec_is_made(fields, message):
    with pytest.raises(ValueError, match=message):
        RQVAE(**fields)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("network.encoder.0.weight", lambda a: a[:, :-1], r"expected float32 of shape \(16, 12\)"),
        ("network.decoder.2.bias", lambda a: a * np.float32(np.nan), "holds NaN"),
        ("blocks", lambda a: a[:, ::-1].copy(), r"blocks: expected \(start, stop\)"),
    ],
)
def test_arrays_that_do_not_fit_are_not_restored(fitted, name, change, message):
    arrays = fitted.arrays()
    with pytest.raises(ValueError, match=message):
        SMALL.restore(arrays | {name: change(arrays[name])})


def test_a_diverging_training_is_an_error():
    spec = SMALL.model_copy(
        update={"optimisation": Optimisation(epochs=3, learning_rate=1e30, clip=1e30)}
    )
    with pytest.raises(FloatingPointError, match="rq-vae: the loss of epoch"):
        spec.fit(planted()[0], progress=False)


# --- real data


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_no_level_collapses_on_real_vectors(scientific, seed):
    spec = RQVAE(seed=seed)
    fitted = spec.fit(scientific, progress=False)
    codes = fitted.encode(scientific)
    assert min(utilisation(codes, spec.codebook_sizes)) > 0.95
    mine = relative_error(scientific, fitted.decode(codes))
    plain = RQKMeans(seed=seed).fit(scientific, progress=False)
    # Not below it: k-means has no bottleneck, and these are the rows of the fit.
    assert mine < 1.3 * relative_error(scientific, plain.decode(plain.encode(scientific)))


@pytest.mark.slow
def test_the_error_is_at_most_that_of_a_peer_of_the_same_shape_and_steps(scientific):
    peer = pytest.importorskip("vector_quantize_pytorch")
    spec = RQVAE()
    fitted = spec.fit(scientific, progress=False)
    mine = relative_error(scientific, fitted.decode(fitted.encode(scientific)))

    torch.manual_seed(0)
    x = torch.from_numpy((scientific - scientific.mean(axis=0)) / scientific.std(axis=0).mean())
    encoder = nn.Sequential(nn.Linear(384, 512), nn.ReLU(), nn.Linear(512, 64))
    decoder = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 384))
    books = peer.ResidualVQ(
        dim=64, num_quantizers=4, codebook_size=256, kmeans_init=True, threshold_ema_dead_code=2
    )
    module = nn.ModuleList([encoder, books, decoder])
    epochs = len(fitted.log.losses)
    steps = epochs * -(-len(x) // spec.batch_size)
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=3e-4)
    books(encoder(x)[None].detach())  # k-means on everything, as here
    for _ in range(steps):
        batch = x[torch.randint(len(x), (spec.batch_size,))]
        values, _, commitment = books(encoder(batch)[None])
        loss = (decoder(values[0]) - batch).square().mean() + commitment.sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    module.eval()
    with torch.no_grad():
        rebuilt = decoder(books(encoder(x)[None])[0][0])
    theirs = relative_error(x.numpy(), rebuilt.numpy())
    assert mine <= theirs
