"""Command lines that stand in docs and configs: taken apart, and parsed by weightcut itself."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

from typer.main import get_command

from tests.docs_blocks import Block
from weightcut import registry
from weightcut.cli.main import app
from weightcut.compression.recipe import parse_call, parse_recipe
from weightcut.hardware.cards import find_card
from weightcut.study.spec import load_study

SEPARATORS = {"|", "||", "&&", ";", "&"}


def check_cli(words: list[str]) -> None:
    """Parse a command line with weightcut's own parser, and look up what it names."""
    command, path = get_command(app), "weightcut"
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name, *words = words
        assert name in command.commands, f"{path} has no command {name!r}"
        command, path = command.commands[name], f"{path} {name}"
    if hasattr(command, "commands"):
        known = {option for param in command.params for option in param.opts} | {"--help"}
        assert set(words) <= known, f"{path} {words}"
        return
    if words == ["--help"]:
        return
    try:
        params = command.make_context(path, list(words)).params
    except Exception as error:  # Typer's errors of usage have no public name
        raise AssertionError(f"{path} {words}: {error}") from error
    named: dict[str, Callable[[str], object]] = {
        "recipe": parse_recipe,
        "gpu": find_card,
        "engine": _engine,
        "format_": lambda names: [registry.load("report", n) for n in names.split(",")],
        "task": lambda name: registry.is_file(name) or registry.load("task", name),
    }
    for key, look_up in named.items():
        if isinstance(params.get(key), str):
            look_up(params[key])
    if params.get("set_"):
        load_study("quickstart", dict(item.split("=", 1) for item in params["set_"]))


def _engine(text: str) -> object:
    kind, settings = parse_call(text)
    return registry.load("engine", kind).model_validate({"kind": kind, **settings})


def commands(block: Block) -> Iterator[list[str]]:
    """Yield every command of a shell block as words; comments are left out."""
    text = block.text.replace("\\\n", " ")
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if word in SEPARATORS:
                yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def read_curl(words: list[str]) -> tuple[str, dict[str, str], str | None]:
    """Return address, headers and body of a curl command; only -H and -d are known."""
    url, headers, data = "", {}, None
    rest = iter(words)
    for word in rest:
        if word == "-H":
            name, _, value = next(rest).partition(":")
            headers[name] = value.strip()
        elif word == "-d":
            data = next(rest)
        else:
            assert not word.startswith("-"), word
            url = word
    return url, headers, data
