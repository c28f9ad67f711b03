from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.studies import example_study

from weightcut.analysis.results import build_results
from weightcut.engines.scripted import ScriptedSession
from weightcut.models.scripted import ScriptedModel
from weightcut.profiling.load import under_load
from weightcut.records import CellKey, LoadSpec, Prices, Request
from weightcut.records.results import Results, VariantResult
from weightcut.reports import charts, pictures, view
from weightcut.reports.csv import write as write_csv
from weightcut.reports.html import page
from weightcut.reports.markdown import write as write_markdown
from weightcut.reports.tables import Table

PRICES = Prices(currency="EUR", machine_per_hour=0.35, grid_g_per_kwh=380)


@pytest.fixture(scope="module")
def loaded() -> Results:
    """The example study with prices and with every variant under load."""
    study = example_study(windows=4)
    load = LoadSpec(rates=(1, 8), clients=(4,), requests=20)
    requests = [
        Request(id=str(i), prompt="x", prompt_ids=(1,), max_new_tokens=32, ignore_stop=True)
        for i in range(4)
    ]
    for number, variant in enumerate(study.spec.variants, start=1):
        session = ScriptedSession(ScriptedModel(tpot_s=0.02 / number))
        key = CellKey(variant=variant.name, stage="profile")
        study.observations[key].extend(under_load(session, requests, load, 0))
    profile = study.spec.profile
    assert profile is not None
    spec = study.spec.model_copy(update={"profile": profile.model_copy(update={"load": load})})
    return build_results(spec, *study[1:], PRICES)


def _table(results: Results, key: str) -> Table | None:
    return next((t for t in view.page(results).tables if t.key == key), None)


def test_costs_of_accepted_answers_by_batch_size(loaded: Results) -> None:
    table = _table(loaded, "cost-accepted")
    assert table is not None
    labels = [column.label for column in table.columns]
    for count in (1, 8, 32):
        assert f"energy, {count} at once (J)" in labels
        assert f"1,000 answers, {count} at once (EUR)" in labels
    broken = next(row for row in table.rows if row[0].text == "ov-int4")
    assert broken[2].text.startswith("over ")


def test_an_estimate_is_labelled_as_one(loaded: Results) -> None:
    table = _table(loaded, "cost")
    assert table is not None
    assert "an estimate, CPU seconds times 10 W" in table.caption
    assert any("no measurement" in limit for limit in view.page(loaded).limits)
    figure = charts.cost(loaded, "energy")
    assert "not a measurement" in figure.caption


def test_axes_say_that_energy_is_an_estimate(loaded: Results) -> None:
    axes = charts.axes(loaded)
    assert axes["energy"].title == "energy of an answer, 32 at once (J, estimate)"
    for figure in (
        charts.pareto(loaded, "energy"),
        charts.tradeoff(loaded, axes["energy"], axes["size"]),
        charts.cost(loaded, "energy"),
    ):
        assert figure.chart is not None
        assert "J, estimate" in json.dumps(figure.chart.to_dict())


def test_idle_watts_are_told_where_there_are_any(loaded: Results) -> None:
    idle = loaded.model_copy(update={"prices": {**loaded.prices, "idle_watts": 20.0}})
    words = "10 W for a busy core plus seconds times 20 W for the machine besides."
    table = _table(idle, "cost")
    assert table is not None
    assert words in table.caption
    assert any(words in limit for limit in view.page(idle).limits)
    assert not any("besides" in limit for limit in view.page(loaded).limits)


def _without_the_most(results: Results, name: str) -> Results:
    """Return the results without one variant's round of the most sequences at once."""

    def cut(variant: VariantResult) -> VariantResult:
        if variant.name != name:
            return variant
        assert variant.cost
        assert variant.profile
        at = {n: batch for n, batch in variant.cost.at.items() if n != "32"}
        rates = {n: rate for n, rate in variant.profile.tokens_per_s.items() if n != "32"}
        return variant.model_copy(
            update={
                "cost": variant.cost.model_copy(update={"at": at}),
                "profile": variant.profile.model_copy(update={"tokens_per_s": rates}),
            }
        )

    return results.model_copy(update={"variants": [cut(v) for v in results.variants]})


def test_one_number_of_sequences_at_once_holds_for_all_variants(loaded: Results) -> None:
    fewer = _without_the_most(loaded, "ov-int8")
    axes = charts.axes(fewer)
    for key in ("throughput", "energy", "money"):
        assert ", 32 at once (" in axes[key].title
        known = {v.name for v in fewer.variants if axes[key].read(v)}
        assert known == {v.name for v in fewer.variants} - {"ov-int8"}
    for axis in charts.COST_AXES:
        figure = charts.pareto(fewer, axis)
        assert figure.title == f"CodeBLEU against {axis}, 32 at once"
        assert "1 of 7 variants are missing" in figure.caption


def test_without_prices_the_report_says_how_to_get_them(results: Results) -> None:
    table = _table(results, "cost")
    assert table is not None
    assert "no price file" in table.caption
    assert not any("EUR" in column.label for column in table.columns)
    assert charts.cost(results, "money").chart is None
    assert "price file" in charts.cost(results, "money").missing


def test_load_tables_and_chart(loaded: Results, results: Results) -> None:
    summary, levels = _table(loaded, "load"), _table(loaded, "load-levels")
    assert summary is not None
    assert levels is not None
    assert len(levels.rows) == 3 * len(loaded.variants)
    assert "Goodput counts answers in time: first token within 2.00 s" in summary.caption
    assert "wait until the batch" in summary.caption
    assert charts.under_load(loaded).chart is not None
    assert charts.under_load(results).chart is None
    assert _table(results, "load") is None


@pytest.mark.parametrize("axis", charts.COST_AXES)
def test_quality_against_cost(loaded: Results, axis: charts.Axis) -> None:
    assert len(charts.points(loaded, axis)) == len(loaded.variants)
    assert charts.pareto(loaded, axis).chart is not None


def test_every_format_shows_it(loaded: Results, tmp_path: Path) -> None:
    text = write_markdown(loaded, tmp_path).read_text()
    html = page(loaded.model_copy(update={"variants": loaded.variants[:1]}))
    for heading in ("Cost of an answer", "Cost of an accepted answer", "Under load", "limits"):
        assert heading.lower() in text.lower()
        assert heading in html
    with write_csv(loaded, tmp_path).open(newline="") as stream:
        row = next(csv.DictReader(stream))
    cost = loaded.variants[0].cost
    assert cost is not None
    assert float(row["joules_per_answer.32"]) == cost.at["32"].joules_per_answer
    assert row["energy.32"] == "estimate"
    assert row["currency"] == "EUR"
    assert float(row["hours.build.cpu"]) > 0


def test_pictures(loaded: Results, tmp_path: Path) -> None:
    few = loaded.model_copy(update={"variants": loaded.variants[:1]})
    folder = pictures.write_svg(few, tmp_path)
    names = {path.stem for path in folder.iterdir()}
    assert {"pareto-latency", "throughput", "cost-energy", "cost-money", "load"} <= names
    assert all(path.read_text().startswith("<svg") for path in folder.iterdir())


def test_odd_task_names_stay_in_the_folder(results: Results, tmp_path: Path) -> None:
    variants = [
        v.model_copy(update={"tasks": {"../../x": v.tasks["humaneval"]}, "against_baseline": None})
        for v in results.variants[:1]
    ]
    keep: dict[str, Any] = {**results.keep, "task": "../../x"}
    pictures.write_svg(results.model_copy(update={"variants": variants, "keep": keep}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["charts"]
