from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from weightcut.records.results import Results
from weightcut.reports import charts, html, view
from weightcut.reports.html import page, write

from .conftest import CUTS, HOSTILE

LOADS = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}


class Reader(HTMLParser):
    """What a page is made of: its tags, its text, its scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._inside = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._inside != "style":
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def source(results: Results) -> str:
    return page(results)


@pytest.fixture(scope="module")
def hostile_page(hostile: Results) -> str:
    return page(hostile)


def _policy(reader: Reader) -> str:
    return next(
        m["content"] or ""
        for m in reader.of("meta")
        if m.get("http-equiv") == "Content-Security-Policy"
    )


def test_nothing_is_loaded_from_anywhere(source: str) -> None:
    reader = Reader(source)
    for tag, attrs in reader.tags:
        for name in LOADS & set(attrs):
            assert (attrs[name] or "").startswith(("data:image/", "#")), f"{tag} {name}"
    assert not reader.of("link")
    assert not reader.of("iframe")
    styles = "".join(re.findall(r"<style>(.*?)</style>", source, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles
    assert "cdn" not in source.lower().split("<script>")[0]


def test_the_policy_forbids_requests_and_foreign_scripts(source: str) -> None:
    reader = Reader(source)
    policy = _policy(reader)
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    code = [text for attrs, text in reader.scripts if attrs.get("type") != "application/json"]
    assert len(code) == 2
    for text in code:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_size(source: str) -> None:
    assert len(source.encode()) < 3_000_000


def test_content_top_down(source: str, results: Results) -> None:
    text = Reader(source).text
    places = [
        text.index(part)
        for part in (
            results.recommendation,
            "Overview",
            "CodeBLEU against latency",
            "Verdicts and reasons",
            "Quality: humaneval",
            "Speed, memory and size",
            "Recipes",
            "Guards",
            "Conditions",
            "Machine",
            "Reproduce",
        )
    ]
    assert places == sorted(places)
    assert "the weights already lie on a 4-bit grid" in text
    assert all(warning in text for warning in results.warnings)
    for variant in results.variants:
        assert all(reason in text for reason in variant.verdict_reasons)
        assert all(guard.says in text for guard in variant.guards)


def test_accessible(source: str, results: Results) -> None:
    reader = Reader(source)
    assert [attrs["lang"] for attrs in reader.of("html")] == ["en"]
    assert all(attrs.get("alt") for attrs in reader.of("img"))
    assert len(reader.of("img")) == len(charts.figures(results))
    assert {attrs.get("scope") for attrs in reader.of("th")} == {"col", "row"}
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labels = {attrs["aria-labelledby"] for _, attrs in reader.tags if "aria-labelledby" in attrs}
    assert labels <= set(ids)
    assert any("viewport" in attrs.values() for attrs in reader.of("meta"))
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source


def test_hostile_names_stay_text(hostile_page: str) -> None:
    reader = Reader(hostile_page)
    assert len(reader.scripts) == 3
    assert all((attrs.get("src") or "").startswith("data:") for attrs in reader.of("img"))
    assert not any(name.startswith("on") for _, attrs in reader.tags for name in attrs)
    assert HOSTILE[0] in reader.text
    assert HOSTILE[1] in reader.text
    assert "\x1b" not in hostile_page
    assert "{{ 7*7 }}" in reader.text
    data = json.loads(next(t for a, t in reader.scripts if a.get("type") == "application/json"))
    assert HOSTILE[0] in data["facts"]


def test_names_of_any_direction_are_kept_apart(hostile_page: str) -> None:
    assert f"<bdi>{HOSTILE[5]}</bdi>" in hostile_page
    assert HOSTILE[4] in hostile_page


@pytest.mark.parametrize("name", ["nothing measured", "only the baseline", "no context"])
def test_missing_data_still_make_a_page(results: Results, name: str) -> None:
    cut = results.model_copy(update=CUTS[name](results))
    reader = Reader(page(cut))
    assert "Overview" in reader.text
    assert "Reproduce" in reader.text
    assert "None" not in reader.text
    for gap in view.gaps(cut):
        assert gap in reader.text


def test_without_charts_the_page_carries_no_chart_code(results: Results) -> None:
    empty = page(results.model_copy(update={"variants": [], "recommended": None}))
    assert len(empty) < 60_000
    assert "Not drawn" in empty


def test_write(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "page", lambda _: "<p>ü</p>")
    assert write(results, tmp_path / "run").read_text("utf-8") == "<p>ü</p>"
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["report.html"]
