"""The page Compare: two to six variants side by side."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

from weightcut.dashboard import filters, runs, sheet
from weightcut.dashboard import show as page
from weightcut.records import Results
from weightcut.records.results import VariantResult
from weightcut.reports import charts, measures, tables, text, view
from weightcut.reports.tables import Table

LEAST, MOST = 2, 6


def show(run: Path | None, place: Path) -> None:  # noqa: ARG001
    """Show the page."""
    import streamlit as st

    page.heading("Compare", f"{LEAST} to {MOST} variants side by side.")
    if run is None:
        page.say("There is no run yet.", "quiet")
        return
    results = runs.results(run)
    names = [variant.name for variant in results.variants]
    if len(names) < LEAST:
        page.say("This study has only one variant: there is nothing to compare.", "quiet")
        return
    picked = st.multiselect(
        "Variants",
        names,
        proposed(results),
        max_selections=MOST,
        key=f"compare-{run.name}",
        format_func=text.plain,
    )
    if len(picked) < LEAST:
        page.say(f"Choose at least {LEAST} variants.", "quiet")
        return
    shown = filters.part(results, [v for v in results.variants if v.name in picked])
    _verdicts(shown)
    known = charts.axes(shown)
    wanted = st.multiselect(
        "Measures", list(known), _measures(list(known)), key=f"measures-{run.name}",
        format_func=lambda key: known[key].name,
    )  # fmt: skip
    axes = [known[key] for key in wanted]
    page.figure(
        "parallel",
        lambda width: charts.parallel(shown, axes, width),
        source=(results, (*picked, "by", *wanted)),
    )
    page.section("Figures")
    flat = side_by_side(shown)
    page.rows(*flat, right=range(1, len(picked) + 1))
    _others(shown)
    _retention(shown, (results, tuple(picked)))
    _guards(shown)
    page.section("Export what is shown")
    stem = sheet.stem(results.study, "compare")
    sheet.exports(sheet.report_files(shown, stem), "compare")


def proposed(results: Results) -> list[str]:
    """Return the variants to begin with: the baseline, the recommended one, then the frontier."""
    wanted = [results.baseline, results.recommended]
    wanted += [v.name for v in results.variants if v.on_frontier]
    wanted += [v.name for v in results.variants]
    known = {v.name for v in results.variants}
    unique = [name for name in dict.fromkeys(wanted) if name in known]
    return [str(name) for name in unique[:4]]


def _measures(known: Sequence[str]) -> list[str]:
    """Return the measures to begin with: the primary metric's, pass@1 and the costs."""
    return [key for key in known if "/" not in key or key.endswith("/pass@1")]


def _verdicts(results: Results) -> None:
    pairs = []
    for variant in results.variants:
        kept = text.interval_of_shares(measures.primary_retention(variant))
        known = kept != text.MISSING and variant.verdict != "baseline"
        figure = f" {kept}" if known else ""
        pairs.append((text.plain(variant.name), f"{text.verdict(variant.verdict)}{figure}"))
    page.tiles(pairs)
    for variant in results.variants:
        if variant.verdict != "baseline":
            page.say(f"{variant.name}: {'; '.join(variant.verdict_reasons)}", "quiet")


def side_by_side(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return headings and lines of a table: one line a figure, one column a variant."""
    unique: dict[tuple[str, ...], list[str]] = {}
    for table in _tables(results, joined=True):
        for index, column in enumerate(table.columns[1:], start=1):
            plain = table.key in ("overview", "speed", "recipes")
            label = column.label if plain else f"{column.label} ({table.title})"
            cells = [row[index].text for row in table.rows]
            # The tables share some columns: the first one that has it counts.
            unique.setdefault((column.label, *cells), [label, *cells])
    return ["figure", *(text.plain(v.name) for v in results.variants)], list(unique.values())


def _tables(results: Results, *, joined: bool) -> list[Table]:
    """Return the tables with one row for each variant (joined), or the others."""
    names = [text.plain(v.name) for v in results.variants]
    return [
        table
        for table in view.page(results).tables
        if ([row[0].text for row in table.rows] == names) == joined
    ]


def _others(results: Results) -> None:
    """Show what the joined figures mean, and the tables that could not be joined."""
    for table in _tables(results, joined=True):
        if table.caption and not table.missing:
            page.say(f"{table.title}: {table.caption}", "caption")
    for table in _tables(results, joined=False):
        page.section(table.title)
        page.table(table)


def _retention(results: Results, source: tuple[object, Hashable]) -> None:
    page.section("What is kept of the baseline")
    pairs = list(_retained(results))
    if not pairs:
        page.say("No retention has been measured yet.", "quiet")
    for number, (task, metric) in enumerate(pairs):
        page.figure(
            f"kept-{number}",
            lambda width, t=task, m=metric: charts.retention(results, t, m, width),  # type: ignore[misc]
            source=source,
        )


def _retained(results: Results) -> Iterator[tuple[str, str]]:
    known = measures.retained(results)
    yield from known
    for task in measures.task_names(results):
        for metric in ("perplexity",):
            if (task, metric) not in known and _has(results.variants, task, metric):
                yield task, metric


def _has(variants: Sequence[VariantResult], task: str, metric: str) -> bool:
    return any(measures.retention(variant, task, metric) for variant in variants)


def _guards(results: Results) -> None:
    table = tables.guards(results)
    if table.rows:
        page.section("Guards")
        page.table(table)
