"""A task of the user's own, from a file, end to end from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weightcut import registry
from weightcut.cli.main import app
from weightcut.errors import UsageError
from weightcut.models.scripted import ScriptedModel
from weightcut.study.spec import load_study
from weightcut.tasks.task import GenerationTask

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_task.py"
SLUG = 'def slug(text):\n    return text.lower().replace(" ", "-")\n'
OWN = "from weightcut.records import Record\n\nclass Mine(Record):\n    kind: str = {kind!r}\n"


def _model(folder: Path) -> str:
    return str(ScriptedModel(answers={"def slug": f"```python\n{SLUG}```"}).save(folder))


def test_the_example_is_a_task() -> None:
    task = registry.load_file("task", f"{EXAMPLE}:Slugs")()
    assert isinstance(task, GenerationTask)
    assert [sample.id for sample in task.items()] == ["slug", "initials"]


def test_evaluate_a_task_of_ones_own(tmp_path: Path) -> None:
    words = ["evaluate", _model(tmp_path / "model"), "-e", "scripted", "-t", f"{EXAMPLE}:Slugs"]
    result = CliRunner().invoke(app, [*words, "--json", "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["pass@1"]["value"] == 0.5
    conditions = json.loads((tmp_path / "run" / "results.json").read_text())["conditions"]
    assert len(conditions["task_data"]["slugs"]["code"]) == 64


def test_the_file_lies_beside_the_study(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    study = tmp_path / "study.yaml"
    study.write_text(
        f"model: {_model(tmp_path / 'model')}\nvariants: {{a: {{engine: scripted}}}}\n"
        "tasks: [{name: mine.py:Slugs, limit: 1}]\n"
    )
    (named,) = load_study(study).tasks
    assert (named.kind, named.settings["limit"]) == ("slugs", 1)
    assert named.source == f"{tmp_path / 'mine.py'}:Slugs"
    study.write_text(study.read_text().replace("limit: 1", "limt: 1"))
    with pytest.raises(UsageError, match=r"study\.yaml:3.*limt"):
        load_study(study)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("x = (", "cannot be imported: SyntaxError"),
        ("raise ValueError('broken')", "cannot be imported: ValueError: broken"),
        ("class Mind: pass", "no class 'Mine'; did you mean 'Mind'"),
        (OWN.format(kind="mine"), "mode is None"),
        (
            OWN.format(kind="mine") + "    mode: str = 'likelihood'\n",
            "no limit, length, top_k, doc",
        ),
        ("class Mine: pass", "is no task: it needs a field `kind`"),
        (OWN.format(kind="humaneval"), "named 'humaneval' is there already"),
    ],
)
def test_what_is_no_task_says_why(tmp_path: Path, content: str | None, says: str) -> None:
    file = tmp_path / "own.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=says):
        load_study(
            {
                "model": "none",
                "variants": {"a": {"engine": "scripted"}},
                "tasks": [f"{file}:Mine"],
            }
        )
