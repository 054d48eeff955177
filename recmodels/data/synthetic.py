"""Catalogues made up from a seed, for examples and tests that run anywhere."""

from dataclasses import dataclass

import numpy as np

from recmodels.data.dataset import Dataset
from recmodels.data.histories import Histories
from semantic_ids import Features

TEXT_WIDTH = 64
IMAGE_WIDTH = 48
SHORTEST, LONGEST = 5, 25

#: Department, its categories, the kinds of each.
TREE = {
    "Garden": {
        "Pots": ("Glazed", "Terracotta", "Hanging", "Self-Watering"),
        "Tools": ("Trowels", "Shears", "Rakes", "Hoes"),
        "Seeds": ("Herbs", "Salads", "Wildflowers", "Tomatoes"),
        "Lighting": ("Lanterns", "Path Lights", "String Lights", "Spotlights"),
        "Furniture": ("Benches", "Hammocks", "Loungers", "Parasols"),
    },
    "Kitchen": {
        "Knives": ("Paring", "Bread", "Santoku", "Boning"),
        "Pans": ("Cast Iron", "Non-Stick", "Copper", "Woks"),
        "Coffee": ("Grinders", "Kettles", "French Presses", "Filters"),
        "Baking": ("Tins", "Whisks", "Scales", "Rolling Pins"),
        "Storage": ("Jars", "Lunch Boxes", "Racks", "Bread Bins"),
    },
    "Office": {
        "Pens": ("Gel", "Fountain", "Ballpoint", "Markers"),
        "Paper": ("Notebooks", "Envelopes", "Sticky Notes", "Cards"),
        "Desks": ("Standing", "Corner", "Folding", "Monitor Stands"),
        "Chairs": ("Mesh", "Leather", "Stools", "Kneeling"),
        "Filing": ("Binders", "Cabinets", "Trays", "Labels"),
    },
    "Sports": {
        "Running": ("Shoes", "Socks", "Belts", "Headlamps"),
        "Cycling": ("Helmets", "Pumps", "Saddles", "Locks"),
        "Camping": ("Tents", "Stoves", "Sleeping Bags", "Hatchets"),
        "Swimming": ("Goggles", "Caps", "Fins", "Towels"),
        "Climbing": ("Ropes", "Harnesses", "Chalk", "Carabiners"),
    },
    "Toys": {
        "Puzzles": ("Jigsaws", "Cubes", "Mazes", "Brain Teasers"),
        "Building": ("Bricks", "Magnets", "Marble Runs", "Gears"),
        "Games": ("Board", "Card", "Dice", "Party"),
        "Outdoor": ("Kites", "Swings", "Sandpits", "Frisbees"),
        "Plush": ("Bears", "Rabbits", "Dinosaurs", "Foxes"),
    },
    "Music": {
        "Guitars": ("Acoustic", "Electric", "Bass", "Ukuleles"),
        "Drums": ("Snares", "Cymbals", "Bongos", "Sticks"),
        "Keyboards": ("Pianos", "Synthesizers", "Organs", "Melodicas"),
        "Microphones": ("Condenser", "Dynamic", "Ribbon", "Lavalier"),
        "Accessories": ("Strings", "Tuners", "Capos", "Metronomes"),
    },
}

MAKERS = (
    "Fenwick", "Alder", "Brightwell", "Carrow", "Denholm", "Eastlake", "Farrow", "Greyling",
    "Harcourt", "Ivens", "Jessop", "Kestrel", "Lindqvist", "Marlowe", "Norrby", "Oakes",
)  # fmt: skip

#: How many kinds the tree has, and how many lie below a node of each level.
KINDS = 120
KINDS_BELOW = np.array([KINDS, 20, 4, 1])

#: How often the next item comes from anywhere, from the last one's department, category, kind.
NEXT_FROM = (0.07, 0.05, 0.28, 0.60)

PLANTED_CATEGORIES = 30
PLANTED_SHORTEST, PLANTED_LONGEST = 5, 15


