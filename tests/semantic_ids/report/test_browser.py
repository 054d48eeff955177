"""The page in a browser: headless Chromium, where there is one."""

import shutil

import numpy as np
import pytest

from semantic_ids.report.contents import NAMED

from .conftest import EVIL

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver (Debian: chromium-driver) are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser, path, width, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    return browser.execute_script


@pytest.fixture(
    scope="module",
    params=[(1200, "light"), (390, "dark")],
    ids=["wide light", "phone dark"],
)
def run(browser, page, request):
    """Run a script on the page, which is opened once for all tests."""
    return opened(browser, page, *request.param)


def until(browser, run, script, wanted):
    """Wait until a script returns what is wanted: plotly redraws by a clock of its own."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20, poll_frequency=0.05).until(lambda _: run(script) == wanted)


def search(run, text):
    run(
        "const field = document.getElementById('search'); field.value = arguments[0];"
        "field.dispatchEvent(new Event('input'))",
        text,
    )


def test_it_opens_without_a_complaint_and_fetches_nothing(browser, run):
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert run("return performance.getEntriesByType('resource').map((e) => e.name)") == []
    empty = "return [...document.querySelectorAll('.plot')].filter((p) => !p.querySelector('svg'))"
    assert run(empty) == []
    assert run("return document.querySelectorAll('.plot').length") == 6
    assert run("return window.evil") is None


def test_only_tables_scroll_sideways(run):
    assert run("return document.documentElement.scrollWidth - innerWidth") <= 0


CONTRAST = """
const light = (rgb) => rgb.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const paper = light(getComputedStyle(document.body).backgroundColor);
return [...document.querySelectorAll("p, h1, h2, li, b, a, th, td, dt, dd, figcaption, button")]
  .map((e) => light(getComputedStyle(e).color))
  .map((ink) => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
"""


def test_text_stands_out_from_the_paper(run):
    assert min(run(CONTRAST)) >= 4.5  # WCAG 2.2, AA


def test_text_in_plots_follows_the_scheme(run):
    fill = "return getComputedStyle(document.querySelector('#treemap .slice text')).fill"
    assert run(fill) == run("return getComputedStyle(document.body).color")


#: Boxes of the tree that have a shape: the others are not shown.
BOXES = (
    "[...document.querySelectorAll('#treemap .slice')]"
    ".filter((s) => s.querySelector('.surface').getAttribute('d'))"
)
SHOWN = f"return {BOXES}.map((s) => s.__data__.data.data.id).sort()"
CLICK = ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
DATA = "JSON.parse(document.getElementById('data').textContent)"


def test_the_tree_zooms_in_and_out(browser, run):
    parents = run(f"return {DATA}.tree.parents")
    tops = [str(place) for place, parent in enumerate(parents) if parent < 0]
    below = [str(place) for place, parent in enumerate(parents) if parent == 0]
    until(browser, run, SHOWN, sorted(["root", *tops]))
    run(f"{BOXES}.find((s) => s.__data__.data.data.id === '0'){CLICK}")
    until(browser, run, SHOWN, sorted(["0", *below]))
    run(f"document.querySelector('#treemap .pathbar'){CLICK}")
    until(browser, run, SHOWN, sorted(["root", *tops]))


@pytest.mark.parametrize("title", [EVIL[0], EVIL[2]])
def test_titles_in_the_tree_are_text(run, title):
    tree = run(f"return {DATA}.tree")
    above = tree["parents"][tree["titles"].index(title)]
    run("Plotly.restyle('treemap', {level: arguments[0]})", "root" if above < 0 else str(above))
    texts = run(
        "return [...document.querySelectorAll('#treemap .slice text')].map((t) => t.textContent)"
    )
    run("Plotly.restyle('treemap', {level: 'root'})")
    # Where a line ends there is no blank.
    assert any(title.replace(" ", "") in text.replace(" ", "") for text in texts)
    assert run("return document.querySelectorAll('#treemap a, #treemap script').length") == 0


@pytest.mark.parametrize("row", [0, 1, 2, 60])
def test_the_search_finds_an_item(run, tokenizer, items, row):
    item, title = items["id"][row], items["title"][row]
    search(run, f"{title.upper()} {item}")
    assert run("return document.getElementById('matches').textContent").startswith("1 item")
    run("document.querySelector('#found button').click()")
    assert run("return document.querySelector('#item h3').textContent") == title
    text = run("return document.getElementById('item').textContent")
    code = tokenizer.vocabulary.to_strings(tokenizer.encode(item))[0]
    assert f"unique code {code}" in text
    assert run("return document.querySelectorAll('#item script, #item img, #item a').length") == 0
    assert run("return window.evil") is None


def test_neighbours_share_the_longest_prefix(run, tokenizer, items):
    item = str(items["id"][60])
    search(run, item)
    run("document.querySelector('#found button').click()")
    cells = run(
        "return [...document.querySelectorAll('#item table:last-of-type')].at(-1).innerText"
    )
    shown = [line.split("\t") for line in cells.splitlines()[1:]]
    own = tokenizer.encode(item)[0]

    def shared(other):
        same = tokenizer.codes[other] == own
        return int(same.all()) + int(same[:2].all()) + int(same[:1].all())

    everyone = [shared(row) for row in range(len(tokenizer)) if tokenizer.ids[row] != item]
    best = sorted((count for count in everyone if count), reverse=True)[:10]
    assert [int(cells[-1]) for cells in shown] == best
    assert [shared(tokenizer.rows(cells[1])[0]) for cells in shown] == best


def test_no_match_is_said(run):
    search(run, "nothing like it")
    assert run("return document.getElementById('matches').textContent") == "0 items"


def test_the_map_shows_one_first_code(run, tokenizer):
    chosen = int(tokenizer.codes[0, 0])
    run(
        "const s = document.getElementById('highlight'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('change'))",
        str(chosen),
    )
    marks = run("return document.querySelector('#scatter').data[0].marker.opacity")
    assert sum(mark > 0.5 for mark in marks) == (tokenizer.codes[:, 0] == chosen).sum()


def test_a_point_of_the_map_leads_to_its_item(run, items):
    run("document.querySelector('#scatter').emit('plotly_click', {points: [{pointIndex: 3}]})")
    title = run(f"const d = {DATA}; return d.items.titles[d.map.item[3]]")
    assert run("return document.querySelector('#item h3').textContent") == title
    assert title in items["title"] or title in EVIL


def test_a_page_of_codes_opens(browser, tmp_path):
    from semantic_ids import Tokenizer

    path = Tokenizer.from_codes(None, [[0, 1], [0, 1], [2, 0]]).report(tmp_path / "page.html")
    run = opened(browser, path, 800, "light")
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert run("return document.querySelectorAll('#found tbody tr').length") == 3


def test_a_page_of_some_of_the_items_says_so(browser, tmp_path):
    from semantic_ids import Tokenizer

    codes = np.stack(np.divmod(np.arange(30_000), 200), axis=1)
    path = Tokenizer.from_codes(None, codes).report(tmp_path / "page.html", progress=False)
    run = opened(browser, path, 800, "light")
    text = run("return document.getElementById('sampled').textContent")
    assert text.startswith(f"This page holds {NAMED:,} of 30,000 items, drawn at random")
