"""docs/reference/ is what the code says, and says all of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from weightcut import registry
from weightcut.routing.server.config import ServeConfig

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "reference"


def tool() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location(
        "docs_reference", ROOT / "tools/docs_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return dict(tool().pages())


def test_the_pages_are_what_the_code_says(made: dict[str, str]) -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(made)
    stale = [name for name, text in made.items() if (REFERENCE / name).read_text() != text]
    assert not stale, "run: python tools/docs_reference.py"


def test_a_new_flag_makes_the_page_stale(
    made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tool()
    app = script.app

    def added(colour: Annotated[str, typer.Option(help="Which one.")] = "blue") -> None:
        """Do what no command does.

        Example: weightcut added --colour red
        """

    changed = typer.Typer()
    changed.registered_commands = [*app.registered_commands]
    changed.registered_groups = app.registered_groups
    changed.command("added")(added)
    monkeypatch.setattr(script, "app", changed)
    text = script.pages()["commands.md"]
    assert text != made["commands.md"]
    assert "| `--colour` | text | `blue` | Which one. |" in text
    assert "```sh\nweightcut added --colour red\n```" in text


def test_every_command_and_option_is_on_its_page(made: dict[str, str]) -> None:
    script = tool()
    sections = {s.split("\n")[0]: s for s in made["commands.md"].split("\n## ")[1:]}
    found = dict(script.leaves(get_command(script.app)))
    assert set(sections) == set(found)
    for words, command in found.items():
        for param in command.params:
            for option in param.opts if param.param_type_name == "option" else ():
                assert f"`{option}`" in sections[words] or option == "--help", (words, option)
        assert f"```sh\n{words}" in sections[words], f"{words} has no example in its help"


@pytest.mark.parametrize(
    ("page", "kind"), [("methods.md", "method"), ("tasks.md", "task"), ("engines.md", "engine")]
)
def test_every_setting_of_every_part_is_on_its_page(
    page: str, kind: registry.Kind, made: dict[str, str]
) -> None:
    sections = {s.split("\n")[0]: s for s in made[page].split("\n## ")[1:]}
    tables = {"method": registry.METHODS, "task": registry.TASKS, "engine": registry.ENGINES}
    assert set(sections) == set(tables[kind])
    for name, section in sections.items():
        for field in set(registry.load(kind, name).model_fields) - {"kind"}:
            assert f"| `{field}` |" in section, (name, field)


def test_every_key_of_the_server_is_on_its_page(made: dict[str, str]) -> None:
    for key in ServeConfig.model_fields:
        assert f"| `{key}` |" in made["server.md"], key
