"""The site builds without a warning, holds every page, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.studies import example_study

from weightcut.analysis.results import build_results
from weightcut.records import results as records

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


def in_nav(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else (entry,):
            if isinstance(value, list):
                yield from in_nav(value)
            else:
                yield value


def test_the_menu_has_every_page() -> None:
    listed = list(in_nav(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    assert len(listed) == len(set(listed))
    assert set(listed) == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="zensical is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("docs")
    config = (ROOT / "zensical.toml").read_text()
    (folder / "zensical.toml").write_text(config)
    shutil.copytree(DOCS, folder / "docs")
    build = (sys.executable, "-m", "zensical", "build", "--strict", "--clean")
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_links_and_anchors_are_checked(site: Path) -> None:
    broken = site.parent / "broken"
    (broken / "docs").mkdir(parents=True)
    (broken / "docs" / "index.md").write_text("# Title\n\n[a](nowhere.md) [b](#nothing)\n")
    (broken / "zensical.toml").write_text('[project]\nsite_name = "broken"\n')
    build = (sys.executable, "-m", "zensical", "build", "--strict", "--clean")
    done = subprocess.run(build, cwd=broken, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "page does not exist" in done.stdout + done.stderr
    assert "anchor does not exist" in done.stdout + done.stderr


class Loaded(HTMLParser):
    """Collects what a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(values.get("href") or "")
        if tag in ("script", "img", "iframe", "source", "video", "embed", "object"):
            self.found.append(values.get("src") or values.get("data") or "")


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md")))
    for page in pages:
        text = page.read_text()
        loaded = Loaded()
        loaded.feed(text)
        away = [link for link in loaded.found if re.match(r"(https?:)?//", link)]
        assert not away, f"{page.name}: {away}"
        # What the theme's script would fetch from elsewhere if a page asked for it.
        assert not re.search(r'class="[^"]*\b(mermaid|glightbox|pyodide)\b', text), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text()), sheet


def test_every_number_has_its_definition() -> None:
    text = (DOCS / "definitions.md").read_text()
    study = example_study(samples=12, windows=3)
    results = build_results(*study)
    keys = {
        figure
        for variant in results.variants
        for figures in variant.tasks.values()
        for figure in figures
    }
    for part in (records.Profile, records.LoadLevel, records.BatchCost, records.AgainstBaseline):
        keys |= {field.alias or name for name, field in part.model_fields.items()}
    for key in sorted(keys - WORDS):
        assert f"`{key}`" in text, key


WORDS = {
    *("n", "answers", "prompts", "new_tokens", "low", "high", "intervals"),
    *("load", "kind", "rate", "clients", "requests"),
}
"""Keys that are counts and settings, which results.md says."""


def test_the_tables_of_the_store_are_documented() -> None:
    from weightcut.store import run_store

    text = (DOCS / "run-folder.md").read_text()
    for table in run_store._tables.tables.values():
        assert f"`{table.name}`" in text
        for column in table.columns:
            assert f"`{column.name}`" in text, f"{table.name}.{column.name}"
