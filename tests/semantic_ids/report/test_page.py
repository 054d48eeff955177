"""The page: read by an HTML parser, against the figures and the codes it is about."""

import gzip
import json
import re
import sys
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

from semantic_ids import Suffix, Tokenizer
from semantic_ids.report.contents import NAMED, POINTS, PREFIXES
from semantic_ids.report.payload import shortened, to_json

from .conftest import EVIL

SECTIONS = ["levels", "error", "collisions", "tree", "map", "neighbours", "items", "about"]
LOADING = {"src", "srcset", "href", "action", "formaction", "data", "poster", "background"}


class Page(HTMLParser):
    """Sections, tables, text and whatever a browser would fetch."""

    def __init__(self, html):
        super().__init__()
        self.ids, self.tables, self.fetched, self.scripts = [], {}, [], []
        self.tags, self.texts, self._cells, self._in = Counter(), [], None, None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags[tag] += 1
        self.ids.append(attrs.get("id"))
        self.fetched += [v for k, v in attrs.items() if k in LOADING and not v.startswith("#")]
        self._in = tag
        if tag == "table" and "data-table" in attrs:
            self._cells = self.tables[attrs["data-table"]] = []
        elif tag == "tr" and self._cells is not None:
            self._cells.append([])
        elif tag in ("th", "td") and self._cells is not None:
            self._cells[-1].append("")
        elif tag in ("script", "style"):
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in = None
        if tag == "table":
            self._cells = None

    def handle_data(self, data):
        if self._in in ("script", "style"):
            self.scripts[-1] += data
        else:
            self.texts.append(data)
            if self._cells:
                self._cells[-1][-1] += data

    @property
    def data(self):
        return json.loads(self.scripts[1])

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def numbers(cells):
    return [
        float(cell.replace(",", "").rstrip("%")) / (100 if "%" in cell else 1) for cell in cells
    ]


@pytest.fixture(scope="module")
def parsed(page):
    return read(page)


def test_every_section_is_there_once(parsed):
    assert [name for name in parsed.ids if name in SECTIONS] == SECTIONS
    assert parsed.ids.count("verdict") == parsed.tags["h1"] == 1


def test_nothing_is_fetched(parsed, page):
    assert parsed.fetched == []
    assert not set(parsed.tags) & {"link", "img", "iframe", "object", "embed", "base", "form"}
    style = parsed.scripts[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page.read_text())
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "http" not in policy[1]


def test_titles_are_data_and_never_markup(parsed, tokenizer, items):
    assert parsed.tags["script"] == 3
    found = parsed.data["items"]
    titles = dict(zip(found["ids"], found["titles"], strict=True))
    for item, title in zip(items["id"].tolist(), items["title"], strict=True):
        assert titles[item] == title.strip().replace("\ud800", "?")
    raw = parsed.scripts[1]
    assert not set("<>&") & set(raw)
    assert not any(evil in parsed.text for evil in EVIL)


def test_figures_of_the_levels_are_those_of_statistics(parsed, tokenizer, features, items):
    figures = tokenizer.statistics(features, items["category"], progress=False)
    head, *rows = parsed.tables["levels"]
    assert [row[0] for row in rows] == ["a", "b", "c"]
    for row, level in zip(rows, figures.levels, strict=True):
        expected = [
            *(level.size, level.used, level.utilisation, level.perplexity, level.entropy),
            *(level.conditional_entropy, level.prefixes, level.largest_prefix, level.alone),
            *(level.gini, level.categories.purity, level.categories.ami),
        ]
        assert numbers(row[1:]) == pytest.approx(expected, abs=0.051, rel=1e-3)
        for cell, value in zip(row[5:7], expected[4:6], strict=True):
            assert float(cell) == pytest.approx(value, abs=5.1e-4)
    assert len(head) == len(rows[0])
    _, *errors = parsed.tables["errors"]
    for row, level in zip(errors, figures.levels, strict=True):
        expected = [level.relative_error, *level.modality_errors.values()]
        assert numbers(row[1:]) == pytest.approx(expected, abs=5.1e-5)
    near, by_unique = figures.neighbourhoods, figures.unique_neighbourhoods
    for row, found in zip(parsed.tables["neighbours"][1:], (near, by_unique), strict=True):
        expected = [found.recall, found.by_chance, found.ndcg, found.spearman]
        assert numbers(row[1:]) == pytest.approx(expected, abs=5.1e-4)


