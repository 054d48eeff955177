import numpy as np
import pytest

from recmodels.data import Split, planted_catalogue, synthetic_catalogue

BOTH = [synthetic_catalogue, planted_catalogue]


@pytest.fixture(scope="module")
def synthetic():
    return synthetic_catalogue()


@pytest.fixture(scope="module")
def planted():
    return planted_catalogue()


def rows_of_users(histories):
    return np.repeat(np.arange(len(histories)), histories.lengths)


def steps(histories):
    """Pairs (item, next item) within users."""
    users = rows_of_users(histories)
    inside = users[1:] == users[:-1]
    return histories.items[:-1][inside], histories.items[1:][inside]


def category_rows(dataset):
    return np.unique(np.array(dataset.categories), return_inverse=True)[1]


def vectors_of(dataset, name):
    return dataset.features.modality(name)[0]


@pytest.mark.parametrize("make", BOTH)
def test_equal_seeds_make_equal_catalogues(make):
    one, same, other = make(90, 40, seed=3), make(90, 40, seed=3), make(90, 40, seed=4)
    assert one.histories == same.histories != other.histories
    assert one.titles == same.titles
    np.testing.assert_array_equal(vectors_of(one, "image"), vectors_of(same, "image"))


@pytest.mark.parametrize("make", BOTH)
def test_items_do_not_depend_on_the_number_of_users(make):
    few, many = make(90, 5), make(90, 50)
    assert few.ids.tolist() == many.ids.tolist()
    assert few.titles == many.titles
    np.testing.assert_array_equal(vectors_of(few, "text"), vectors_of(many, "text"))


@pytest.mark.parametrize("make", BOTH)
def test_no_item_occurs_twice_in_a_history(make):
    histories = make(90, 300).histories
    pairs = np.stack([rows_of_users(histories), histories.items])
    assert np.unique(pairs, axis=1).shape == pairs.shape


@pytest.mark.parametrize("make", BOTH)
def test_the_parts_have_the_sizes_asked_for(make):
    dataset = make(130, 70)
    assert dataset.size == len(dataset.features) == len(dataset.titles) == 130
    assert len(dataset.histories) == len(set(dataset.users)) == 70
    assert dataset.features.widths == {"text": 64, "image": 48}
    assert all(isinstance(item, str) for item in dataset.ids.tolist())


@pytest.mark.parametrize("make", BOTH)
def test_too_few_items_or_users_are_refused(make):
    with pytest.raises(ValueError, match=r"items: expected at least \d+, got 10"):
        make(10, 50)
    with pytest.raises(ValueError, match="users: expected at least 1, got 0"):
        make(100, 0)


def test_missing_shares_are_exact_and_disjoint(synthetic):
    present = synthetic.features.present
    assert (~present).sum(axis=0).tolist() == [60, 200]
    assert present.any(axis=1).all()


def test_missing_shares_can_be_chosen():
    dataset = synthetic_catalogue(100, 5, text_missing=0.5, image_missing=0)
    assert (~dataset.features.present).sum(axis=0).tolist() == [50, 0]
    with pytest.raises(ValueError, match=r"add to less than 1, got 0\.5 and 0\.5"):
        synthetic_catalogue(100, 5, text_missing=0.5, image_missing=0.5)


def test_synthetic_histories_have_5_to_25_items(synthetic):
    lengths = synthetic.histories.lengths
    assert lengths.min() == 5
    assert lengths.max() == 25


def test_titles_spell_the_tree(synthetic):
    for title, path in zip(synthetic.titles[:50], synthetic.categories, strict=False):
        words, model = title.split(" - ")[0], title.rsplit(" - ", 1)[1]
        assert path == ", ".join(words.split(" / "))
        assert model.split(" ")[1].isdigit()
    assert len(set(synthetic.titles)) == synthetic.size


