"""Drafts of studies, filters, training curves, files, and starting the server."""

from __future__ import annotations

import csv
import io
import json
import math
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dashboard_runs import CURVE, HOSTILE, small_study, with_curve

from weightcut.analysis.results import build_results
from weightcut.dashboard import drafts, filters, form, launch, sheet, show, training
from weightcut.dashboard.drafts import Draft, Variant
from weightcut.errors import UsageError
from weightcut.records import Results
from weightcut.reports import view
from weightcut.study.spec import load_study


@pytest.fixture(scope="module")
def results() -> Results:
    return build_results(*small_study(samples=12, windows=2))


def test_a_built_in_study_survives_the_form(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(drafts.as_yaml(drafts.built_in("quickstart")))
    assert load_study(path) == load_study("quickstart")


def test_the_form_refuses_two_variants_of_one_name() -> None:
    twice = replace(Draft(), variants=(Variant("a", "openvino"), Variant("a", "openvino")))
    with pytest.raises(UsageError, match="two variants"):
        drafts.as_yaml(twice)


@settings(max_examples=40)
@given(st.text(max_size=40), st.text(max_size=40))
def test_what_is_typed_stays_text(study: str, recipe: str) -> None:
    draft = replace(Draft(), study=study, variants=(Variant("a", "openvino", recipe),))
    data = yaml.safe_load(drafts.as_yaml(draft))
    assert (data["study"], data["variants"]["a"]["recipe"]) == (study, recipe)


@pytest.mark.parametrize(
    ("study", "name"),
    [("study: mine", "mine"), ("study: 2026-01-45", "study"), ("study: [", "study"), ("", "study")],
)
def test_the_name_in_a_study_file_that_is_being_written(study: str, name: str) -> None:
    assert form.name_of(study) == name


def test_every_method_is_described() -> None:
    assert {"int8", "prune-depth"} <= {name for name, *_ in drafts.methods()}
    assert all(about for _, about, _ in drafts.methods())


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (filters.Choice(), 7),
        (filters.Choice(engines=["transformers"]), 2),
        (filters.Choice(methods=["int8"]), 3),
        (filters.Choice(methods=[filters.NO_METHOD]), 2),
        (filters.Choice(bits=["4"]), 2),
        (filters.Choice(bits=["16"], engines=["openvino"]), 1),
        (filters.Choice(verdicts=["baseline"]), 1),
    ],
)
def test_filters(results: Results, choice: filters.Choice, names: int) -> None:
    assert len(filters.apply(results, choice).variants) == names


def test_a_part_of_a_study_says_that_it_is_one(results: Results) -> None:
    shown = filters.apply(results, filters.Choice(engines=["openvino"]))
    assert shown.warnings == ["5 of 7 variants are shown (filtered)", *results.warnings]
    assert "The baseline full is not among the variants shown here." in view.gaps(shown)
    one = filters.apply(results, filters.Choice(tasks=["perplexity"]))
    assert one.warnings == ["1 of 2 tasks are shown (filtered)", *results.warnings]
    assert filters.apply(results, filters.Choice()) == results


def test_a_task_filter_keeps_the_variants_and_drops_the_other_tasks(results: Results) -> None:
    shown = filters.apply(results, filters.Choice(tasks=["perplexity"]))
    assert len(shown.variants) == 7
    assert {task for v in shown.variants for task in v.tasks} == {"perplexity"}


def test_bits_of_a_method_from_elsewhere_are_unknown(results: Results) -> None:
    odd = results.variants[2].model_copy(update={"recipe": [{"kind": "from-elsewhere"}]})
    assert filters.bits(odd) == "unknown"


def _points(record: dict[str, Any]) -> list[dict[str, float]]:
    cell = next(c for c in small_study(samples=1, windows=1).cells
                if c.key.variant == "distilled-int8" and c.key.stage == "build")  # fmt: skip
    artifact = {**cell.manifest["artifact"], "details": {"distill": record}}
    changed = cell.model_copy(update={"manifest": {"artifact": artifact}})
    return [dict(p) for one in training._of_cell(changed) for p in one.points]


def test_a_curve_keeps_what_is_known_of_every_step() -> None:
    points = _points({"curve": CURVE})
    assert [point["step"] for point in points] == list(range(1, 13))
    assert [point["step"] for point in points if "held_out_loss" in point] == [4, 8, 12]


