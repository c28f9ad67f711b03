"""The page Samples: prompts, and the variants' answers side by side."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from weightcut.dashboard import answers, runs, sheet
from weightcut.dashboard import show as page
from weightcut.dashboard.answers import FILTERS, Id, Index, Piece
from weightcut.records import Observation, StudySpec
from weightcut.reports import text

MOST, PAGE = 4, 20
_LETTERS = 40_000  # of an answer that are shown; the export has all


def show(run: Path | None, place: Path) -> None:  # noqa: ARG001
    """Show the page."""
    import streamlit as st

    page.heading("Samples", "What was asked, what the variants answered, what the tests said.")
    if run is None:
        page.say("There is no run yet.", "quiet")
        return
    if not runs.has_database(run):
        page.say("The run's database is not here: there are only its results.", "quiet")
        return
    spec = answers.spec(run)
    tasks = answers.tasks(run)
    if not tasks:
        page.say("No task of this run has answers yet.", "quiet")
        return
    one, two = st.columns([1, 3])
    task = str(one.selectbox("Task", tasks, key=f"task-{run.name}", format_func=text.plain))
    found = answers.index(run, task)
    known = [v.name for v in spec.variants if v.name in found.scores]
    picked = two.multiselect(
        "Variants", known, _first(spec, known), max_selections=MOST, key=f"shown-{run.name}-{task}",
        format_func=text.plain,
    )  # fmt: skip
    if not picked:
        page.say("Choose a variant.", "quiet")
        return
    ids = _matching(found, spec.baseline, picked, run.name)
    if not ids:
        page.say("No sample passes this filter.", "quiet")
        return
    chosen = _choose(ids, found, picked)
    _detail(run, spec, task, picked, chosen)


def _first(spec: StudySpec, known: Sequence[str]) -> list[str]:
    """Return the variants to begin with: the baseline and the first other one of each recipe."""
    others = [name for name in known if name != spec.baseline]
    return [name for name in (spec.baseline, *others) if name in known][:3]


def _matching(found: Index, baseline: str, picked: Sequence[str], run: str) -> list[Id]:
    import streamlit as st

    one, two = st.columns([2, 2])
    which = one.selectbox("Show", list(FILTERS), format_func=FILTERS.__getitem__, key="which")
    search = two.text_input("Name contains", key=f"search-{run}", max_chars=200)
    return answers.matching(found, baseline, picked, which, search)


def _choose(ids: Sequence[Id], found: Index, picked: Sequence[str]) -> Id:
    import streamlit as st

    count = -(-len(ids) // PAGE)
    number = 1
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    if count > 1:
        number = int(right.number_input(f"Page, of {count:,}", 1, count, 1, key="page"))
    shown = list(ids[(number - 1) * PAGE : number * PAGE])
    labels = page.labels(shown, lambda one: _label(one, found, picked))
    chosen = left.selectbox(
        f"Sample ({len(ids):,} found)", shown, key="sample", format_func=labels.__getitem__
    )
    with st.expander(f"The {len(shown)} samples of this page", icon=":material/list:"):
        headings, lines = listed(shown, found, picked)
        page.rows(headings, lines)
        page.say(f"The files hold all {len(ids):,} samples that were found.", "quiet")
        sheet.exports(sheet.files("samples", lambda: _every(ids, found, picked)), "samples")
    return chosen if chosen in shown else shown[0]


def _every(ids: Sequence[Id], found: Index, picked: Sequence[str]) -> sheet.Sheet:
    return sheet.Sheet("Samples", grids=[sheet.Grid("Samples", *listed(ids, found, picked))])


def name(one: Id) -> str:
    """Return a sample's name with the number of the answer, where there are several."""
    return text.plain(one[0]) + (f" (answer {one[1] + 1})" if one[1] else "")


def _label(one: Id, found: Index, picked: Sequence[str]) -> str:
    marks = "  ".join(answers.mark(found.of(v, one))[:1] for v in picked)
    return f"{text.shorten(name(one), 50)}   {marks}"