def test_figures_of_the_collisions_are_counts(parsed, tokenizer):
    buckets = Counter(map(tuple, tokenizer.content_codes.tolist()))
    n = len(tokenizer)
    _, *rows = parsed.tables["collisions"]
    assert [numbers(row[1:]) for row in rows] == [
        [len(buckets), n],
        [sum(count for count in buckets.values() if count > 1), 0],
        [max(buckets.values()), 1],
        [pytest.approx(1 - len(buckets) / n, abs=5.1e-5), 0],
    ]
    assert sum(parsed.data["shared"]["before"]) == n
    assert max(buckets.values()) > 1  # or this test would prove little


def test_plots_show_the_figures(parsed, tokenizer, features):
    figures, shown = tokenizer.statistics(features, progress=False), parsed.data["levels"]
    assert shown["used"] == [level.used for level in figures.levels]
    assert shown["perplexity"] == [level.perplexity for level in figures.levels]
    assert shown["errors"]["all, as fused"] == [level.relative_error for level in figures.levels]
    assert set(shown["errors"]) == {"all, as fused", "text", "<i>image"}


def test_items_have_their_codes_and_counts(parsed, tokenizer):
    found = parsed.data["items"]
    assert sorted(found["ids"]) == sorted(tokenizer.ids.tolist())
    codes = np.array(found["codes"]).T
    assert codes.tolist() == tokenizer.encode(found["ids"]).tolist()
    assert codes.tolist() == sorted(codes.tolist())
    everyone = tokenizer.codes.tolist()
    for row, code in enumerate(codes[:50].tolist()):
        for depth in range(1, len(code) + 1):
            count = sum(other[:depth] == code[:depth] for other in everyone)
            assert found["under"][depth - 1][row] == count
    content = tokenizer.content_codes[tokenizer.rows(found["ids"])].tolist()
    moved = {str(row): c for row, c in enumerate(content) if codes[row].tolist() != c}
    assert found["moved"] == moved
    assert moved


def test_the_same_input_makes_the_same_page(tokenizer, features, items, page, tmp_path):
    again = tokenizer.report(tmp_path / "again.html", features, items, progress=False)
    assert again.read_bytes() == page.read_bytes()


def test_the_order_of_the_features_is_that_of_their_ids(
    tokenizer, features, items, parsed, tmp_path
):
    turned = features.rows(np.arange(500)[::-1])
    again = read(tokenizer.report(tmp_path / "again.html", turned, items, progress=False))
    assert np.allclose(again.data["map"]["x"], parsed.data["map"]["x"], atol=1e-3)
    assert again.tables["levels"] == parsed.tables["levels"]


def test_a_page_without_features_says_what_it_does_not_know(tokenizer, tmp_path):
    found = read(tokenizer.report(tmp_path / "page.html", progress=False))
    assert "Not measured: whether near items have near codes." in found.text
    assert "vectors that the unique codes decode to" in found.text
    assert "neighbours" not in found.tables
    assert found.data["items"]["titles"] is None
    # Items with one code lie on one point.
    points = set(zip(found.data["map"]["x"], found.data["map"]["y"], strict=True))
    assert len(points) == len(np.unique(tokenizer.codes[:, :3], axis=0))


def test_a_page_of_a_grown_catalogue_has_no_stale_errors(tokenizer, tmp_path):
    grown = tokenizer.copy()
    grown.remove("B001")
    found = read(grown.report(tmp_path / "page.html", progress=False))
    assert "errors" not in found.tables
    assert "since the fit" in found.text
    assert "B001" not in found.data["items"]["ids"]


