"""Sections: the parts of a page that read without a script, as HTML."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version

from semantic_ids.neighbourhoods import Neighbourhoods
from semantic_ids.report.contents import Contents
from semantic_ids.report.verdict import (
    CLOSE,
    EVEN,
    FAR,
    FEW_COLLISIONS,
    KEPT,
    LOPSIDED,
    LOST,
    MANY_COLLISIONS,
    NO_NEWS,
    TIMES_CHANCE,
    reach_verdict,
)

_MARKS = {"good": "Good", "fair": "Look", "poor": "Poor"}
_NO_CODEC = "This tokenizer was made from codes"


def sections(contents: Contents) -> str:
    """Return the body of a page: all its sections in order."""
    parts = [
        ("levels", "Levels", _levels(contents)),
        ("error", "Reconstruction error", _error(contents)),
        ("collisions", "Collisions", _collisions(contents)),
        ("tree", "Code tree", _tree(contents)),
        ("map", "Map of items", _map(contents)),
        ("neighbours", "Neighbours", _neighbours(contents)),
        ("items", "Items", _items(contents)),
        ("about", "About this page", _about(contents)),
    ]
    links = " ".join(f'<a href="#{name}">{title}</a>' for name, title, _ in parts)
    body = "\n".join(
        f'<section id="{name}">\n<h2>{title}</h2>\n{html}\n</section>'
        for name, title, html in parts
    )
    return f"{_head(contents)}\n<nav>{links}</nav>\n<main>\n{body}\n</main>"


def _head(contents: Contents) -> str:
    statistics, sizes = contents.statistics, contents.fitted.catalogue.sizes
    verdict = reach_verdict(statistics)
    checks = "".join(
        f'<li class="{finding.grade}"><b>{_MARKS[finding.grade]}</b> {escape(finding.text)}</li>'
        for finding in verdict.findings
    )
    unchecked = ""
    if verdict.unchecked:
        unchecked = f'<p class="note">Not measured: {"; ".join(verdict.unchecked)}.</p>'
    figures = [
        ("items", f"{statistics.items:,}"),
        ("collision rate", f"{statistics.collision_rate:.2%}"),
        ("moved by the resolver", f"{statistics.moved:,}"),
    ]
    if statistics.relative_error is not None:
        figures.append(("relative error", f"{statistics.relative_error:.4f}"))
    if statistics.neighbourhoods is not None:
        near = statistics.neighbourhoods
        figures.append((f"recall@{near.k} of neighbours", f"{near.recall:.3f}"))
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    return f"""<header id="verdict" class="{verdict.grade}">
<p class="kicker">Semantic IDs · {statistics.items:,} items · codes of {len(sizes)} positions
({" × ".join(f"{size:,}" for size in sizes)})</p>
<h1>{escape(verdict.headline)}</h1>
<ul class="checks">{checks}</ul>
{unchecked}
<dl class="figures">{tiles}</dl>
</header>"""


def _levels(contents: Contents) -> str:
    levels = contents.statistics.levels
    head = [
        *("Level", "Codes", "In use", "Utilisation", "In effect", "Entropy, nats"),
        *("Given the codes before, nats", "Prefixes", "Largest, items", "Alone, items", "Gini"),
    ]
    agreement = levels[0].categories is not None
    if agreement:
        head += ["Purity", "AMI"]
    rows = []
    for name, level in zip(contents.level_names, levels, strict=False):
        row = [
            *(name, f"{level.size:,}", f"{level.used:,}", f"{level.utilisation:.1%}"),
            *(f"{level.perplexity:.1f}", f"{level.entropy:.3f}"),
            *(f"{level.conditional_entropy:.3f}", f"{level.prefixes:,}"),
            *(f"{level.largest_prefix:,}", f"{level.alone:,}", f"{level.gini:.3f}"),
        ]
        if level.categories is not None:
            row += [f"{level.categories.purity:.3f}", f"{level.categories.ami:.3f}"]
        rows.append(row)
    categories = (
        " Purity and AMI compare the prefixes with the categories: 1 is full agreement, an AMI "
        "of 0 is chance."
        if agreement
        else ""
    )
    order = (
        ""
        if contents.fitted.ordered
        else _note("These levels are parallel: none refines the one before it.")
    )
    return f"""{
        _lead(
            "How many codes of each level the items use, and how evenly: <b>in effect</b> is the "
            "perplexity, the number of equally frequent codes with the same entropy. Good: near "
            "the size of the codebook."
        )
    }
{order}
<div class="pair">
{_figure("use", "Codes of each level: in the codebook, in use, in effect")}
{
        _figure(
            "entropy",
            "Entropy of each level in nats. What is left given the codes before is what the level "
            "adds; near 0 it adds nothing.",
        )
    }
