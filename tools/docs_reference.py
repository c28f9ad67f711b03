"""Write docs/reference/: commands, study keys, methods, tasks, engines, prices and server config.

    python tools/docs_reference.py [--check]

Every page is made from the code: Typer's commands, the registry's parts and the pydantic models of
their settings. `--check` writes nothing and fails if a page is not what would be written.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from weightcut import registry
from weightcut.cli.main import app
from weightcut.records import Keep, LoadSpec, Prices, ProfileSpec, StudySpec, Target, VariantSpec
from weightcut.routing.server import config as server

TARGET = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by tools/docs_reference.py from the code; change that, not this page. -->"


def main() -> int:
    """Write the pages, or say which of them are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    TARGET.mkdir(parents=True, exist_ok=True)
    stale = [name for name, text in pages().items() if _read(TARGET / name) != text]
    for name in stale:
        if check:
            print(f"docs/reference/{name} is stale", file=sys.stderr)
        else:
            (TARGET / name).write_text(pages()[name], encoding="utf-8")
            print(f"wrote docs/reference/{name}")
    return 1 if check and stale else 0


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    made: dict[str, Callable[[], Iterator[str]]] = {
        "commands.md": _commands,
        "study.md": _study,
        "methods.md": _methods,
        "tasks.md": _tasks,
        "engines.md": _engines,
        "prices.md": _prices,
        "server.md": _server,
    }
    return {name: f"{NOTE}\n\n" + "\n".join(page()) + "\n" for name, page in made.items()}


def leaves(command: Any, path: tuple[str, ...] = ("weightcut",)) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its words: `router fit`."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, one in command.commands.items():
        yield from leaves(one, (*path, name))


def tree() -> Any:
    """Return the command line as Typer builds it."""
    return typer.main.get_command(app)


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield (
        "Every command takes `--help` and prints JSON with `--json`. Exit codes: 0 done, 1 failed, "
        "2 wrong usage, 130 interrupted.\n"
    )
    for words, command in leaves(tree()):
        shown = [p for p in command.params if not p.hidden and p.name != "help"]
        arguments = [p for p in shown if p.param_type_name == "argument"]
        options = [p for p in shown if p.param_type_name == "option"]
        yield f"## {words}\n"
        usage = [words, *(_usage(p) for p in arguments), *(["[OPTIONS]"] if options else [])]
        yield f"```text\n{' '.join(usage)}\n```\n"
        yield from _help(command.help or "")
        rows = [(f"`{_metavar(p)}`", p) for p in arguments]
        rows += [(", ".join(f"`{o}`" for o in (*p.opts, *p.secondary_opts)), p) for p in options]
        yield from _table(
            ("argument or option", "value", "default", "meaning"),
            [
                (name, _value(p), _default(p), _cell(getattr(p, "help", "") or ""))
                for name, p in rows
            ],
        )


def _help(text: str) -> Iterator[str]:
    """Yield a docstring's paragraphs, its example as a block of its own."""
    said, found, example = inspect.cleandoc(text).partition("Example:")
    yield f"{_prose(said).strip()}\n"
    if found:
        command, _, after = re.sub(";\\s", "\n\n", example.strip(), count=1).partition("\n\n")
        yield f"```sh\n{' '.join(command.split())}\n```\n"
        if after.strip():
            yield f"{_prose(after).strip()}\n"


def _metavar(param: Any) -> str:
    return str(param.metavar or param.name.rstrip("_").upper())


def _usage(param: Any) -> str:
    name = _metavar(param) + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _value(param: Any) -> str:
    """Return what a parameter takes: its type, with bounds, or the words to choose from."""
    annotation = param.type_descriptor.annotation
    repeated = " (repeatable)" if param.multiple or param.nargs == -1 else ""
    inner = getattr(annotation, "__args__", ())
    if getattr(annotation, "__origin__", None) is not list and inner:
        return " or ".join(f"`{word}`" for word in inner)
    if inner:
        annotation = inner[0]
    if annotation is bool:
        return "flag"
    name = {"int": "whole number", "float": "number", "Path": "path", "str": "text"}.get(
        annotation.__name__, annotation.__name__
    )
    ends = [
        f"{sign} {end}" for sign, end in (("≥", param.min), ("≤", param.max)) if end is not None
    ]
    return f"{name}{', ' if ends else ''}{', '.join(ends)}{repeated}"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if param.default in (None, False, ()) or callable(param.default):
        return ""
    return f"`{param.default}`"


