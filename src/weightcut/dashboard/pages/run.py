"""The page Run: a study from a form, its plan, its progress; stop it and go on with it."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightcut.dashboard import form, jobs, runs, sheet
from weightcut.dashboard import show as page
from weightcut.errors import WeightcutError
from weightcut.records import Cell, CellKey
from weightcut.reports import text

_REFRESH_S = 2.0
_SIGNS = {
    "done": "✓ done",
    "running": "▶ running",
    "failed": "× failed",
    "skipped": "– skipped",
    "pending": "· waiting",
}


def show(run: Path | None, place: Path) -> None:
    """Show the page."""
    import streamlit as st

    page.heading("Run", "Start a study and watch it; it goes on when this page is closed.")
    new, watch = "New study", "Progress"
    shown = st.segmented_control(
        "Part", [watch, new], default=new if run is None else watch,
        label_visibility="collapsed", key="run-part", required=True,
    )  # fmt: skip
    if shown == new and run == place:
        page.say("This dashboard shows one run. To start others, open the folder around it:")
        page.say(f"weightcut dashboard {shlex.quote(str(place.parent))}")
    elif shown == new:
        _new(place)
    elif run is None:
        page.say("There is no run yet.", "quiet")
    else:
        _watch(run)


def _new(place: Path) -> None:
    import streamlit as st

    study = form.draw()
    name = st.text_input(
        "Run folder", value=_free(place, form.name_of(study)), key=f"folder-{form.name_of(study)}",
        help=f"A new folder in {place}",
    )  # fmt: skip
    plan, begin = st.columns([1, 1])
    if plan.button("Show the plan", icon=":material/checklist:", width="stretch"):
        st.session_state["planned"] = study
    if begin.button("Start", type="primary", icon=":material/play_arrow:", width="stretch"):
        folder = jobs.start(place, name.strip(), study)
        st.query_params["run"] = folder.name
        del st.session_state["run-part"]
        st.rerun()
    if st.session_state.get("planned") == study:
        try:
            with st.spinner("Planning …"):
                _plan(_planned(study))
        except WeightcutError as error:
            page.complain(error)


def _free(place: Path, wanted: str) -> str:
    stem = sheet.stem(wanted)
    names = [stem, *(f"{stem}-{n}" for n in range(2, 1000))]
    return next((name for name in names if not (place / name).exists()), stem)


def _planned(study: str) -> Any:
    import streamlit as st

    kept = st.session_state.setdefault("plans", {})
    if study not in kept:
        with tempfile.TemporaryDirectory(prefix="weightcut-") as folder:
            path = Path(folder) / runs.STUDY
            path.write_text(study, encoding="utf-8")
            kept[study] = jobs.ask(["plan", str(path)])
    return kept[study]


def _plan(plan: Any) -> None:
    total = plan["total"]
    cells = plan["cells"]
    skipped = [cell for cell in cells if cell["skip"]]
    page.section("Plan")
    figures = [
        ("cells to run", f"{len(cells) - len(skipped)} of {len(cells)}"),
        ("time, predicted", text.hours(total["seconds"] / 3600)),
        ("most memory", text.size(total["memory"])),
        ("disk", text.size(total["disk"])),
    ]
    page.tiles(figures)
    # A variant's cells have one reason: it is told once, and in the table beside each of them.
    reasons = dict.fromkeys(f"{cell['key']['variant']}: {cell['skip']}" for cell in skipped)
    for reason in reasons:
        page.notice("Infeasible", reason, "warning")
    lines = [
        (
            _name(cell["key"]),
            " | ".join(step["kind"] for step in cell["steps"]),
            text.hours(cell["prediction"]["seconds"] / 3600),
            text.size(cell["prediction"]["memory"]),
            text.size(cell["prediction"]["disk"]),
            _remark(cell),
        )
        for cell in cells
    ]
    headings = ("cell", "recipe as run", "time", "memory", "disk", "remark")
    page.rows(headings, lines, right=(2, 3, 4))
    says = ["; ".join(f"{label}: {figure}" for label, figure in figures)]
    made = sheet.Sheet("Plan", says, [sheet.Grid("Cells", headings, lines)], data=plan)
    sheet.exports(made.files("plan"), "plan")


def _remark(cell: Mapping[str, Any]) -> str:
    if cell["skip"]:
        return f"infeasible: {cell['skip']}"
    return "; ".join(filter(None, ("made before" if cell["cached"] else "", cell["note"])))


def _name(key: dict[str, str]) -> str:
    return str(CellKey.model_validate(key))


def _watch(run: Path) -> None:
    import streamlit as st

    busy = runs.state(run).kind == "running" or jobs.process(run) is not None
    every = _REFRESH_S if busy else None

    @st.fragment(run_every=every)
    def live() -> None:
        now = runs.state(run)
        at_work = now.kind == "running" or jobs.process(run) is not None
        _state(run, now, at_work)
        _buttons(run, now, at_work)
        _cells(run, now)
        _logs(run)
        if busy and not at_work:
            st.rerun()

    live()


def _state(run: Path, now: runs.State, at_work: bool) -> None:
    import streamlit as st

    page.section(run.name)
    words = "starting" if at_work and now.kind != "running" else now.words
    page.write(f"<p class='wc-p' data-testid='run-state'>{page.escape(words)}</p>")
    if now.says:
        page.notice("Cannot be read", now.says, "error")
    if now.total:
        settled = now.done + now.failed + now.skipped
        st.progress(settled / now.total, text=f"{settled} of {now.total} cells")


def _buttons(run: Path, now: runs.State, at_work: bool) -> None:
    import streamlit as st

    mine = jobs.started_here(run)
    if at_work and jobs.process(run) is not None:
        if st.button("Stop", icon=":material/stop:", key="stop"):
            jobs.stop(run)
            st.toast("Stopping; nothing measured is lost.")
    elif at_work:
        page.say("This run was started elsewhere: stop it there, with Ctrl+C.", "quiet")
    elif mine and now.kind in ("new", "stopped", "failed"):
        label = "Go on" if now.kind != "failed" else "Try the failed cells again"
        if st.button(label, icon=":material/play_arrow:", key="resume", type="primary"):
            jobs.resume(run)
            st.rerun(scope="app")
    elif now.kind in ("stopped", "failed"):
        page.say("This run was started elsewhere: go on with it by the same command.", "quiet")


def _cells(run: Path, now: runs.State) -> None:
    if not now.total:
        return
    cells, counts = runs.cells(run), runs.counts(run)
    lines = [_line(cell, counts, cells) for cell in cells]
    headings = ("cell", "state", "measured", "time", "tries", "what happened")
    page.rows(headings, lines, right=(2, 3, 4))
    made = sheet.Sheet(f"Progress of {run.name}", [now.words],
                       [sheet.Grid("Cells", headings, lines)],
                       [(name, jobs.tail(run, name)) for name in jobs.logs(run)])  # fmt: skip
    sheet.exports(made.files(sheet.stem(run.name, "progress")), "progress")


def _line(cell: Cell, counts: dict[CellKey, int], cells: list[Cell]) -> tuple[str, ...]:
    measured = counts.get(cell.key, 0)
    # Every variant answers the same: what another one has is what this one will have.
    alike = [
        counts.get(c.key, 0)
        for c in cells
        if c.state == "done" and (c.key.stage, c.key.task) == (cell.key.stage, cell.key.task)
    ]
    of = f" of {max(alike)}" if alike and cell.state == "running" else ""
    seconds = text.hours(cell.seconds / 3600) if cell.seconds else ""
    return (
        str(cell.key),
        _SIGNS[cell.state],
        f"{measured:,}{of}" if measured else "",
        seconds,
        str(cell.attempts or ""),
        text.shorten(cell.error or cell.reason, 300),
    )


def _logs(run: Path) -> None:
    import streamlit as st

    names = jobs.logs(run)
    if not names:
        return
    page.section("Log")
    name = st.selectbox(
        "Log", names, label_visibility="collapsed", key=f"log-{run.name}", format_func=text.plain
    )
    page.write(f"<pre class='wc-code' data-testid='log'>{page.block(jobs.tail(run, name))}</pre>")
