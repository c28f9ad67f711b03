"""The page Train: losses, speed and memory of the steps that train (LoRA, distillation)."""

from __future__ import annotations

from pathlib import Path

from weightcut.dashboard import runs, sheet, training
from weightcut.dashboard import show as page
from weightcut.dashboard.training import Training
from weightcut.reports import charts, text
from weightcut.reports.charts.training import READINGS

HEADINGS = (
    "training", "steps", "loss, last", "held-out loss, first", "held-out loss, last", "tokens/s",
    "time", "peak memory", "weights trained",
)  # fmt: skip


def show(run: Path | None, place: Path) -> None:  # noqa: ARG001
    """Show the page."""
    import streamlit as st

    page.heading("Train", "How the steps that train went: LoRA, distillation.")
    if run is None:
        page.say("There is no run yet.", "quiet")
        return
    if not runs.has_database(run):
        page.say("The run's database is not here: there are only its results.", "quiet")
        return
    found = training.trainings(run)
    if not found:
        page.say("No variant of this run was trained, or none is built yet.", "quiet")
        return
    names = [one.name for one in found]
    picked = st.multiselect(
        "Trainings", names, key=f"trainings-{run.name}", placeholder="all", format_func=text.plain
    )
    shown = [one for one in found if not picked or one.name in picked]
    curves = {one.name: one.points for one in shown}
    made = [charts.training(curves, reading) for reading in READINGS]
    drawn = [of for of, one in zip(READINGS, made, strict=True) if one.chart is not None]
    columns = st.columns(2 if len(drawn) > 1 else 1)
    for number, reading in enumerate(drawn):
        with columns[number % 2]:
            page.figure(
                f"{'half' if len(drawn) > 1 else 'whole'}-{reading}",
                lambda width, of=reading: charts.training(curves, of, width),  # type: ignore[misc]
                source=(found, tuple(picked)),
            )
    missing = [one.title.lower() for one in made if one.missing]
    if missing:
        page.say(f"Not recorded step by step: {', '.join(missing)}.", "quiet")
    page.section("Figures")
    lines = [row(one) for one in shown]
    page.rows(HEADINGS, lines, right=range(1, len(HEADINGS)))
    points = sheet.Grid(
        "Curves",
        ["training", "step", *training.READINGS],
        [
            [one.name, point["step"], *(point.get(name) for name in training.READINGS)]
            for one in shown
            for point in one.points
        ],
    )
    document = sheet.Sheet(
        f"Training: {run.name}", grids=[sheet.Grid("Trainings", HEADINGS, lines), points],
        figures=made,
    )  # fmt: skip
    page.section("Export what is shown")
    sheet.exports(document.files(sheet.stem(run.name, "training")), "train")


def row(one: Training) -> list[str]:
    """Return a training's line of figures."""
    held_out = [p["held_out_loss"] for p in one.points if "held_out_loss" in p]
    speeds = [p["tokens_per_s"] for p in one.points if "tokens_per_s" in p]
    speed = sum(speeds) / len(speeds) if speeds else one.facts.get("tokens_per_second")
    seconds = one.last("seconds") or one.facts.get("seconds")
    memory = one.peak("peak_rss_bytes") or one.facts.get("peak_rss_bytes")
    weights = f"{one.trainable / 1e6:,.2f} M" if one.trainable else text.MISSING
    if one.trainable and one.total:
        weights += f" ({text.share(one.trainable / one.total)})"
    return [
        text.plain(one.name),
        f"{max((p['step'] for p in one.points), default=0):,.0f}",
        text.score(one.last("loss")),
        text.score(held_out[0] if held_out else None),
        text.score(held_out[-1] if held_out else None),
        text.number(speed),
        text.hours(seconds / 3600) if seconds else text.MISSING,
        text.size(memory),
        weights,
    ]
