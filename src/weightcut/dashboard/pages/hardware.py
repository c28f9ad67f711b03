"""The page Hardware: what this machine or a named GPU can run, and what to try first on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightcut.dashboard import jobs, sheet
from weightcut.dashboard import show as page
from weightcut.dashboard.sheet import Grid
from weightcut.errors import WeightcutError
from weightcut.reports import text

_WORDS = {"works": "✓ works", "slow": "◐ slowly", "not-here": "× not here"}


def show(run: Path | None, place: Path) -> None:  # noqa: ARG001
    """Show the page."""
    import streamlit as st

    page.heading("Hardware", "What runs on this machine, what only slowly, what not, and why.")
    one, two, three = st.columns([3, 3, 2], vertical_alignment="bottom")
    model = one.text_input("Recipes for a model", "7B", help="A size, an alias, a folder, hub:…",
                           max_chars=2000)  # fmt: skip
    gpu = two.text_input("In place of the GPUs here", placeholder="Tesla M40", max_chars=200)
    if three.button("Look again", icon=":material/refresh:", width="stretch"):
        st.session_state.pop("doctor", None)
    kept = st.session_state.setdefault("doctor", {})
    asked = (model.strip(), gpu.strip())
    if asked not in kept:
        arguments = [*([f"--model={asked[0]}"] if asked[0] else []),
                     *([f"--gpu={asked[1]}"] if asked[1] else [])]  # fmt: skip
        try:
            with st.spinner("Looking at this machine …"):
                kept[asked] = jobs.ask(["doctor", *arguments], 180)
        except WeightcutError as error:
            page.complain(error)
            return
    _report(kept[asked])


def _report(report: Mapping[str, Any]) -> None:
    here = report["machine"]
    page.tiles(machine(here))
    grids = [*parts(report), *recipes(report), software(report)]
    for grid in grids:
        page.section(grid.title)
        page.rows(grid.headings, grid.lines)
    document = sheet.Sheet("Hardware", [text.plain(here["cpu"])], grids, data=report)
    page.section("Export what is shown")
    sheet.exports(document.files("hardware"), "hardware")


def machine(here: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the machine is, as labels and figures."""
    found = [("CPU", text.plain(here["cpu"])), ("cores", str(here["cores"]))]
    found.append(("memory", text.size(here["memory_bytes"])))
    found.append(("memory, available", text.size(here["memory_available_bytes"])))
    found.append(("disk, free", text.size(here["disk_free_bytes"])))
    gpus = [f"{text.plain(gpu['name'])}, {text.size(gpu['memory_bytes'])}" for gpu in here["gpus"]]
    return found + [("GPU", gpu) for gpu in gpus or ["none"]]


def parts(report: Mapping[str, Any]) -> list[Grid]:
    """Return a table of the engines and one of the methods, by device."""
    devices = [text.plain(device["name"]) for device in report["devices"]]
    headings = [f"on {device}" for device in devices]
    found = []
    for kind in ("engine", "method"):
        lines = []
        for part in report["parts"]:
            if part["kind"] == kind:
                verdicts = [_WORDS.get(v["verdict"], v["verdict"]) for v in part["verdicts"]]
                lines.append([part["name"], *verdicts, _why(part["verdicts"])])
        found.append(Grid(f"{kind.capitalize()}s", [kind, *headings, "why"], lines))
    return found


def _why(verdicts: list[Mapping[str, Any]]) -> str:
    reasons = []
    for one in verdicts:
        findings = [f for f in one["findings"] if f["verdict"] == one["verdict"]]
        for finding in findings if one["verdict"] != "works" else []:
            instead = f" Instead: {finding['instead']}." if finding["instead"] else ""
            reason = str(finding["reason"])
            reasons.append(f"{reason[:1].upper()}{reason[1:]}.{instead}")
    return " ".join(dict.fromkeys(reasons))


def recipes(report: Mapping[str, Any]) -> list[Grid]:
    """Return the recipes to try first, where a model was named."""
    if not report["model"]:
        return []
    lines = [
        [
            row["recipe"] or "as it is",
            row["engine"],
            row["device"],
            text.size(row["weight_bytes"]),
            text.size(row["memory_bytes"]),
            _WORDS.get(row["verdict"], row["verdict"]) if row["fits"] else "× does not fit",
            row["reason"],
        ]
        for row in report["recipes"]
    ]
    headings = ["recipe", "engine", "on", "weights", "in memory", "verdict", "why"]
    return [Grid(f"Recipes for {text.plain(report['model']['reference'])}, best first", headings,
                 lines)]  # fmt: skip


def software(report: Mapping[str, Any]) -> Grid:
    """Return what of the software is there."""
    sandbox, native = report["sandbox"], report["codebleu_extension"]
    lines = [
        [f"extra {extra['name']}", "✓ installed" if extra["installed"] else "× absent",
         "" if extra["installed"] else extra["install"]]
        for extra in report["extras"]
    ]  # fmt: skip
    lines.append(["CodeBLEU in C", "✓ in use" if native["in_use"] else "× absent",
                  native["reason"]])  # fmt: skip
    lines.append(["sandbox", "✓ usable" if sandbox["usable"] else "× refused", sandbox["reason"]])
    for part in sandbox["protections"]:
        state = "✓ present" if part["present"] else "× absent"
        lines.append(
            [f"sandbox: {part['name']}", state, part["reason"] or f"stops {part['stops']}"]
        )
    for language in sandbox["languages"]:
        state = "✓ runs" if language["present"] else "× absent"
        lines.append([f"runs {language['name']}", state, language["reason"]])
    return Grid("Software", ["part", "state", "about"], lines)