def synthetic_catalogue(
    items: int = 2000,
    users: int = 3000,
    *,
    seed: int = 0,
    text_missing: float = 0.03,
    image_missing: float = 0.10,
) -> Dataset:
    """Make up a multimodal catalogue with users whose interests drift.

    Items hang in a tree of 6 departments, 30 categories and 120 kinds, and have a maker. The text
    vector is the sum of a vector for each level of the tree, and noise: it says what an item is.
    The image vector is the sum of a vector of its category and one of its maker's style, and
    noise: it says what an item looks like. No item lacks both.

    A history is a walk. The next item comes from the kind of the last one (60 %), its category
    (28 %), its department (5 %) or from anywhere (7 %), and within these a few items are mildly
    more popular than the rest. Where that item is in the history already, it is drawn again from
    one level higher up: so no item occurs twice in a history. A history has 5 to 25 items, more
    often few.

    Items depend on `items` and `seed` alone, not on the number of users.

    Parameters
    ----------
    items : how many, at least 50.
    users : how many, at least 1.
    seed : equal seeds make equal catalogues.
    text_missing, image_missing : shares of the items without that modality; below 1 together.

    Returns
    -------
    dataset : features ``"text"`` (N, 64) and ``"image"`` (N, 48), float32; ids such as
        ``"P00417"``; titles such as ``"Garden / Pots / Glazed - Fenwick 417"``; categories such as
        ``"Garden, Pots, Glazed"``.

    Raises
    ------
    ValueError
        if an argument is outside its range.

    Examples
    --------
    >>> dataset = synthetic_catalogue(items=200, users=50)
    >>> dataset.size, dataset.features.widths, len(dataset.histories)
    (200, {'text': 64, 'image': 48}, 50)
    >>> int(dataset.features.present[:, 1].sum())
    180
    """
    _check_least(items=(items, 50), users=(users, 1))
    if text_missing < 0 or image_missing < 0 or text_missing + image_missing >= 1:
        raise ValueError(
            "text_missing and image_missing: expected shares that add to less than 1, "
            f"got {text_missing} and {image_missing}"
        )
    of_items, of_users = np.random.default_rng(seed).spawn(2)
    kinds = of_items.choice(KINDS, size=items, p=of_items.dirichlet(np.full(KINDS, 8.0)))
    makers = of_items.integers(len(MAKERS), size=items)
    numbers = of_items.permutation(items)
    popularity = (of_items.permutation(items) + 1.0) ** -0.4
    shelves = _Shelves.of(kinds, KINDS, popularity, of_items)
    ids = _string_ids("P", numbers)
    text = _text_vectors(kinds, of_items)
    image = _image_vectors(kinds, makers, of_items)
    has_text, has_image = _presence(items, text_missing, image_missing, of_items)
    text[~has_text] = 0
    image[~has_image] = 0
    paths = [
        (department, category, kind)
        for department, categories in TREE.items()
        for category, names in categories.items()
        for kind in names
    ]
    return Dataset(
        name="synthetic",
        ids=ids,
        features=Features(
            {"text": text, "image": image}, {"text": has_text, "image": has_image}, ids
        ),
        histories=_drifting_histories(shelves, kinds, users, of_users),
        users=tuple(_string_ids("U", np.arange(users)).tolist()),
        titles=tuple(
            f"{' / '.join(paths[kind])} - {MAKERS[maker]} {number}"
            for kind, maker, number in zip(kinds, makers, numbers, strict=True)
        ),
        categories=tuple(", ".join(paths[kind]) for kind in kinds),
    )


