"""Raw files in the spellings of Amazon Reviews 2018 and 2023, of a shop that is made up here."""

import gzip
import json

import numpy as np

WORDS = ["tea", "pot", "cup", "kettle", "spoon", "sieve", "tin", "honey", "lemon", "mint", "sage"]
USERS, ITEMS, DAY = 40, 36, 86_400


def reviews_of_a_shop(seed=0):
    """Who bought what on which day, in no order: users of 2 to 12 items, items of 0 and more."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(USERS):
        items = rng.choice(ITEMS, size=rng.integers(2, 13), replace=True)
        days = rng.integers(15_000, 15_006, size=len(items))  # few, so that many tie
        rows += [
            (f"U{user:02d}", f"B{item:02d}", int(day))
            for item, day in zip(items, days, strict=True)
        ]
    return [rows[row] for row in rng.permutation(len(rows))]


def review(year, user, item, day):
    if year == 2018:
        return {
            "overall": 4.0,
            "verified": True,
            "reviewTime": "02 3, 2011",
            "reviewerID": user,
            "asin": item,
            "reviewText": "Pours well.",
            "unixReviewTime": day * DAY,
        }
    return {
        "rating": 4.0,
        "title": "Good",
        "images": [],
        "asin": f"{item}-blue",
        "parent_asin": item,
        "user_id": user,
        "timestamp": day * DAY * 1000,
    }


def metadata(year, item, rng):
    """What the shop says of an item; of every ninth nothing but its price."""
    number = int(item[1:])
    words = [str(word) for word in rng.choice(WORDS, size=4)]
    bare = number % 9 == 8
    if year == 2018:
        return {
            "asin": item,
            "title": "" if bare else f"{words[0]} &amp; {words[1]} <b>no. {number}</b>",
            "description": [] if bare else [f"A {words[2]}.", f"<p>With {words[3]}"],
            "brand": "" if bare else "Fenwick",
            "category": [] if bare else ["Kitchen", f"{words[0].title()}s"],
            "price": "$4.99",
            "imageURLHighRes": [f"https://images.example/{item}.jpg"],
            "also_buy": ["B00"],
        }
    return {
        "main_category": "Grocery",
        "title": None if bare else f"{words[0]} &amp; {words[1]} <b>no. {number}</b>",
        "features": [] if bare else [f"A {words[2]}."],
        "description": [] if bare else [f"<p>With {words[3]}"],
        "store": None if bare else "Fenwick",
        "categories": [] if bare else ["Kitchen", f"{words[0].title()}s"],
        "images": [{"thumb": "t", "large": f"https://images.example/{item}.jpg", "hi_res": None}],
        "details": {"Weight": "1 lb"},
        "price": None,
        "parent_asin": item,
    }


def write_shop(folder, year=2018, packed=True, seed=0):
    """Write reviews and metadata, and return the paths of both."""
    rng = np.random.default_rng(seed)
    tables = {
        "reviews": [review(year, *row) for row in reviews_of_a_shop(seed)],
        "meta": [metadata(year, f"B{item:02d}", rng) for item in rng.permutation(ITEMS)],
    }
    paths = []
    for name, records in tables.items():
        text = "".join(json.dumps(record) + "\n" for record in records).encode()
        path = folder / f"{name}.jsonl{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(text) if packed else text)
        paths.append(path)
    return paths


def core_by_hand(rows, described, core):
    """Leave out users and items of too few interactions, one at a time, until none has."""
    rows = [row for row in rows if row[1] in described]
    while True:
        for place in (0, 1):
            names = [row[place] for row in rows]
            few = next((name for name in names if names.count(name) < core), None)
            if few is not None:
                rows = [row for row in rows if row[place] != few]
                break
        else:
            return rows


def histories_by_hand(rows):
    """Return the items of every user by time, those of one day in the order of the file."""
    histories = {}
    for user, item, _ in sorted(rows, key=lambda row: row[2]):
        histories.setdefault(user, []).append(item)
    return histories