def _study() -> Iterator[str]:
    yield "# Keys of a study\n"
    yield (
        "A study is a YAML file for `weightcut plan` and `weightcut run`. Only `model` and "
        "`variants` are needed; an unknown key is an error that names the nearest known one. Any "
        "key can be overridden on the command line: `--set tasks.0.limit=20`. "
        "[The quickstart's study](../quickstart.md) is explained line by line.\n"
    )
    yield from _fields(StudySpec, missing=_STUDY)
    yield "## variants.NAME\n"
    yield (
        "A variant is a mapping. A setting of a step given as a list of values makes one variant "
        "for each value, with the value in its name.\n"
    )
    yield from _fields(VariantSpec, missing=_VARIANT, without=("name",))
    parts = (
        ("profile", ProfileSpec),
        ("profile.load", LoadSpec),
        ("keep", Keep),
        ("target", Target),
    )
    for key, model in parts:
        yield f"## {key}\n"
        yield f"{_first(model)}\n"
        yield from _fields(model, missing=_PART)


_STUDY = {
    "study": ("text", "the file's name", "name of the study, and of its run folder"),
    "model": ("text", "required", "bundled name, folder, GGUF file, or `hub:org/name@revision`"),
    "baseline": ("text", "the first variant", "the variant that the others are held against"),
    "variants": ("mapping", "required", "name → variant, see below"),
    "tasks": (
        "list",
        "`[humaneval, perplexity]`",
        "names, or `{name: NAME, ...settings}`, of [tasks](tasks.md); or `FILE.py:CLASS`",
    ),
    "profile": ("mapping or null", "see below", "how speed is measured; null: not at all"),
    "keep": ("mapping", "see below", "what must be kept, and how sure one must be"),
    "target": ("mapping", "see below", "what a variant must reach beyond keeping quality"),
    "seed": ("whole number, ≥ 0", "`0`", "seed of everything random"),
}
_VARIANT = {
    "engine": (
        "text or mapping",
        "`transformers`",
        "an [engine](engines.md), or `{kind: NAME, ...options}`",
    ),
    "recipe": (
        "list or text",
        "`[]`",
        "steps in order, `{kind: METHOD, ...settings}` ([methods](methods.md)), or as text: "
        "`prune-depth(0.15) | int8`; empty: the model as it is",
    ),
}
_PART = {
    "confidence": ("number, > 0.5, < 1", "`0.95`", "of every interval and test"),
}


def _methods() -> Iterator[str]:
    yield "# Settings of the methods\n"
    yield (
        "The steps of a recipe: `{kind: METHOD, ...settings}` in a study, "
        "`METHOD(setting=value)` on the command line. When to take which: "
        "[methods](../methods.md).\n"
    )
    for name in registry.METHODS:
        method = registry.load("method", name)
        needs = method().requirements()
        facts = [f"`{' or '.join(sorted(method.accepts))}` → `{method.produces}`"]
        facts += ["needs calibration text"] * method.needs_calibration
        facts += ["trains"] * method.trains + ["needs a GPU"] * needs.gpu
        facts += [f"extra `{needs.extra}`"] * bool(needs.extra) + [method.paper] * bool(
            method.paper
        )
        yield f"## {name}\n"
        yield f"{_prose(inspect.getdoc(method) or '')}\n"
        yield f"{'; '.join(facts)}.\n"
        yield from _fields(method)


def _tasks() -> Iterator[str]:
    yield "# Settings of the tasks\n"
    yield (
        "In a study: `{name: TASK, ...settings}`. What they ask and how they score: "
        "[tasks](../tasks.md).\n"
    )
    for name in registry.TASKS:
        task = registry.load("task", name)
        yield f"## {name}\n"
        yield f"{_prose(inspect.getdoc(task) or '')}\n"
        yield from _fields(task)