def test_a_tokenizer_of_codes_has_a_page(tmp_path):
    codes = np.random.default_rng(0).integers(5, size=(60, 3))
    tokenizer = Tokenizer.from_codes(None, codes, resolver=Suffix(), ordered=False)
    found = read(tokenizer.report(tmp_path / "page.html", progress=False))
    assert found.data["map"] is None
    assert "scatter" not in found.ids
    assert found.text.count("made from codes") == 3
    assert "parallel" in found.text
    assert found.data["names"] == ["a", "b", "c", "d"]
    features = np.random.default_rng(1).normal(size=(60, 4))
    found = read(tokenizer.report(tmp_path / "page.html", features, progress=False))
    assert len(found.data["map"]["x"]) == 60
    assert "neighbours" in found.tables


def test_published_codes_have_a_page(data_folder, tmp_path):
    folder = data_folder / "amazon18_scientific"
    if not folder.is_dir():
        pytest.skip("SEMANTIC_IDS_DATA holds no amazon18_scientific")
    published = np.load(folder / "sid" / "cgr_rqvae_native.npz", allow_pickle=False)["codes"]
    with gzip.open(folder / "items.jsonl.gz", "rt", encoding="utf-8") as file:
        titles = [json.loads(line)["title"] for line in file]
    assert sum("&" in (title or "") for title in titles) > 10  # or this would prove little
    tokenizer = Tokenizer.from_codes(None, published)
    path = tokenizer.report(tmp_path / "page.html", items={"title": titles}, progress=False)
    found = read(path)

    n, buckets = len(titles), Counter(map(tuple, published.tolist()))
    sharing = sum(count for count in buckets.values() if count > 1)
    _, distinct, shared, most, _ = found.tables["collisions"]
    assert numbers(distinct[1:]) == [len(buckets), n]
    assert numbers(shared[1:]) == [sharing, 0]
    assert numbers(most[1:]) == [max(buckets.values()), 1]
    assert found.data["shared"]["before"][0] == n - sharing > 0

    tree = found.data["tree"]
    tops = [place for place, parent in enumerate(tree["parents"]) if parent == -1]
    counts = {tree["codes"][place]: tree["items"][place] for place in tops}
    assert counts == Counter(published[:, 0].tolist())

    held = found.data["items"]
    rows = list(map(int, held["ids"]))
    assert sorted(rows) == list(range(n))
    assert np.array_equal(np.array(held["codes"])[:4].T, published[rows])
    assert held["titles"] == [shortened((titles[row] or "").strip(), 120) for row in rows]
    assert found.tags["script"] == 3
    assert not set("<>&") & set(found.scripts[1])

    assert found.data["map"] is None
    assert found.data["levels"]["errors"] == {}
    assert not {"errors", "neighbours"} & set(found.tables)


def test_several_categories_an_item_are_not_compared(tmp_path):
    tokenizer = Tokenizer.from_codes(["x", "y"], [[0], [1]])
    several = {"id": ["x", "y"], "categories": [["tea", "green"], ["tea"]]}
    found = read(tokenizer.report(tmp_path / "page.html", items=several, progress=False))
    assert "AMI" not in found.tables["levels"][0]


def test_a_page_of_one_item(tmp_path):
    tokenizer = Tokenizer.from_codes(["only"], [[0, 0]])
    found = read(tokenizer.report(tmp_path / "page.html", progress=False))
    assert found.data["tree"]["items"] == [1]
    assert found.data["items"]["ids"] == ["only"]


def test_a_large_catalogue_is_sampled_and_the_page_says_so(tmp_path):
    n = 200_000
    codes = np.random.default_rng(0).integers(256, size=(n, 4))
    tokenizer = Tokenizer.from_codes([f"<{'x' * 150}{row}>" for row in range(n)], codes)
    items = {"title": ["<&>" * 60] * n}  # what takes most room
    path = tokenizer.report(tmp_path / "page.html", items=items, progress=False)
    assert path.stat().st_size < 10_000_000
    found = read(path)
    held = len(found.data["items"]["ids"])
    assert 500 < held <= NAMED
    assert found.data["total"] == n
    assert len(found.data["tree"]["codes"]) == PREFIXES
    assert f"The {PREFIXES:,} largest of" in found.text
    # Whatever the sample, counts are those of all items.
    first = np.bincount(tokenizer.codes[:, 0])
    shown = found.data["items"]
    assert shown["under"][0] == first[np.array(shown["codes"][0])].tolist()


