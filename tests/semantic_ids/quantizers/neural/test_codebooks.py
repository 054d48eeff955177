"""Codebooks: gradients at every level, k-means starts, running means, restarts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from semantic_ids.quantizers.neural.codebooks import Codebook, ResidualLevels
from semantic_ids.quantizers.neural.estimators import straight_through
from semantic_ids.quantizers.neural.lookup import Lookup
from semantic_ids.quantizers.neural.losses import codebook_loss, commitment_loss

LOOKUPS = [
    Lookup(search=search, estimator=estimator, decay=decay)
    for search in ("euclidean", "cosine")
    for estimator in ("straight-through", "rotation", "gumbel")
    for decay in (None, 0.9)
    if not (estimator == "gumbel" and decay)
]
every_lookup = pytest.mark.parametrize(
    "lookup", LOOKUPS, ids=lambda s: f"{s.search}-{s.estimator}-{s.decay}"
)


def latents(n=40, width=4, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32))


def levels(lookup=None, sizes=(6, 5, 4), width=4, epsilons=None, seed=0):
    torch.manual_seed(seed)
    return ResidualLevels(sizes, width, lookup or Lookup(), epsilons or (0.0,) * len(sizes))


# --- gradients


@every_lookup
def test_the_commitment_of_every_level_reaches_the_latents(lookup):
    books, z = levels(lookup), latents().requires_grad_()
    quantized = books(z)
    for level in range(3):
        loss = commitment_loss([quantized.vectors[level]], [quantized.entries[level]])
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        assert gradient.norm(dim=1).min() > 0


def test_the_usual_form_of_the_residual_cancels_the_commitment_after_the_first_level():
    """The defect that `ResidualLevels` avoids, so that the test above is known to see it."""
    books, z = levels(), latents().requires_grad_()
    residual, norms = z, []
    for book in books.levels():
        _, entry = book(residual)
        (gradient,) = torch.autograd.grad(
            commitment_loss([residual], [entry]), z, retain_graph=True
        )
        norms.append(float(gradient.norm()))
        residual = residual - straight_through(residual, entry)
    assert norms[0] > 0
    assert norms[1:] == [0.0, 0.0]


@every_lookup
def test_the_decoders_gradient_reaches_the_latents(lookup):
    books, z = levels(lookup), latents().requires_grad_()
    weights = latents(seed=1)
    (gradient,) = torch.autograd.grad((books(z).values * weights).sum(), z)
    assert gradient.norm(dim=1).min() > 0


@pytest.mark.parametrize("search", ["euclidean", "cosine"])
def test_the_codebook_loss_of_a_level_moves_the_chosen_entries_of_that_level(search):
    books = levels(Lookup(search=search))
    quantized = books(latents())
    codebook_loss(quantized.vectors, quantized.entries).backward()
    for level, book in enumerate(books.levels()):
        moved = book.table.grad.norm(dim=1) > 0
        assert set(np.flatnonzero(moved)) == set(quantized.codes[:, level].tolist())


# --- values and codes


@every_lookup
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_evaluation_takes_the_codes_of_the_exact_search(lookup, seed):
    books, z = levels(lookup, seed=seed).eval(), latents(seed=seed)
    quantized, search = books(z), books.search()
    codes = search.codes(z.numpy())
    assert (codes == quantized.codes.numpy()).mean() > 0.99  # float32 ties may differ
    agree = (codes == quantized.codes.numpy()).all(axis=1)
    values = quantized.values.detach().numpy()
    assert np.allclose(values[agree], search.decode(codes)[agree], atol=1e-5)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_cosine_search_takes_the_largest_cosine(decay):
    torch.manual_seed(0)
    book, z = Codebook(16, 5, Lookup(search="cosine", decay=decay)).eval(), latents(width=5)
    table = book.entries().detach()
    cosines = torch.nn.functional.cosine_similarity(z[:, None], table[None], dim=2)
    assert torch.equal(book(z)[0], cosines.argmax(dim=1))
    assert table.norm(dim=1).numpy() == pytest.approx(float(table.norm(dim=1)[0]) * np.ones(16))


def test_balanced_assignment_spreads_a_level_in_training_and_not_in_evaluation():
    books, z = levels(epsilons=(0.0, 0.0, 0.003), sizes=(2, 2, 4)), latents(400)
    with torch.no_grad():
        books.levels()[2].table.copy_(torch.arange(4)[:, None] * 10.0 + torch.zeros(4, 4))
    assert len(books.eval()(z).codes[:, 2].unique()) == 1
    counts = books.train()(z).codes[:, 2].bincount(minlength=4)
    assert counts.min() >= 80


# --- starting at k-means


def test_starts_are_the_clusters_of_what_is_left_over():
    rng = np.random.default_rng(0)
    coarse, fine = 10 * rng.normal(size=(4, 6)), rng.normal(size=(3, 6))
    picks = rng.integers(4, size=300), rng.integers(3, size=300)
    z = (coarse[picks[0]] + fine[picks[1]] + 0.01 * rng.normal(size=(300, 6))).astype(np.float32)
    books = levels(sizes=(4, 3), width=6)
    books.start(z, seed=0)
    first = books.levels()[0].entries().detach().numpy()
    peer = KMeans(4, n_init=10, random_state=0).fit(z).cluster_centers_
    gaps = np.linalg.norm(first[:, None] - peer[None], axis=2)
    assert gaps.min(axis=1) == pytest.approx(np.zeros(4), abs=1e-3)
    codes = books.search().codes(z)
    left = z - first[codes[:, 0]]
    again = KMeans(3, n_init=10, random_state=0).fit(left)
    error = ((z - books.search().decode(codes)) ** 2).sum()
    assert error <= 1.05 * again.inertia_


@pytest.mark.parametrize("search", ["euclidean", "cosine"])
def test_running_means_start_at_the_same_entries(search):
    z = latents(200).numpy()
    by_gradient, by_means = (levels(Lookup(search=search, decay=d)) for d in (None, 0.9))
    by_gradient.start(z, seed=0)
    by_means.start(z, seed=0)
    one, other = (books.levels()[0].entries() for books in (by_gradient, by_means))
    assert torch.allclose(one, other, atol=1e-5)


# --- running means


@given(seed=st.integers(0, 2**32 - 1), decay=st.floats(0.1, 0.99))
def test_entries_are_the_running_means_of_a_naive_loop(seed, decay):
    torch.manual_seed(seed % 2**31)
    book = Codebook(5, 3, Lookup(decay=decay)).train()
    counts = [0.2] * 5
    sums = book.get_buffer("sums").double().numpy().copy()
    for step in range(3):
        z = latents(12, 3, seed=seed + step)
        codes, _ = book(z)
        for k in range(5):
            mine = [row for row, code in zip(z.double().numpy(), codes, strict=True) if code == k]
            counts[k] = decay * counts[k] + (1 - decay) * len(mine) / 12
            sums[k] = decay * sums[k] + (1 - decay) * np.sum(mine, axis=0) / 12
    expected = sums / np.array(counts)[:, None]
    assert np.allclose(book.entries().numpy(), expected, rtol=1e-3, atol=1e-4)


def test_an_entry_that_is_never_chosen_stays_where_it_was():
    book = Codebook(2, 1, Lookup(decay=0.5)).train()
    book.get_buffer("sums").copy_(torch.tensor([[0.0], [50.0]]))
    for _ in range(300):
        book(torch.zeros(4, 1))
    assert book.entries().flatten().tolist() == pytest.approx([0.0, 100.0])


def test_evaluation_does_not_move_running_means():
    book = Codebook(5, 3, Lookup(decay=0.9)).eval()
    before = book.entries().clone()
    book(latents(width=3))
    assert torch.equal(book.entries(), before)


# --- restarting dead entries


def collapsed(lookup):
    """Levels of which only the first entry of the first level is ever near."""
    books = levels(lookup, sizes=(6, 5), width=4)
    far = torch.full((6, 4), 1e3)
    far[0] = 0
    book = books.levels()[0]
    if lookup.decay is None:
        book.table.data.copy_(far)
    else:
        book.get_buffer("sums").copy_(far * book.get_buffer("counts")[:, None])
    return books


@pytest.mark.parametrize("lookup", [Lookup(), Lookup(decay=0.9)], ids=["gradient", "means"])
def test_dead_entries_come_alive_where_the_latents_are(lookup):
    books, z = collapsed(lookup), latents(200)
    codes = books.eval()(z).codes.numpy()
    assert set(codes[:, 0]) == {0}
    books.restart(z.numpy(), codes, np.random.default_rng(0), None)
    entries = books.levels()[0].entries().detach().numpy()
    rows = z.numpy()
    for entry in entries[1:]:
        assert np.abs(rows - entry).max(axis=1).min() < 1e-5, "a row of the latents"
    assert set(books(z).codes[:, 0].tolist()) == set(range(6))
    assert np.array_equal(entries[0], np.zeros(4)), "what is in use is left alone"


def test_a_restarted_entry_stays_although_it_had_momentum():
    """Moments of the optimiser are reset: else the next step throws the entry back."""
    books, z = collapsed(Lookup()), latents(200)
    table = books.levels()[0].table
    optimiser = torch.optim.AdamW(books.parameters(), lr=0.1, weight_decay=0)
    for _ in range(5):
        table.grad = torch.ones_like(table)
        optimiser.step()
    codes = books.eval()(z).codes.numpy()
    used = sorted(set(codes[:, 0]))
    books.restart(z.numpy(), codes, np.random.default_rng(0), optimiser)
    restarted = [k for k in range(6) if k not in used]
    state = optimiser.state[table]
    assert not state["exp_avg"][restarted].any()
    assert not state["exp_avg_sq"][restarted].any()
    assert state["exp_avg"][used].all()
    before = table.detach().clone()
    table.grad = torch.zeros_like(table)
    optimiser.step()
    assert torch.equal(table[restarted], before[restarted])
    assert not torch.equal(table[used], before[used])


def test_a_restarted_mean_is_not_pulled_back():
    """Counts and sums are reset together: else the mean keeps its old weight."""
    books, z = collapsed(Lookup(decay=0.5)), latents(200)
    codes = books.eval()(z).codes.numpy()
    books.restart(z.numpy(), codes, np.random.default_rng(0), None)
    books.train()(z)
    assert books.levels()[0].entries().norm(dim=1).max() < 10


def test_nothing_is_restarted_where_nothing_is_left_over():
    books = levels(sizes=(6,), width=4)
    with torch.no_grad():
        books.levels()[0].table.copy_(torch.eye(6, 4) * 9)
    z = np.zeros((10, 4), dtype=np.float32)
    codes = books.eval()(torch.from_numpy(z)).codes.numpy()
    before = books.levels()[0].table.detach().clone()
    books.restart(z, codes, np.random.default_rng(0), None)
    assert torch.equal(books.levels()[0].table, before)


def test_a_gumbel_draw_cannot_teach_running_means():
    with pytest.raises(ValueError, match="leave decay=None"):
        Lookup(estimator="gumbel", decay=0.9)
