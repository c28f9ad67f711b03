"""The house's rules: who may import whom, and what must be cheap to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import weightcut

ROOT = Path(weightcut.__file__).parent
SHARED = {"errors", "registry", "settings", "files"}
MAY_IMPORT: dict[str, set[str]] = {
    "records": set(),
    "hardware": {"records"},
    "models": {"records"},
    "data": {"records", "models"},
    "compression": {"records", "models"},
    "engines": {"records", "models"},
    "sandbox": {"records"},
    "metrics": {"records", "sandbox"},
    "tasks": {"records", "metrics", "data"},
    "profiling": {"records"},
    "store": {"records"},
    "analysis": {"records", "store"},
    "reports": {"records", "analysis"},
    "studies": set(),
    "study": {
        "records", "hardware", "models", "data", "compression", "engines", "sandbox", "metrics",
        "tasks", "profiling", "store", "analysis", "reports",
    },
    "routing": {"records", "models", "store", "analysis", "engines", "sandbox"},
    "dashboard": {"records", "models", "store", "analysis", "reports", "study", "routing"},
    "api": {"records", "models", "compression", "study", "store", "analysis", "hardware"},
}  # fmt: skip
HEAVY = (
    "torch",
    "transformers",
    "openvino",
    "openvino_genai",
    "nncf",
    "altair",
    "bitsandbytes",
    "sklearn",
    "streamlit",
)
LIGHT_FOLDERS = ("records", "store", "analysis", "reports", "cli")


def _part(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def _project_imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "weightcut" and len(name.split(".")) > 1:
                found.add(name.split(".")[1])
    return found


def _modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    part = _part(path)
    doors = ("cli", "__main__")
    if part in SHARED or part in (*doors, "__init__"):
        forbidden = _project_imports(path) & ({"cli"} if part not in doors else set())
    else:
        forbidden = _project_imports(path) - MAY_IMPORT[part] - SHARED - {part}
    assert not forbidden, f"{part} may not import {sorted(forbidden)}"


def test_every_folder_has_a_rule() -> None:
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= {*MAY_IMPORT, "cli"}


def _modules_of(folders: tuple[str, ...]) -> list[str]:
    paths = [p for folder in folders for p in (ROOT / folder).rglob("*.py")]
    return [
        ".".join(("weightcut", *p.relative_to(ROOT).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for p in sorted(paths)
    ]


def test_light_folders_import_without_torch() -> None:
    code = (
        "import sys\n"
        f"for name in {HEAVY!r}: sys.modules[name] = None\n"
        f"import importlib\n"
        f"for name in {_modules_of(LIGHT_FOLDERS)!r}: importlib.import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_imports_a_heavy_library() -> None:
    every = _modules_of(tuple(p.name for p in ROOT.iterdir() if p.is_dir()))
    code = (
        "import importlib, sys\n"
        f"for name in {every!r}:\n"
        "    importlib.import_module(name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
