"""Every page on every kind of run, without a browser."""

from __future__ import annotations

import fcntl
import html
import math
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.dashboard_pages import opened, said
from tests.dashboard_runs import hostile_study, many_variants, small_study, with_curve, write_run

from weightcut.dashboard import runs
from weightcut.dashboard.pages import PAGES
from weightcut.dashboard.runs import STUDY
from weightcut.records import Cell
from weightcut.reports import json as json_report
from weightcut.reports import view
from weightcut.store.run_store import FILE

pytest.importorskip("streamlit", reason="the extra `dashboard` is not installed")
QUICK = [name for name, *_ in PAGES if name != "hardware"]  # that one starts a process


def _text(name: str, run: Path | None, place: Path) -> str:
    return said(opened(name, run, place))


def _none(_folder: Path) -> None:
    return None


def _new(folder: Path) -> None:
    folder.mkdir()
    (folder / STUDY).write_text("study: x")


def _finished(folder: Path) -> None:
    write_run(folder, small_study(samples=12), with_curve)


def _failed(folder: Path) -> None:
    def change(cell: Cell) -> Cell:
        if cell.key.variant != "nf4":
            return cell
        return cell.model_copy(update={"state": "failed", "error": "out of <b>memory</b>"})

    write_run(folder, small_study(samples=12), change)


def _stopped(folder: Path) -> None:
    study = small_study(samples=12)
    empty = {key: rows for key, rows in study.observations.items() if key.variant == "full"}

    def change(cell: Cell) -> Cell:
        if cell.key.variant == "full":
            return cell
        return cell.model_copy(update={"state": "pending", "manifest": {}, "seconds": 0})

    write_run(folder, study._replace(observations=empty), change)


def _empty(folder: Path) -> None:
    study = small_study()
    write_run(folder, study._replace(cells=[], observations={}))


def _newer(folder: Path) -> None:
    _finished(folder)
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute("update meta set value = '99' where key = 'schema'")
    connection.close()


def _half_written(folder: Path) -> None:
    _finished(folder)
    data = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(data[: len(data) // 2])


def _results_only(folder: Path) -> None:
    from weightcut.analysis.results import build_results

    folder.mkdir()
    json_report.write(build_results(*small_study()), folder)


def _one_variant(folder: Path) -> None:
    from tests.studies import QUICKSTART

    write_run(folder, small_study(characters=QUICKSTART[:1]))


def _not_numbers(folder: Path) -> None:
    study = small_study(samples=12)
    broken = {
        key: [
            one.model_copy(update={"values": dict.fromkeys(one.values, math.nan)})
            if key.variant == "ov-int8"
            else one
            for one in rows
        ]
        for key, rows in study.observations.items()
    }
    write_run(folder, study._replace(observations=broken))


def _hostile(folder: Path) -> None:
    write_run(folder, hostile_study(), with_curve)


def _many(folder: Path) -> None:
    from weightcut.analysis.results import build_results

    folder.mkdir()
    json_report.write(many_variants(build_results(*small_study(samples=12)), 200), folder)


KINDS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "none": (_none, "overview", "No run yet"),
    "new": (_new, "overview", "measured nothing yet"),
    "finished": (_finished, "overview", "which version to deploy"),
    "failed": (_failed, "overview", "out of &lt;b&gt;memory&lt;/b&gt;"),
    "stopped": (_stopped, "run", "stopped, 4 of 28 cells done"),
    "empty": (_empty, "overview", "No task has been measured"),
    "newer": (_newer, "overview", "schema 99"),
    "half-written": (_half_written, "overview", "cannot be read"),
    "results-only": (_results_only, "samples", "database is not here"),
    "one-variant": (_one_variant, "compare", "only one variant"),
    "not-numbers": (_not_numbers, "overview", "not usable numbers"),
    "hostile": (_hostile, "samples", "&lt;img src=x onerror=hacked&gt;"),
    "many": (_many, "overview", "variant-198"),
}


@pytest.fixture(scope="module", params=list(KINDS))
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("runs") / "run"
    KINDS[request.param][0](folder)
    return request.param, folder


@pytest.mark.parametrize("name", QUICK)
def test_every_page_shows_every_kind_of_run(kind: tuple[str, Path], name: str) -> None:
    which, folder = kind
    run = folder if folder.exists() else None
    shown = _text(name, run, folder.parent)
    assert "wc-h1" in shown or "wc-notice" in shown
    assert "<script>window" not in shown
    assert "<img src=x" not in shown
    _, page, expected = KINDS[which]
    if page == name:
        assert expected in shown


def test_a_run_at_work_is_shown_with_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _stopped(folder)
    with (folder / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "running, 4 of 28 cells done" in _text("run", folder, tmp_path)
        assert "at work" in _text("overview", folder, tmp_path)


def test_pages_of_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = SimpleNamespace(access=lambda *_: False, W_OK=os.W_OK)  # root may write anywhere
    folder = tmp_path / "run"
    _finished(folder)
    monkeypatch.setattr("weightcut.store.run_store.os", closed)
    before = {path.name for path in folder.iterdir()}
    assert "which version to deploy" in _text("overview", folder, tmp_path)
    assert {path.name for path in folder.iterdir()} == before


def test_every_table_of_the_reports_is_on_the_overview(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _finished(folder)
    found = view.page(runs.results(folder)).tables
    assert {"cost", "cost-accepted", "hours", "recipes"} <= {table.key for table in found}
    shown = _text("overview", folder, tmp_path)
    assert not [table.title for table in found if html.escape(table.title) not in shown]


def test_costs_are_compared_with_what_they_mean(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _finished(folder)
    shown = _text("compare", folder, tmp_path)
    assert "machine time (Cost of an answer)" in shown
    assert "Cost of an answer: Where 32 answers are produced at once." in shown
