"""The wheel, installed where there is no source tree: nothing that the package reads is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOT_SHIPPED = {".py", ".pyc", ".c", ".h", ".so"}
FORMATS = ("md", "html", "pdf", "csv", "json", "png", "svg")


def _pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what it is built from."""
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
    shutil.copytree(ROOT / "src", tree / "src", ignore=ignored)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, tree)
    (made,) = folder.glob("*.whl")
    return made


def test_every_file_that_the_package_reads_is_in_it(wheel: Path) -> None:
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "weightcut").rglob("*")
        if path.is_file() and path.suffix not in NOT_SHIPPED and "__pycache__" not in path.parts
    }
    wanted |= {str(p.relative_to(source)) for p in (source / "weightcut").rglob("*.py")}
    held = set(zipfile.ZipFile(wheel).namelist())
    assert not wanted - held
    strays = {
        n for n in held - wanted if ".dist-info/" not in n and not n.endswith((".so", ".c", ".h"))
    }
    assert not strays


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; the packages it needs are borrowed from this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    made = folder / "bin" / "python"
    _pip("--python", made, "install", "--no-deps", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A plain line: .pth files that lie there (an editable weightcut among them) are not read.
    (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return made


def _run(
    python: Path, cwd: Path, *words: str, inside: tuple[str, ...] = (), **variables: str
) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [*inside, str(python.parent / "weightcut"), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"WEIGHTCUT_HOME": str(cwd / "home")} | variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_runs_without_the_source_tree(python: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [str(python), "-c", "import weightcut; print(weightcut.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
    ).stdout
    assert where.startswith(str(python.parents[1])), where
    assert _run(python, tmp_path, "--version").startswith("weightcut ")
    assert "quickstart" in _run(python, tmp_path, "run", "quickstart", "--help")
    assert "gptq" in _run(python, tmp_path, "methods")
    assert "Tesla M40" in _run(python, tmp_path, "doctor", "--gpu", "Tesla M40")
    _run(python, tmp_path, "sandbox", "check", WEIGHTCUT_SANDBOX_ALLOW_WEAK="1")


FONTS = [p for p in ("/usr/share/fonts", "/usr/local/share/fonts") if Path(p).is_dir()]
BARE = ("bwrap", "--dev-bind", "/", "/", *(word for p in FONTS for word in ("--tmpfs", p)))
"""What runs a command on this machine without its fonts."""


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap, which hides the fonts")
def test_every_report_is_written_on_a_machine_without_fonts(python: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs" / "quickstart" / "results.json", tmp_path)
    out = tmp_path / "out"
    formats = ("--format", ",".join(FORMATS))
    _run(python, tmp_path, "report", "results.json", *formats, "--out", str(out), inside=BARE)
    for name in ("report.md", "report.html", "report.pdf", "results.csv", "results.json"):
        assert (out / name).stat().st_size > 1000, name
    pdf = (out / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"LibertinusSerif" in pdf, "the font is in the file"
    pictures = list((out / "charts").iterdir())
    assert {p.suffix for p in pictures} == {".png", ".svg"}
    assert all(p.stat().st_size > 1000 for p in pictures)
