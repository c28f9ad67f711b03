"""The page Overview: what to deploy, the trade-offs, and everything measured."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from weightcut.dashboard import filters, runs, sheet
from weightcut.dashboard import show as page
from weightcut.records import Results
from weightcut.reports import charts, measures, text, view


def show(run: Path | None, place: Path) -> None:
    """Show the page."""
    if run is None:
        page.heading("No run yet", f"Runs are looked for in {place}.")
        page.say("Start a study on the page Run, or with: weightcut run quickstart")
        return
    state = runs.state(run)
    if state.kind in ("new", "unreadable"):
        page.heading(run.name, state.words)
        if state.says:
            page.notice("Cannot be read", state.says, "error")
        if state.kind == "new":
            page.say("This run has measured nothing yet; the page Run shows how far it is.")
            return
    results = runs.results(run)
    _head(results, state)
    shown, choice = _filtered(results)
    if not shown.variants:
        page.say("No variant passes these filters.", "quiet")
        return
    _charts(shown, (results, choice))
    page.section("All figures")
    whole = view.page(shown)
    for table in (*whole.tables, whole.guards):
        page.write(f"<h3 class='wc-h3'>{page.escape(table.title)}</h3>")
        page.table(table)
    _reasons(whole)
    page.section("Export what is shown")
    sheet.exports(sheet.report_files(shown, sheet.stem(results.study, "overview")), "overview")


def _head(results: Results, state: runs.State) -> None:
    whole = view.page(results)
    page.heading(whole.title, state.words if state.kind != "finished" else "")
    page.say(whole.summary, "lead")
    if whole.figures:
        page.tiles(whole.figures)
    pairs = [("Missing", gap, "warning") for gap in whole.gaps]
    pairs += [("Warning", warning, "warning") for warning in whole.warnings]
    pairs += [("Skipped", f"{cell}: {reason}", "") for cell, reason in whole.skipped]
    pairs += [("Note", note, "") for note in whole.notes]
    page.notices(pairs, 3)


def _filtered(results: Results) -> tuple[Results, filters.Choice]:
    import streamlit as st

    known = filters.options(results)
    names = {
        "methods": "Method",
        "engines": "Engine",
        "bits": "Bits of a weight",
        "verdicts": "Verdict",
        "tasks": "Task",
    }
    with st.expander("Filters", icon=":material/filter_alt:"):
        columns = st.columns(len(names))
        picked = {
            key: column.multiselect(
                label, known[key], key=f"filter-{key}", placeholder="all", format_func=text.plain
            )
            for column, (key, label) in zip(columns, names.items(), strict=True)
        }
    choice = filters.Choice(**{key: tuple(values) for key, values in picked.items()})
    shown = filters.apply(results, choice)
    left_out = len(results.variants) - len(shown.variants)
    if left_out:
        page.say(f"{left_out} of {len(results.variants)} variants are filtered out.", "quiet")
    return shown, choice


def _charts(results: Results, source: tuple[object, Hashable]) -> None:
    import streamlit as st

    axes = charts.axes(results)
    keys = list(axes)
    page.section("Trade-offs")
    if len(keys) < 2:
        page.say("Not drawn: fewer than two measures are known yet.", "quiet")
    else:
        quality = next((k for k in keys if "/" in k), keys[0])
        left, right, _ = st.columns([3, 3, 2])
        cheap = keys.index("latency") if "latency" in keys else len(keys) - 1
        x = left.selectbox(
            "Across", keys, index=cheap, format_func=lambda k: axes[k].title, key="axis-x"
        )
        y = right.selectbox(
            "Up",
            keys,
            index=keys.index(quality),
            format_func=lambda k: axes[k].title,
            key="axis-y",
        )
        page.figure(
            "tradeoff",
            lambda width: charts.tradeoff(results, axes[x], axes[y], width),
            title=False,
            source=(source[0], (source[1], x, y)),
        )
    kept = measures.retained(results)[:1]
    columns = st.columns(2 if kept else 1)
    with columns[0]:
        page.figure("half-throughput", lambda width: charts.throughput(results, width),
                    source=source)  # fmt: skip
    for column, (task, metric) in zip(columns[1:], kept, strict=True):
        with column:
            page.figure(
                "half-kept",
                lambda width, t=task, m=metric: charts.retention(results, t, m, width),  # type: ignore[misc]
                source=source,
            )


def _reasons(whole: view.Page) -> None:
    import streamlit as st

    with st.expander("Why these verdicts"):
        page.say(whole.rule, "quiet")
        for one in whole.reasons:
            lines = "".join(f"<li>{page.escape(reason)}</li>" for reason in one.reasons)
            lines += "".join(f"<li class='fail'>{page.escape(e)}</li>" for e in one.errors)
            page.write(f"<b>{page.escape(f'{one.symbol} {one.name}: {one.verdict}')}</b>"
                       f"<ul>{lines}</ul>")  # fmt: skip
        if whole.agreement:
            page.say(whole.agreement, "quiet")