@pytest.mark.slow
def test_a_million_items_are_sampled_and_the_page_says_so(tmp_path):
    n = 1_000_000
    tokenizer = Tokenizer.from_codes(None, np.random.default_rng(0).integers(256, size=(n, 4)))
    items = {"title": [f"<&> {row}" for row in range(n)]}
    path = tokenizer.report(tmp_path / "page.html", items=items, progress=False)
    assert path.stat().st_size < 10_000_000
    found = read(path)
    assert found.data["total"] == n
    assert f"{n:,} items" in found.text
    held = found.data["items"]
    assert 500 < len(held["ids"]) <= NAMED
    # A script writes so into that place, where a page holds fewer than all: see test_browser.
    assert found.ids.count("sampled") == 1
    assert "items, drawn at random" in found.scripts[-1]
    assert f"The {PREFIXES:,} largest of" in found.text
    rows = np.array(held["ids"], dtype=np.int64)
    assert held["titles"] == [f"<&> {row}" for row in rows.tolist()]
    assert np.array(held["codes"]).T.tolist() == tokenizer.codes[rows].tolist()
    first = np.bincount(tokenizer.codes[:, 0])
    assert held["under"][0] == first[np.array(held["codes"][0])].tolist()
    # Each item had the same chance: among 256 first codes each has its share, give or take five
    # standard deviations of a draw by runs of five.
    drawn = np.bincount(tokenizer.codes[rows, 0], minlength=256)
    expected = first * len(rows) / n
    assert np.abs(drawn - expected).max() < 5 * np.sqrt(5 * expected.max())


def test_a_map_of_many_items_is_a_sample_of_them(tmp_path):
    codes = np.random.default_rng(0).integers(30, size=(POINTS + 300, 2))
    tokenizer = Tokenizer.from_codes(None, codes)
    features = np.random.default_rng(1).normal(size=(len(codes), 2))
    drawn = read(tokenizer.report(tmp_path / "page.html", features, progress=False))
    assert f"{POINTS:,} items are drawn, at random" in drawn.text
    found, items = drawn.data["map"], drawn.data["items"]
    assert len(set(found["item"])) == len(found["x"]) == POINTS
    assert [items["codes"][0][item] for item in found["item"]] == found["first"]
    # In two dimensions a plane keeps all distances (of features as they are standardised).
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    rows = np.array([int(items["ids"][item]) for item in found["item"]])
    points, known = np.stack([found["x"], found["y"]], axis=1), scaled[rows]
    ratio = np.linalg.norm(points[1:] - points[:-1], axis=1)
    ratio /= np.linalg.norm(known[1:] - known[:-1], axis=1)
    assert ratio == pytest.approx(ratio[0], rel=0.05)


def test_bad_input_is_refused_before_work(tokenizer, features, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"path: expected a file in a folder that exists"):
        tokenizer.report(tmp_path)
    with pytest.raises(ValueError, match="path"):
        tokenizer.report(tmp_path / "nowhere" / "page.html")
    with pytest.raises(ValueError, match="items: none of 1 ids"):
        tokenizer.report(tmp_path / "page.html", items={"unknown": "tea"})
    with pytest.raises(ValueError, match="3 rows, the catalogue has 500"):
        tokenizer.report(tmp_path / "page.html", features=features.rows(slice(0, 3)))
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ImportError, match=r"semantic-ids\[report\]"):
        tokenizer.report(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [*EVIL, "", "<!--", "\u2029", "😀"])
def test_json_for_html_is_json_without_markup(text):
    made = to_json([text, {text: 1}])
    assert json.loads(made) == [text, {text: 1}]
    assert not set("<>&\n\x00") & set(made)


def test_shortened_texts_fit():
    assert [shortened("abcdef", width) for width in (6, 5, 1)] == ["abcdef", "abcd…", "…"]
