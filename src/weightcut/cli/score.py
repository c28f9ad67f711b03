"""`weightcut score`: score pairs of reference and prediction from a file."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from weightcut.errors import BrokenInput, UsageError

app = typer.Typer(
    no_args_is_help=True,
    help="Score pairs of reference and prediction: one JSON object a line in PAIRS.",
)

Pairs = Annotated[Path, typer.Argument(metavar="PAIRS.jsonl", help="one JSON object a line")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]
_FIELDS = ("id", "lang", "reference", "prediction")
_PARTS = ("codebleu", "ngram_match", "weighted_ngram_match", "syntax_match", "dataflow_match")


@dataclass(frozen=True)
class Pair:
    """One line of the file; a field that the metric does not ask for is empty."""

    place: str
    id: str
    lang: str
    reference: str
    prediction: str


def read_pairs(path: Path, needed: Sequence[str]) -> list[Pair]:
    """Read the file; a line that is not a pair raises BrokenInput with file and line."""
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    pairs = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                pairs.append(_pair(line, f"{path}:{number}", needed))
    if not pairs:
        raise BrokenInput("no pairs in the file", place=str(path))
    return pairs


def _pair(line: bytes, place: str, needed: Sequence[str]) -> Pair:
    fields = f"needed fields: {', '.join(needed)}"
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BrokenInput(f"not a JSON object: {error}", place=place, cure=fields) from error
    if not isinstance(data, dict):
        raise BrokenInput("not a JSON object", place=place, cure=fields)
    if missing := [name for name in needed if name not in data]:
        raise BrokenInput(f"field {missing[0]!r} is missing", place=place, cure=fields)
    for name in needed:
        if not isinstance(data[name], str) and not (name == "id" and isinstance(data[name], int)):
            raise BrokenInput(f"field {name!r} is not a text", place=place)
    return Pair(place, *(str(data[name]) if name in needed else "" for name in _FIELDS))


def _language(pair: Pair) -> str:
    from weightcut.metrics.code.languages import language

    try:
        return language(pair.lang)
    except UsageError as error:
        raise UsageError(error.cause, place=pair.place) from error


def _print(rows: list[dict[str, Any]], corpus: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"pairs": rows, "corpus": corpus}))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name == "id" else "right")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row.values()))
    table.add_section()
    end = {"id": f"corpus of {len(rows)}", **corpus}
    table.add_row(*(Text(_shown(end.get(name, ""))) for name in rows[0]), style="bold")
    Console().print(table)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).encode("utf-8", "replace").decode()


@app.command()
def codebleu(
    pairs: Pairs,
    mode: Annotated[
        Literal["fixed", "compat"], typer.Option(help="compat: as the package codebleu 0.7.0")
    ] = "fixed",
    weights: Annotated[
        str, typer.Option(help="of n-grams, weighted n-grams, syntax and dataflow")
    ] = "0.25,0.25,0.25,0.25",
    as_json: AsJson = False,
) -> None:
    """CodeBLEU, 0..1; fields: id, lang, reference, prediction.

    Example: weightcut score codebleu pairs.jsonl --mode fixed --json

    The last row is the corpus: matches of all pairs added up before any share is formed.
    """
    from weightcut.metrics.codebleu import counts, score_corpus

    numbers = _weights(weights)
    found = read_pairs(pairs, _FIELDS)
    all_counts = []
    rows = []
    for pair in found:
        one = counts(pair.reference, pair.prediction, _language(pair), mode)
        all_counts.append(one)
        score = asdict(one.score(numbers))
        rows.append({"id": pair.id} | {name: score[name] for name in _PARTS})
    total = asdict(score_corpus(all_counts, numbers))
    _print(rows, {name: total[name] for name in _PARTS}, as_json)


def _weights(text: str) -> tuple[float, float, float, float]:
    from weightcut.metrics.codebleu import checked

    try:
        first, second, third, fourth = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"--weights needs four numbers with commas between them, not {text!r}"
        ) from error
    return checked((first, second, third, fourth))


@app.command()
def bleu(pairs: Pairs, as_json: AsJson = False) -> None:
    """BLEU, 0..100, of tokens separated by white space; fields: id, reference, prediction.

    Example: weightcut score bleu pairs.jsonl
    """
    from weightcut.metrics.bleu import bleu as corpus_bleu
    from weightcut.metrics.bleu import sentence_bleu

    found = read_pairs(pairs, ("id", "reference", "prediction"))
    rows = [{"id": p.id, "bleu": sentence_bleu(p.reference, p.prediction)} for p in found]
    total = corpus_bleu([p.reference for p in found], [p.prediction for p in found])
    _print(rows, {"bleu": total}, as_json)


@app.command("exact-match")
def exact_match(pairs: Pairs, as_json: AsJson = False) -> None:
    """Equal texts, but for white space at the ends of lines; fields: id, reference, prediction.

    Example: weightcut score exact-match pairs.jsonl
    """
    from weightcut.metrics.exact_match import exact_match as matches

    found = read_pairs(pairs, ("id", "reference", "prediction"))
    right = [matches(pair.reference, pair.prediction) for pair in found]
    rows = [{"id": p.id, "exact_match": one} for p, one in zip(found, right, strict=True)]
    _print(rows, {"exact_match": statistics.fmean(right)}, as_json)


@app.command("parses")
def parses_(pairs: Pairs, as_json: AsJson = False) -> None:
    """Predictions without a syntax error; fields: id, lang, prediction.

    Example: weightcut score parses pairs.jsonl
    """
    from weightcut.metrics.parses import parses

    found = read_pairs(pairs, ("id", "lang", "prediction"))
    right = [parses(pair.prediction, _language(pair)) for pair in found]
    rows = [{"id": p.id, "parses": one} for p, one in zip(found, right, strict=True)]
    _print(rows, {"parses": statistics.fmean(right)}, as_json)
