"""The workflow, the make targets, the audit and shell completion do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]


def workflow() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    return data


def test_the_workflow_calls_ci_run_and_nothing_else() -> None:
    (job,) = workflow()["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_workflow_has_least_rights_and_pinned_actions() -> None:
    data = workflow()
    assert data["permissions"] == {"contents": "read"}
    (job,) = data["jobs"].values()
    assert "permissions" not in job
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("target", ["docs", "sbom", "audit", "install", "quickstart"])
def test_make_knows_the_target(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_list_of_packages_is_that_of_the_images() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "sbom"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in ("Dockerfile", "Dockerfile.gpu"):
        extras = re.search(r"\.\[[a-z,]+\]", (ROOT / name).read_text())
        assert extras
        assert extras.group() in done.stdout
    assert ".venv" not in done.stdout


def test_tools_of_the_audit_are_pinned() -> None:
    for line in (ROOT / "tools/requirements-audit.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z-]+==[\d.]+", line), line


def audit(answers: list[dict[str, Any] | str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run tools/audit.py with a pip-audit that gives these answers, one after the other."""
    for index, answer in enumerate(answers):
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (folder / f"{index}.txt").write_text(text)
    fake = folder / "pip-audit"
    fake.write_text(
        f"#!{sys.executable}\n"
        "import pathlib\n"
        f"count = pathlib.Path({str(folder / 'count')!r})\n"
        "turn = int(count.read_text()) if count.exists() else 0\n"
        "count.write_text(str(turn + 1))\n"
        f"print(pathlib.Path({str(folder)!r}, f'{{turn}}.txt').read_text())\n"
    )
    fake.chmod(0o755)
    command = [sys.executable, "tools/audit.py", str(fake), "constraints.txt"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


GOOD = {"name": "pip", "version": "24.0", "vulns": []}
UNSEEN = {"name": "pip", "skip_reason": "Dependency not found"}
FLAW = {"id": "CVE-1", "fix_versions": ["2.0"]}
FLAWED = {"name": "bad", "version": "1.0", "vulns": [FLAW]}


@pytest.mark.parametrize(
    ("answers", "code", "says"),
    [
        ([[UNSEEN]], 2, "cannot be reached from here (Dependency not found)"),
        (["no route to host"], 2, "cannot be reached from here"),
        ([[GOOD], [GOOD, GOOD]], 0, "2 packages audited, 0 with known flaws"),
        ([[GOOD], [GOOD, FLAWED]], 1, "bad 1.0: CVE-1, mended in 2.0"),
        ([[GOOD], [GOOD, UNSEEN]], 2, "pip: not audited"),
        ([[GOOD], "broken"], 2, "NOT AUDITED"),
    ],
)
def test_the_audit_never_calls_unseen_packages_sound(
    answers: list[Any], code: int, says: str, tmp_path: Path
) -> None:
    whole = [a if isinstance(a, str) else {"dependencies": a} for a in answers]
    done = audit(whole, tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stdout + done.stderr


def complete(**variables: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "weightcut")],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ) | variables,
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_gets_a_script(shell: str) -> None:
    script = complete(_WEIGHTCUT_COMPLETE=f"source_{shell}")
    assert f"complete_{shell}" in script
    assert "weightcut" in script


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("weightcut ro", ["router"]),
        ("weightcut router fi", ["fit"]),
        ("weightcut run --ou", ["--out"]),
    ],
)
def test_words_are_completed(words: str, wanted: list[str]) -> None:
    count = str(len(words.split()) - 1)
    made = complete(_WEIGHTCUT_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
    assert made.split() == wanted
