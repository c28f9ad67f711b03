"""The README says what is there, and its figures are those of the committed run."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from weightcut.reports.json import read

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()


def test_the_figures_are_those_of_the_committed_run() -> None:
    spec = importlib.util.spec_from_file_location("publish", ROOT / "benchmarks" / "publish.py")
    assert spec is not None
    assert spec.loader is not None
    publish = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(publish)
    section = publish.section(read(ROOT / "docs" / "quickstart" / "results.json"))
    shown = publish.MARKS.search(README)
    assert shown is not None
    assert shown[0] == f"{shown[1]}{section}{shown[2]}", "run: python benchmarks/publish.py RUN"


def test_the_list_of_files_is_true() -> None:
    rows = re.findall(r"^\| `([\w./]+)` \|", README.split("## Files")[1], re.MULTILINE)
    assert rows
    for row in rows:
        assert (ROOT / row).exists(), row
    for folder in (ROOT / "src" / "weightcut").iterdir():
        if (folder / "__init__.py").exists() and folder.name != "studies":
            assert f"src/weightcut/{folder.name}/" in rows, folder.name


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