def listed(
    ids: Sequence[Id], found: Index, picked: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Return a table of samples: what came of each variant's answer."""
    # Not of the first sample alone: a variant at work has no answer to it, or not yet.
    metric = "codebleu" if any("codebleu" in found.of(v, i) for i in ids for v in picked) else ""
    headings = ["sample"]
    for variant in picked:
        headings += [text.plain(variant), *([f"CodeBLEU of {text.plain(variant)}"] * bool(metric))]
    lines = []
    for one in ids:
        line = [name(one)]
        for variant in picked:
            values = found.of(variant, one)
            line.append(answers.mark(values))
            if metric:
                line.append(text.score(text.finite(values.get(metric))))
        lines.append(line)
    return headings, lines


def _detail(run: Path, spec: StudySpec, task: str, picked: Sequence[str], one: Id) -> None:
    import streamlit as st

    named = next(t for t in spec.tasks if t.kind == task)
    asked, reference = answers.prompt(named, one[0])
    given = answers.answers(run, task, picked, one)
    page.section(name(one))
    if asked:
        with st.expander("Prompt", expanded=len(asked) < 1500, icon=":material/chat:"):
            page.write(f"<pre class='wc-code'>{page.block(asked)}</pre>")
    else:
        page.say("The prompt is not shown: the task's data is not on this machine.", "quiet")
    base = picked[0] if spec.baseline not in picked else spec.baseline
    for column, variant in zip(st.columns(len(picked)), picked, strict=True):
        with column:
            _answer(variant, given[variant], given[base] if variant != base else None)
    if base in picked and len(picked) > 1:
        page.say(f"Marked: what differs from the answer of {base}.", "quiet")
    if reference:
        with st.expander("Reference answer"):
            page.write(f"<pre class='wc-code'>{page.block(reference)}</pre>")
    made = _document(name(one), asked, reference, given)
    page.section("Export this sample")
    sheet.exports(made.files(sheet.stem(task, one[0])), "sample")


def _answer(variant: str, given: Observation | None, base: Observation | None) -> None:
    if given is None:
        page.write(f"<p class='wc-answer'><b>{page.escape(variant)}</b></p>")
        page.say("No answer yet.", "quiet")
        return
    said = answers.mark(given.values)
    kind = "pass" if said.startswith("✓") else "fail" if said.startswith("×") else "quiet"
    figures = [
        f"{label} {text.score(known)}"
        for key, label in (("codebleu", "CodeBLEU"), ("mean_logprob", "mean log-probability"))
        if (known := text.finite(given.values.get(key))) is not None
    ]
    tokens = text.finite(given.values.get("tokens"))
    figures += [f"{tokens:,.0f} tokens"] if tokens is not None else []
    figures += (
        ["cut at the token limit"] if answers.shown(given, "finish_reason") == "length" else []
    )
    page.write(
        f"<div class='wc-answer'><b>{page.escape(variant)}</b><span class='{kind}'>{said}</span>"
        f"<span class='quiet'>{page.escape(', '.join(figures))}</span></div>"
        f"<pre class='wc-code' data-testid='answer'>{_marked(given, base)}</pre>"
    )
    output = answers.shown(given, "output")
    if output:
        page.write(
            f"<details><summary class='wc-summary'>Test output</summary>"
            f"<pre class='wc-code'>{page.block(output[:_LETTERS])}</pre></details>"
        )


def _marked(given: Observation, base: Observation | None) -> str:
    """Return an answer as HTML, what differs from the baseline's marked."""
    new = answers.shown(given)[:_LETTERS]
    if base is None:
        return page.block(new)
    lines = []
    for pieces in answers.differences(answers.shown(base)[:_LETTERS], new):
        shown = [
            f"<mark>{html.escape(text.plain(piece))}</mark>"
            if differs
            else html.escape(text.plain(piece))
            for piece, differs in _indented(pieces)
        ]
        lines.append("".join(shown))
    return "\n".join(lines)


def _indented(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Yield a line's pieces with spaces for tabs, as wide as they are in the whole line."""
    line = ""
    for piece, differs in pieces:
        column = len(line.expandtabs(text.TAB))
        line += piece
        yield line.expandtabs(text.TAB)[column:], differs


def _document(
    title: str, asked: str, reference: str, given: Mapping[str, Observation | None]
) -> sheet.Sheet:
    keys = dict.fromkeys(key for one in given.values() if one for key in one.values)
    lines = [
        [variant, *(one.values.get(key) if one else None for key in keys)]
        for variant, one in given.items()
    ]
    texts = [("Prompt", asked)] if asked else []
    for variant, one in given.items():
        texts.append((f"Answer of {variant}", answers.shown(one)))
        if answers.shown(one, "output"):
            texts.append((f"Test output of {variant}", answers.shown(one, "output")))
    texts += [("Reference answer", reference)] if reference else []
    grid = sheet.Grid("Scores", ["variant", *keys], lines)
    return sheet.Sheet(title, grids=[grid], texts=texts)