def _engines() -> Iterator[str]:
    yield "# Options of the engines\n"
    yield "In a study: `engine: ENGINE` or `engine: {kind: ENGINE, ...options}`.\n"
    for name in registry.ENGINES:
        engine = registry.load("engine", name)
        yield f"## {name}\n"
        yield f"{_prose(inspect.getdoc(engine) or '')}\n"
        opens = ", ".join(f"`{one}`" for one in sorted(engine.accepts))
        yield f"Opens {opens}{f'; extra `{engine.extra}`' if engine.extra else ''}.\n"
        yield from _fields(engine)


def _prices() -> Iterator[str]:
    yield "# Keys of a price file\n"
    yield f"{_first(Prices)} How they are used: [cost](../cost.md).\n"
    yield from _fields(Prices)


def _server() -> Iterator[str]:
    yield "# Config of the server\n"
    yield "What `weightcut serve --config FILE` reads. See [serving](../serving.md).\n"
    yield from _fields(server.ServeConfig, missing=_SERVER)
    upstreams = (server.EngineUpstream, server.OpenAIUpstream, server.ScriptedUpstream)
    for upstream in upstreams:
        kind = upstream.model_fields["kind"].annotation.__args__[0]
        yield f"## variants.NAME, kind: {kind}\n"
        yield f"{_first(upstream)}\n"
        yield from _fields(upstream, missing=_SERVER)
    parts = (
        ("prices.NAME", server.Price),
        ("limits", server.Limits),
        ("timeouts", server.Timeouts),
        ("retries", server.Retries),
        ("breaker", server.BreakerConfig),
        ("drift", server.DriftConfig),
    )
    for key, model in parts:
        yield f"## {key}\n"
        yield f"{_first(model)}\n"
        yield from _fields(model)


_SERVER = {
    **dict.fromkeys(
        ("limits", "timeouts", "retries", "breaker", "drift"), ("mapping", "see below", "")
    ),
    "variants": (
        "mapping",
        "required",
        "name → where its answers come from, see below; a list: replicas",
    ),
    "prices": ("mapping", "the router's costs", "name → price, see below"),
    "reply": ("text", "`pass`", "the words that it answers"),
    "then": ("text", "`ok`", "what happens to further calls"),
    "slots": ("whole number, ≥ 1", "", "answers made at a time"),
}


def _fields(
    model: Any,
    missing: dict[str, tuple[str, str, str]] | None = None,
    without: tuple[str, ...] = (),
) -> Iterator[str]:
    """Yield a table of a model's fields; missing: rows of fields that say nothing of themselves.

    A field without a description, here or there, is an error: nobody could use it.
    """
    schema = model.model_json_schema()
    rows = []
    for name, field in model.model_fields.items():
        if name in ("kind", *without):
            continue
        told = (missing or {}).get(name, ("", "", ""))
        if not (field.description or any(told)):
            raise SystemExit(f"{model.__name__}.{name} has no description")
        own = schema["properties"][name]
        kind = told[0] or _type(own, schema)
        plain = "default" in own
        default = told[1] or (
            "required" if field.is_required() else f"`{_plain(own['default'])}`" if plain else ""
        )
        rows.append(
            (f"`{name}`", kind, default, _cell(field.description or told[2] or "see below"))
        )
    if not rows:
        yield "No settings.\n"
        return
    yield from _table(("key", "value", "default", "meaning"), rows)


def _type(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """Return a JSON schema in words: `whole number, ≥ 1`, `full or sanitized`."""
    if "$ref" in schema:
        return _type(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return " or ".join(_type(one, root) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{_plain(word)}`" for word in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    words = {
        "integer": "whole number",
        "string": "text",
        "object": "mapping",
        "boolean": "true or false",
    }
    name = str(schema.get("type", "value"))
    if name == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of {_type(items, root)}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    ends = "".join(f", {signs[key]} {schema[key]:g}" for key in signs if key in schema)
    return words.get(name, name) + ends


def _plain(value: object) -> str:
    """Return a default as YAML would have it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(_plain(one) for one in value)}]"
    if value == "":
        return '""'
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' :-- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _first(model: Any) -> str:
    """Return the first sentence of a model's docstring."""
    return _prose(inspect.getdoc(model) or "").partition("\n\n")[0]


def _prose(text: str) -> str:
    """Return a docstring as Markdown: each paragraph in one line, angle brackets kept."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    joined = (" ".join(one.split()) for one in paragraphs)
    return "\n\n".join(one.replace("<", "&lt;") for one in joined)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