def test_users_mostly_stay_near_and_now_and_then_leave(synthetic):
    paths = np.array([path.split(", ") for path in synthetic.categories])
    now, then = steps(synthetic.histories)
    kind = (paths[now] == paths[then]).all(axis=1).mean()
    category = (paths[now] == paths[then])[:, :2].all(axis=1).mean()
    department = (paths[now, 0] == paths[then, 0]).mean()
    assert 0.5 < kind < 0.75
    assert 0.8 < category < 0.93
    assert category < department < 0.98


def test_popularity_is_mildly_skewed(synthetic):
    counts = np.sort(np.bincount(synthetic.histories.items, minlength=synthetic.size))[::-1]
    top_tenth = counts[: len(counts) // 10].sum() / counts.sum()
    assert 0.12 < top_tenth < 0.4


def nearest_share(vectors, labels):
    """Share of items whose nearest other item has the same label."""
    squared = (vectors**2).sum(axis=1)
    distances = squared[:, None] + squared - 2 * vectors @ vectors.T
    np.fill_diagonal(distances, np.inf)
    return (labels[distances.argmin(axis=1)] == labels).mean()


def test_text_tells_the_kind_and_images_the_category_and_the_maker(synthetic):
    text, has_text = synthetic.features.modality("text")
    image, has_image = synthetic.features.modality("image")
    kinds = np.array(synthetic.categories)
    categories = np.array([path.rsplit(", ", 1)[0] for path in synthetic.categories])
    makers = np.array([title.rsplit(" - ", 1)[1].split()[0] for title in synthetic.titles])
    assert nearest_share(text[has_text], kinds[has_text]) > 0.8
    assert nearest_share(image[has_image], categories[has_image]) > 0.8
    assert nearest_share(image[has_image], makers[has_image]) > 0.5
    assert nearest_share(text[has_text], makers[has_text]) < 0.2


def test_the_next_category_is_one_cycle_through_all(planted):
    category = category_rows(planted)
    now, then = steps(planted.histories)
    pairs = {*zip(category[now].tolist(), category[then].tolist(), strict=True)}
    follows = dict(pairs)
    assert len(pairs) == len(follows) == 30
    seen, here = set(), 0
    while here not in seen:
        seen.add(here)
        here = follows[here]
    assert len(seen) == 30


@pytest.mark.parametrize("items", [60, 100, 600])
def test_held_out_items_never_occur_in_training(items):
    dataset = planted_catalogue(items, 500)
    split = Split.leave_one_out(dataset.histories, dataset.size)
    held_out = np.concatenate([split.validation.targets, split.test.targets])
    assert not np.isin(held_out, split.train.items).any()
    assert len(np.unique(split.train.items)) >= 30


def test_categories_are_of_equal_size_and_reserve_three_quarters(planted):
    category = category_rows(planted)
    assert np.bincount(category).tolist() == [20] * 30
    trained = np.unique(Split.leave_one_out(planted.histories, planted.size).train.items)
    assert np.bincount(category[trained]).tolist() == [5] * 30


def test_features_find_the_target_and_popularity_does_not(planted):
    """The category that features tell gives HR@10 of 10 / 20; counting gives nothing."""
    split = Split.leave_one_out(planted.histories, planted.size)
    category = category_rows(planted)
    vectors = np.hstack([vectors_of(planted, name) for name in ("text", "image")])
    assert nearest_share(vectors, category) == 1
    now, then = steps(split.train)
    follows = dict(zip(category[now].tolist(), category[then].tolist(), strict=True))
    last = split.test.histories.last(1).items
    random = np.random.default_rng(0)
    hits = 0
    for item, target in zip(last, split.test.targets, strict=True):
        inside = np.flatnonzero(category == follows[int(category[item])])
        hits += target in random.choice(inside, size=10, replace=False)
    assert abs(hits / len(split.test) - 0.5) < 0.05
    popular = np.argsort(-np.bincount(split.train.items, minlength=planted.size))[:10]
    assert not np.isin(split.test.targets, popular).any()