def test_an_older_record_of_a_training_is_read() -> None:
    record = {
        "loss_curve": [3.0, 2.0, math.nan],
        "validation": [{"step": 2, "eval_loss": 2.5}],
        "validation_before": {"loss": 4.0},
    }
    assert _points(record) == [
        {"step": 0, "held_out_loss": 4.0},
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0, "held_out_loss": 2.5},
    ]


JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["curve", "step", "loss", "loss_curve", "validation"]), inner, max_size=3
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=40)
@given(JUNK)
def test_no_record_of_a_training_breaks_the_page(junk: Any) -> None:
    for record in ({"curve": junk}, {"loss_curve": junk, "validation": junk}):
        assert all(math.isfinite(v) for point in _points(record) for v in point.values())


def test_trainable_weights_are_read() -> None:
    cells = [with_curve(cell) for cell in small_study(samples=1, windows=1).cells]
    found = [one for cell in cells for one in training._of_cell(cell)]
    assert [(one.trainable, one.name) for one in found] == [(900_000, "distilled-int8: distill")]


def _sheet() -> sheet.Sheet:
    grid = sheet.Grid("Figures", ["name", "value"], [["=1+1", math.nan], [HOSTILE, 0.5]])
    return sheet.Sheet(HOSTILE, [HOSTILE], [grid], [("Answer", HOSTILE + "\n\t\tsecond line")])


def test_a_sheet_as_csv_holds_no_formula() -> None:
    lines = list(csv.reader(io.StringIO(_sheet().csv().decode())))
    assert lines[:2] == [["name", "value"], ["'=1+1", ""]]


def test_a_sheet_as_json_is_strict_json() -> None:
    data = json.loads(_sheet().json(), parse_constant=lambda name: pytest.fail(name))
    assert data["tables"][0]["rows"][0] == {"name": "=1+1", "value": None}


def test_half_a_letter_of_an_answer_spoils_no_file() -> None:
    half = "half \ud83d of it"
    made = sheet.Sheet(half, [half], [sheet.Grid("x", [half], [[half]])], [("Answer", half)])
    for label, _, _, content in made.files("x"):
        assert content(), label
    assert json.loads(made.json())["texts"]["Answer"] == "half ? of it"


def test_a_sheet_as_html_takes_nothing_as_markup() -> None:
    page = _sheet().html().decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert "\n        second line</pre>" in page


def test_names_in_a_list_are_told_apart() -> None:
    names = ["one", "one!", "one (2)", "other"]
    labels = show.labels(names, lambda name: name.rstrip("!"))
    assert labels == dict(zip(names, ["one", "one (2)", "one (2) (2)", "other"], strict=True))


def test_a_sheet_is_made_when_a_file_is_asked_for() -> None:
    made: list[sheet.Sheet] = []

    def make() -> sheet.Sheet:
        made.append(_sheet())
        return made[-1]

    files = sheet.files("all", make)
    assert not made
    assert [content() for label, _, _, content in files if label == "CSV"] == [_sheet().csv()]


def test_a_sheet_as_pdf() -> None:
    assert _sheet().pdf().startswith(b"%PDF-")


@pytest.mark.parametrize("parts", [("a/b", "../x"), ("", "\u05d0"), (HOSTILE,)])
def test_file_names_are_tame(parts: tuple[str, ...]) -> None:
    name = sheet.stem(*parts)
    assert name
    assert name[0] not in ".-"
    assert all(c.isascii() and (c.isalnum() or c in ".-") for c in name)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.3", "example.com", ""])
def test_addresses_beyond_loopback_are_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="loopback"):
        launch.serve(tmp_path, host, 8501)


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UsageError, match="is taken"):
            launch.serve(tmp_path, "127.0.0.1", other.getsockname()[1])


def test_the_server_is_told_to_send_nothing_and_to_trust_no_other_host() -> None:
    options = launch._options("127.0.0.1", 8501)
    assert "--browser.gatherUsageStats=false" in options
    assert "--server.enableXsrfProtection=true" in options
    hosts = {o.partition("=")[2] for o in options if o.startswith("--server.allowedHosts")}
    assert hosts == {"localhost", "127.0.0.1"}
