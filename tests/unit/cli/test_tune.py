"""`weightcut tune` refuses what it cannot read before it looks for a model."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from weightcut.cli.main import app
from weightcut.errors import UsageError


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--keep", "codebleu:2"], "codebleu:2"),
        (["--keep", "codebleu:nan"], "codebleu:nan"),
        (["--keep", ":0.9"], ":0.9"),
        (["--keep", "codebleu:"], "codebleu:"),
        (["--budget", "soon"], "soon"),
        (["--budget", "0"], "cannot read '0'"),
        (["--budget", "-5m"], "-5m"),
        (["--minimize", "latancy"], "did you mean 'latency'"),
    ],
)
def test_wrong_words_are_told(words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(app, ["tune", "nowhere", *words], catch_exceptions=False)
    assert says in str(caught.value)


def test_help_has_an_example() -> None:
    shown = CliRunner().invoke(app, ["tune", "--help"], env={"COLUMNS": "200"}).stdout
    assert "Example: weightcut tune" in shown