def planted_catalogue(items: int = 600, users: int = 1500, *, seed: int = 0) -> Dataset:
    """Make up a catalogue in which the next item can be told from features, and from them alone.

    There are 30 categories of equal size, and their names are numbers that say nothing. The next
    item's category is a fixed function of the last one's: one cycle through all 30, in an order
    that the seed chooses. Which item of the category comes next is a matter of chance.

    Three quarters of each category are reserved: an item of theirs stands only in the last two
    places of a history. Under leave-one-out no validation or test target is ever seen in training,
    nor is the last item of a test history. So popularity, item ids and codes that do not follow
    content can do no better than chance, which is HR@k = k / items or less. Feature vectors are
    their category's vector and a little noise. Who tells the next category from them, and guesses
    inside it, reaches about k over the items of a category, 10 / 20 for HR@10 by default; ranking
    the category's seen items before its reserved ones costs part of that, (10 - 5) / 15.

    Histories have 5 to 15 items, less than the cycle is long: no item occurs twice in one.

    Parameters
    ----------
    items : how many, at least 60.
    users : how many, at least 1.
    seed : equal seeds make equal catalogues.

    Returns
    -------
    dataset : features ``"text"`` (N, 64) and ``"image"`` (N, 48), float32, complete; ids such as
        ``"P00417"``; categories such as ``"Category 07"``.

    Raises
    ------
    ValueError
        if an argument is outside its range.

    Examples
    --------
    >>> dataset = planted_catalogue()
    >>> dataset.size, len(set(dataset.categories))
    (600, 30)
    >>> bool(np.isin(dataset.histories.last(1).items, dataset.histories.drop_last(2).items).any())
    False
    """
    _check_least(items=(items, 60), users=(users, 1))
    of_items, of_users = np.random.default_rng(seed).spawn(2)
    categories = of_items.permutation(np.arange(items) % PLANTED_CATEGORIES)
    cycle = of_items.permutation(PLANTED_CATEGORIES)
    shelves = _Shelves.of(categories, PLANTED_CATEGORIES, np.ones(items), of_items)
    ids = _string_ids("P", of_items.permutation(items))
    vectors = {
        name: _table(PLANTED_CATEGORIES, width, of_items)[categories]
        + 0.2 * _table(items, width, of_items)
        for name, width in (("text", TEXT_WIDTH), ("image", IMAGE_WIDTH))
    }
    names = [f"Category {category:02d}" for category in categories]
    return Dataset(
        name="planted",
        ids=ids,
        features=Features(vectors, ids=ids),
        histories=_cyclic_histories(shelves, cycle, users, of_users),
        users=tuple(_string_ids("U", np.arange(users)).tolist()),
        titles=tuple(f"{name} - {item}" for name, item in zip(names, ids, strict=True)),
        categories=tuple(names),
    )


def _check_least(**arguments: tuple[int, int]) -> None:
    for name, (value, least) in arguments.items():
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")


def _string_ids(letter: str, numbers: np.ndarray) -> np.ndarray:
    return np.array([f"{letter}{number:05d}" for number in numbers], dtype=np.dtypes.StringDType())


def _table(rows: int, width: int, random: np.random.Generator) -> np.ndarray:
    return random.standard_normal((rows, width), dtype=np.float32)


