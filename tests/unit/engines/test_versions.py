"""An artifact that another version of a library made says so where it cannot be opened."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from weightcut.engines.versions import differences, told_of
from weightcut.errors import BrokenInput
from weightcut.records import Artifact


def artifact(**details: Any) -> Artifact:
    return Artifact(path=Path("a"), format="hf", digest="", bytes=0, checkpoint="", details=details)


def test_libraries_of_another_version_are_named_once() -> None:
    old = {"versions": {"numpy": "1.0.0", "pydantic": version("pydantic"), "no-such": "2"}}
    assert list(differences(artifact(gptq=old, wanda=old))) == [
        f"numpy 1.0.0 ({version('numpy')} is installed)",
        "no-such 2 (none is installed)",
    ]


@pytest.mark.parametrize("details", [{}, {"a": "text"}, {"a": {"versions": {"numpy": None}}}])
def test_nothing_is_said_where_nothing_is_known(details: dict[str, Any]) -> None:
    assert list(differences(artifact(**details))) == []


def test_an_error_is_raised_with_the_cure_or_as_it_was() -> None:
    with pytest.raises(BrokenInput, match="is bad") as caught, told_of(artifact()):
        raise BrokenInput("is bad", place="x", cure="mend it")
    assert caught.value.cure == "mend it"
    made = artifact(gptq={"versions": {"numpy": "1.0.0"}})
    with pytest.raises(BrokenInput, match="x: is bad") as caught, told_of(made):
        raise BrokenInput("is bad", place="x")
    assert caught.value.cure.startswith("it was made with numpy 1.0.0 (")
