"""`weightcut doctor`: what this machine or a named GPU can run, and what to try first on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weightcut.cli import doctor_tables
from weightcut.cli.options import Json
from weightcut.cli.output import errors, print_json
from weightcut.errors import UsageError

if TYPE_CHECKING:
    from weightcut.hardware.cards import Card
    from weightcut.hardware.rules import Device

_COUNT = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*([MB])", re.IGNORECASE)
_BYTES_PER_WEIGHT = 2  # of a 16-bit checkpoint


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Recipes for it: alias, folder, GGUF file, hub: or a size (7B)."
        ),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", "-g", help='In place of the GPUs here: "Tesla M40".')
    ] = None,
    json_: Json = False,
) -> None:
    """Tell which methods and engines work here, which slowly, which not, and why.

    Example: weightcut doctor --model 7B --gpu "Tesla M40"
    """
    from weightcut.hardware.cards import find_card

    report = examine(model, find_card(gpu) if gpu is not None else None)
    if json_:
        print_json(report)
    else:
        doctor_tables.show(report)


def examine(reference: str | None, card: Card | None) -> dict[str, Any]:
    """Return all that doctor tells, as plain data; docs/doctor.md says what it means."""
    from weightcut.hardware import probe
    from weightcut.hardware.extras import extras
    from weightcut.hardware.suggest import suggest
    from weightcut.hardware.verdicts import devices, judge, parts
    from weightcut.metrics.code import native

    model = None if reference is None else _model(reference)
    available = devices(card)
    recipes = suggest(model["parameters"], model["format"], available) if model else ()
    reason = native.missing()
    return {
        "machine": probe.machine(),
        "card": card.model_dump(mode="json", exclude={"capability"}) if card else None,
        "devices": [_device(one) for one in available],
        "parts": [
            {
                "kind": part.kind,
                "name": part.name,
                "verdicts": [
                    judge(part, one).model_dump(mode="json", exclude={"part"}) for one in available
                ],
            }
            for part in parts()
        ],
        "model": model,
        "recipes": [one.model_dump(mode="json") for one in recipes],
        "sandbox": _sandbox(),
        "codebleu_extension": {"in_use": reason is None, "reason": reason or ""},
        "extras": [one.model_dump(mode="json") for one in extras()],
    }


def _device(device: Device) -> dict[str, Any]:
    from weightcut.hardware.cards import formats

    known = device.capability
    return {
        "kind": device.kind,
        "name": device.name,
        "memory_bytes": device.memory,
        "bandwidth_bytes_per_s": device.bandwidth,
        "compute_capability": ".".join(map(str, known)) if known else None,
        "formats": formats(known) if known else [],
    }


def _sandbox() -> dict[str, Any]:
    from weightcut.errors import NotHere
    from weightcut.sandbox import LANGUAGES, capabilities, missing, protections

    refused = ""
    try:
        protections()
    except NotHere as error:
        refused = f"{error}; {error.cure}"
    languages = {language: missing(language) or "" for language in LANGUAGES}
    return {
        "usable": not refused,
        "reason": refused,
        "protections": [part.model_dump(mode="json") for part in capabilities()],
        "languages": [
            {"name": name, "present": not reason, "reason": reason}
            for name, reason in languages.items()
        ],
    }


def _model(reference: str) -> dict[str, Any]:
    """Return a model's number of weights and format; nothing large is fetched for it.

    A hub model that is not in the cache is judged by the size of its files, as if of 16 bit.
    """
    if count := _COUNT.fullmatch(reference.strip()):
        parameters = int(float(count[1]) * (1e9 if count[2] in "Bb" else 1e6))
        if parameters == 0:
            raise UsageError("a model has at least one weight", place=f"--model {reference}")
        return _row(reference, parameters, "hf", "the number of weights that was given")
    if size := _size_of_uncached(reference):
        weights = size // _BYTES_PER_WEIGHT
        return _row(reference, weights, "hf", "not fetched: its size on the hub, as if of 16 bit")
    from weightcut.models.resolve import resolve

    checkpoint = resolve(reference, lambda phrase, _share: errors.print(phrase, markup=False))
    if not checkpoint.parameters:
        raise UsageError("its number of weights is unknown", place=reference)
    return _row(reference, checkpoint.parameters, checkpoint.format, "counted")


def _size_of_uncached(reference: str) -> int:
    """Return the bytes of a model of the hub that is not in the cache; 0 for any other."""
    from weightcut.models import hub
    from weightcut.models.bundled import BUNDLED, HubRepository
    from weightcut.models.resolve import cached

    bundled = BUNDLED.get(reference)
    if bundled is not None:
        here = not isinstance(bundled.source, HubRepository) or cached(reference) is not None
        return 0 if here else bundled.source.bytes
    if not reference.startswith("hub:") or cached(reference) is not None:
        return 0
    return hub.pin(hub.parse(reference))[1]


def _row(reference: str, parameters: int, format_: str, counted: str) -> dict[str, Any]:
    return {
        "reference": reference,
        "parameters": parameters,
        "format": format_,
        "counted": counted,
    }