</div>
{_table(head, rows, "levels")}
{
        _note(
            "Prefixes: distinct codes up to this level; largest and alone: most items under one, "
            "and items that share theirs with none. Gini: 0 is even use, near 1 is one code for "
            f"all.{categories}"
        )
    }"""


def _error(contents: Contents) -> str:
    levels = contents.statistics.levels
    if levels[0].relative_error is None:
        why = (
            f"{_NO_CODEC}: it cannot turn them back into features, so nothing can be measured."
            if contents.fitted.codec is None
            else "Items were added or removed since the fit. Give the report <code>features</code> "
            "to measure the error of the catalogue as it is."
        )
        return _lead(why)
    names = list(levels[0].modality_errors or {})
    rows = [
        [name, f"{level.relative_error:.4f}"]
        + [f"{(level.modality_errors or {})[modality]:.4f}" for modality in names]
        for name, level in zip(contents.level_names, levels, strict=False)
    ]
    head = ["Up to level", "All, as fused", *names]
    return f"""{
        _lead(
            "What the first codes lose of the features: squared error over variance. 0 is perfect, "
            "1 no better than the mean of all items. Good: it falls at every level, first the most."
        )
    }
{_figure("errors", "Relative error by depth, of all features as fused and of each modality")}
{_table(head, rows, "errors")}"""


def _collisions(contents: Contents) -> str:
    statistics, n = contents.statistics, contents.statistics.items
    # A catalogue has no two items with one unique code.
    rows = [
        ["Distinct codes", f"{statistics.levels[-1].prefixes:,}", f"{n:,}"],
        ["Items that share theirs", f"{statistics.items_in_collisions:,}", "0"],
        ["Most items with one code", f"{statistics.largest_bucket:,}", "1"],
        ["Collision rate", f"{statistics.collision_rate:.2%}", "0.00%"],
    ]
    added = contents.fitted.catalogue.sizes[len(statistics.levels) :]
    how = (
        f"It added a position of {added[0]:,} values, 0 for an item alone."
        if added
        else f"It moved {statistics.moved:,} items ({statistics.moved / n:.1%}) to other codes."
    )
    return f"""{
        _lead(
            "Content codes are a function of the features: alike items may share one. The resolver "
            f"then gives each item a code of its own. {how} Good: few collisions before."
        )
    }
{_figure("shared", "Items by how many items have their code, before and after the resolver")}
{_table(["", "Before: content codes", "After: unique codes"], rows, "collisions")}"""


def _tree(contents: Contents) -> str:
    tree = contents.tree
    shown = (
        "All prefixes are here."
        if len(tree) == tree.total
        else f"The {len(tree):,} largest of {tree.total:,} prefixes are here."
    )
    named = (
        "" if contents.items is not None else " Give the report <code>items</code> to see titles."
    )
    return f"""{
        _lead(
            "A box is a prefix of unique codes, its area the number of items under it. Select a "
            "box to go in, the bar above to come out. Good: many boxes of like size, each with one "
            f"theme. {shown}{named}"
        )
    }
{_figure("treemap", "Prefixes of unique codes, coloured by first code as on the map", "tall")}"""


def _map(contents: Contents) -> str:
    drawn = contents.map
    if drawn is None:
        return _lead(
            f"{_NO_CODEC}: it has no vectors to draw. Give the report <code>features</code> to "
            "see a map of them."
        )
    what = "features" if drawn.of_features else "vectors that the unique codes decode to"
    part = (
        ""
        if len(drawn.rows) == contents.statistics.items
        else f" {len(drawn.rows):,} items are drawn, at random."
    )
    return f"""{
        _lead(
            f"The {what}, in the plane in which all items differ most (principal components). "
            "Items far apart here are far apart; items near each other here need not be. Good: "
            f"items of one colour lie together.{part}"
        )
    }