def _text_vectors(kinds: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sum a vector for each level of the tree, the upper ones longer, and noise."""
    vectors = 0.5 * _table(len(kinds), TEXT_WIDTH, random)
    for scale, below in ((1.0, 20), (0.8, 4), (0.6, 1)):
        vectors += scale * _table(KINDS // below, TEXT_WIDTH, random)[kinds // below]
    return vectors


def _image_vectors(
    kinds: np.ndarray, makers: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Sum a vector of the category, one of the maker's style, and noise."""
    vectors = 0.5 * _table(len(kinds), IMAGE_WIDTH, random)
    vectors += _table(KINDS // 4, IMAGE_WIDTH, random)[kinds // 4]
    vectors += 0.7 * _table(len(MAKERS), IMAGE_WIDTH, random)[makers]
    return vectors


def _presence(
    items: int, text_missing: float, image_missing: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Say who has text and who has an image, (N,) bool each; the missing are disjoint."""
    shuffled = random.permutation(items)
    without_image = round(image_missing * items)
    without_text = round(text_missing * items)
    has_text, has_image = np.ones((2, items), dtype=bool)
    has_image[shuffled[:without_image]] = False
    has_text[shuffled[without_image : without_image + without_text]] = False
    return has_text, has_image


@dataclass(frozen=True)
class _Shelves:
    """Items sorted by group, so that neighbouring groups are one range to draw from."""

    rows: np.ndarray  # (N,) item rows, group by group
    starts: np.ndarray  # (groups + 1,) where each group begins in `rows`
    summed: np.ndarray  # (N + 1,) cumulated weights along `rows`

    @classmethod
    def of(
        cls, groups: np.ndarray, count: int, weights: np.ndarray, random: np.random.Generator
    ) -> "_Shelves":
        """Sort by group, in random order within one."""
        rows = np.lexsort((random.random(len(groups)), groups))
        starts = np.searchsorted(groups[rows], np.arange(count + 1))
        return cls(rows, starts, np.concatenate([[0.0], np.cumsum(weights[rows])]))

    def draw(self, begin: np.ndarray, end: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Draw one item from each range ``rows[begin:end]``, by weight."""
        low, high = self.summed[begin], self.summed[end]
        drawn = low + random.random(len(begin)) * (high - low)
        place = np.searchsorted(self.summed, drawn, side="right") - 1
        return self.rows[np.clip(place, begin, end - 1)]  # rounding may step over an edge


def _drifting_histories(
    shelves: _Shelves, kinds: np.ndarray, users: int, random: np.random.Generator
) -> Histories:
    # Squared, so that short histories are the more frequent ones, as in real data.
    spread = LONGEST - SHORTEST + 1
    lengths = SHORTEST + (spread * random.random(users) ** 2).astype(np.int64)
    walks = np.empty((users, LONGEST), dtype=np.int64)
    walks[:, 0] = shelves.draw(np.zeros(users, int), np.full(users, len(kinds)), random)
    for step in range(1, LONGEST):
        walks[:, step] = _next_items(walks[:, :step], kinds, shelves, random)
    return _cut(walks, lengths)


def _next_items(
    before: np.ndarray, kinds: np.ndarray, shelves: _Shelves, random: np.random.Generator
) -> np.ndarray:
    """Draw an item for each user from around the last one of `before`, none of `before`."""
    chosen = np.empty(len(before), dtype=np.int64)
    level = random.choice(len(NEXT_FROM), size=len(before), p=NEXT_FROM)
    left = np.arange(len(before))
    while len(left):
        below = KINDS_BELOW[level[left]]
        first = kinds[before[left, -1]] // below * below
        chosen[left] = shelves.draw(shelves.starts[first], shelves.starts[first + below], random)
        left = left[(before[left] == chosen[left, None]).any(axis=1)]
        level[left] = np.maximum(level[left] - 1, 0)
    return chosen


def _cyclic_histories(
    shelves: _Shelves, cycle: np.ndarray, users: int, random: np.random.Generator
) -> Histories:
    lengths = random.integers(PLANTED_SHORTEST, PLANTED_LONGEST + 1, size=users)
    steps = np.arange(PLANTED_LONGEST)
    path = cycle[(random.integers(len(cycle), size=users)[:, None] + steps) % len(cycle)]
    begin, end = shelves.starts[path], shelves.starts[path + 1]
    reserved = begin + (end - begin) * 3 // 4
    is_held_out = steps >= lengths[:, None] - 2
    begin, end = np.where(is_held_out, begin, reserved), np.where(is_held_out, reserved, end)
    walks = shelves.draw(begin.ravel(), end.ravel(), random).reshape(path.shape)
    return _cut(walks, lengths)


def _cut(walks: np.ndarray, lengths: np.ndarray) -> Histories:
    """Keep the first `lengths` columns of each row."""
    kept = np.arange(walks.shape[1]) < lengths[:, None]
    return Histories(walks[kept], np.concatenate([[0], np.cumsum(lengths)]))
