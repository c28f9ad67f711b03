from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from weightcut.errors import UsageError
from weightcut.records.results import Guard, Results
from weightcut.reports import charts

KEYS = [
    "pareto-latency",
    "pareto-memory",
    "pareto-size",
    "throughput",
    "retention-humaneval-codebleu",
    "retention-humaneval-pass-1",
    "pareto-energy",
    "cost-energy",
]


def _values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for rows in spec["datasets"].values() for row in rows]


def _many(results: Results, count: int) -> Results:
    variants = list(results.variants)
    for i in range(count - len(variants)):
        model = results.variants[1 + i % (len(results.variants) - 1)]
        factor = 1 + (i * 37 % 100) / 100
        assert model.profile is not None
        latency = model.profile.latency_ms.model_copy(
            update={"p50": (model.profile.latency_ms.p50 or 0) * factor}
        )
        profile = model.profile.model_copy(update={"latency_ms": latency})
        variants.append(model.model_copy(update={"name": f"{model.name}-{i}", "profile": profile}))
    return results.model_copy(update={"variants": variants})


def test_every_chart_is_there_and_says_what_it_shows(results: Results) -> None:
    found = charts.figures(results)
    assert [figure.key for figure in found] == KEYS
    for figure in found:
        assert figure.chart is not None
        assert figure.title
        assert figure.caption
        assert "variants" in figure.description


def test_axes_have_units_and_zooming_and_picking_work(results: Results) -> None:
    spec = charts.pareto(results, "latency").chart.to_dict()  # type: ignore[union-attr]
    marks = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    assert marks["encoding"]["x"]["title"].endswith("(ms)")
    assert {p["name"] for p in spec["params"]} == {"pick", "hover", "zoom"}
    titles = {t["title"] for t in marks["encoding"]["tooltip"]}
    assert {"variant", "verdict", "CodeBLEU", "pass@1", "peak memory", "size on disk"} <= titles


def test_verdicts_differ_by_colour_and_by_shape(results: Results) -> None:
    spec = charts.pareto(results, "size").chart.to_dict()  # type: ignore[union-attr]
    marks = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    for channel in ("color", "shape"):
        scale = marks["encoding"][channel]["scale"]
        assert scale["domain"] == ["baseline", "retained", "lost", "undecided"]
        assert len(set(scale["range"])) == 4


def test_the_frontier_joins_what_no_other_beats(results: Results) -> None:
    found = charts.points(results, "latency")
    best = charts.frontier(found)
    names = [point.variant.name for point in best]
    assert names == ["distilled-int8", "ov-int8"]
    for point in best:
        beaten_by = [
            p
            for p in found
            if not any(g.worse for g in p.variant.guards)
            and p.cost < point.cost
            and p.height >= point.height
        ]
        assert not beaten_by


def test_a_vetoed_variant_is_not_on_the_frontier(results: Results) -> None:
    found = charts.points(results, "latency")
    veto = [Guard(name="pass@1", p_value=0.0, p_holm=0.0, worse=True, says="")]
    vetoed = [
        p._replace(variant=p.variant.model_copy(update={"guards": veto}))
        if p.variant.name == "ov-int8"
        else p
        for p in found
    ]
    assert "ov-int8" not in [p.variant.name for p in charts.frontier(vetoed)]


def test_the_margin_is_drawn_for_the_primary_metric_alone(results: Results) -> None:
    def rules(metric: str) -> list[str]:
        chart = charts.retention(results, "humaneval", metric).chart
        assert chart is not None
        return [layer["mark"].get("style", "") for layer in chart.to_dict()["layer"]]

    assert "margin" in rules("codebleu")
    assert "margin" not in rules("pass@1")


def test_the_baseline_is_no_row_of_the_retentions(results: Results) -> None:
    chart = charts.retention(results, "humaneval", "codebleu").chart
    assert chart is not None
    names = {row.get("name") for row in _values(chart.to_dict())}
    assert results.baseline not in names


def test_two_hundred_variants_name_those_that_are_looked_for(results: Results) -> None:
    many = _many(results, 200)
    chart = charts.pareto(many, "latency").chart
    assert chart is not None
    rows = [row for row in _values(chart.to_dict()) if "shown" in row]
    shown = {row["name"] for row in rows if row["shown"]}
    assert len(rows) == 200
    assert {many.recommended, many.baseline} <= shown
    assert len(shown) < 20
    for figure in charts.figures(many):
        assert figure.chart is not None


def test_missing_figures_are_said(cut: Results) -> None:
    for figure in charts.figures(cut):
        assert (figure.chart is None) == bool(figure.missing)
        if figure.chart is not None:
            json.dumps(figure.chart.to_dict(), allow_nan=False)


def test_a_primary_that_falls_is_drawn_by_what_is_kept(results: Results) -> None:
    keep = {**results.keep, "metric": "perplexity", "task": "perplexity"}
    figure = charts.pareto(results.model_copy(update={"keep": keep}), "size")
    assert figure.title == "perplexity kept against size"


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<svg"), ("a.pdf", b"%PDF")]
)
def test_save(results: Results, tmp_path: Path, name: str, start: bytes) -> None:
    chart = charts.pareto(results, "latency").chart
    assert chart is not None
    path = charts.save(chart, tmp_path / name, dark=name.endswith("svg"))
    content = path.read_bytes()
    assert content.startswith(start)
    if name.endswith("svg"):
        assert b"ov-int8" in content
        assert charts.palettes()["dark"][1].encode() in content


def test_save_refuses_other_suffixes(results: Results, tmp_path: Path) -> None:
    chart = charts.pareto(results, "latency").chart
    assert chart is not None
    with pytest.raises(UsageError, match=r"\.gif"):
        charts.save(chart, tmp_path / "a.gif")


def test_importing_the_reports_is_cheap() -> None:
    code = (
        "import sys\n"
        "import weightcut.reports.html, weightcut.reports.markdown, weightcut.reports.csv\n"
        "import weightcut.reports.json, weightcut.reports.terminal, weightcut.reports.charts\n"
        "heavy = ('altair', 'torch', 'vl_convert', 'jinja2', 'rich')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