<p class="controls"><label for="highlight">First code</label>
<select id="highlight"><option value="">all</option></select></p>
{_figure("scatter", "Items, coloured by first code. Select one to see it below.", "tall")}"""


def _neighbours(contents: Contents) -> str:
    statistics = contents.statistics
    if statistics.neighbourhoods is None:
        return _lead(
            "Not measured: give the report <code>features</code> to see whether items that are "
            "near by their features are near by their codes."
        )
    found = [("Content codes", statistics.neighbourhoods)]
    if statistics.moved and statistics.unique_neighbourhoods is not None:
        found.append(("Unique codes", statistics.unique_neighbourhoods))
    k = statistics.neighbourhoods.k
    head = ["Near by", f"Recall@{k}", "By chance", f"NDCG@{k}", "Rank correlation"]
    rows = [[name, *_neighbourhood(figures)] for name, figures in found]
    figures = statistics.neighbourhoods
    return f"""{
        _lead(
            f"Whether the {k} nearest items by features are the nearest by codes, over "
            f"{figures.queries:,} items; and whether distances have the same order, over "
            f"{figures.pairs:,} pairs. 1 is perfect. Good: recall far above chance."
        )
    }
{_table(head, rows, "neighbours")}"""


def _neighbourhood(figures: Neighbourhoods) -> list[str]:
    rank = "not defined" if figures.spearman is None else f"{figures.spearman:.3f}"
    return [f"{figures.recall:.3f}", f"{figures.by_chance:.4f}", f"{figures.ndcg:.3f}", rank]


def _items(contents: Contents) -> str:
    return f"""{
        _lead(
            "Find an item by words of its title or by its id; see its code and the items that "
            "share the longest prefix with it. <span id='sampled'></span>"
        )
    }
<p class="controls"><label for="search">Search</label>
<input id="search" type="search" autocomplete="off" spellcheck="false"></p>
<div id="item" aria-live="polite"></div>
<p class="note" id="matches" aria-live="polite"></p>
<div class="scroll" tabindex="0" role="region" aria-label="Items found"><table id="found">
</table></div>
<noscript><p class="note">The search and the plots need JavaScript.</p></noscript>"""


def _about(contents: Contents) -> str:
    spec = contents.fitted.spec
    made = (
        f"<p>{_NO_CODEC}, without a codec.</p>"
        if spec is None
        else "<details><summary>The tokenizer's spec</summary>"
        f"<pre>{escape(spec.model_dump_json(indent=2))}</pre></details>"
    )
    rules = [
        f"Use of a level: in effect at least {EVEN:.0%} of its codes (of the items, where there "
        f"are fewer) is good, below {LOPSIDED:.0%} poor; a level that adds less than "
        f"{NO_NEWS} nats is to be looked at; one with a single code is poor.",
        f"Collision rate: up to {FEW_COLLISIONS:.0%} is good, above {MANY_COLLISIONS:.0%} poor.",
        f"Relative error: up to {CLOSE} is good, above {FAR} poor.",
        f"Recall of neighbours: {KEPT:.0%} or more is good; below {LOST:.0%}, or below "
        f"{TIMES_CHANCE} times chance, poor.",
    ]
    return f"""<p>The verdict follows these rules of thumb, which say where to look first. Whether
codes are good for a recommender shows in the recommender.</p>
<ul>{"".join(f"<li>{rule}</li>" for rule in rules)}</ul>
{made}
<p class="note">Made by semantic_ids {_version()}. The page loads nothing and sends nothing.</p>"""


def _version() -> str:
    try:
        return version("semantic-ids")
    except PackageNotFoundError:
        return "(not installed)"


def _lead(html: str) -> str:
    return f'<p class="lead">{html}</p>'


def _note(html: str) -> str:
    return f'<p class="note">{html}</p>'


def _figure(name: str, caption: str, kind: str = "") -> str:
    return (
        f'<figure><figcaption>{caption}</figcaption><div id="{name}" class="plot {kind}"></div>'
        "</figure>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], name: str) -> str:
    """Return a table of text; the first column names the row."""
    titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table of {name}">'
        f'<table data-table="{name}"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )
