"""From a study file to a validated StudySpec; every error names file, line and the nearest name."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from weightcut import registry
from weightcut.compression import recipe
from weightcut.errors import UsageError, nearest
from weightcut.records import Keep, Named, ProfileSpec, Step, StudySpec, Target, VariantSpec
from weightcut.study.yaml_lines import Document, read_yaml
from weightcut.tasks.task import GenerationTask, LikelihoodTask

_KEYS = tuple(StudySpec.model_fields)
_VARIANT_KEYS = ("engine", "recipe")
_TASKS = ("humaneval", "perplexity")
T = TypeVar("T", bound=BaseModel)
_NAME = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f]{1,80}")


def load_study(
    name: str | Path | Mapping[str, Any] = "quickstart", overrides: Mapping[str, str] | None = None
) -> StudySpec:
    """Read a study by path, a built-in one by name, or a mapping of the same keys; validate it.

    overrides: dotted paths to YAML values, such as {"tasks.0.limit": "20"}.
    """
    if isinstance(name, Mapping):
        document = Document(json.loads(json.dumps(name)), {}, "")
    else:
        document = read_yaml(find_study(name))
    if isinstance(document.data, dict):  # so that an override finds the tasks that it means
        document.data.setdefault("tasks", list(_TASKS))
    for path, value in (overrides or {}).items():
        document.set(path, value)
    return parse_study(document)


def find_study(name: str | Path) -> Path:
    """Return the path of a study file; a bare name is one of the built-in studies."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if path.is_file():
            return path
        raise UsageError("no such study file", place=str(path))
    built_in = {Path(p.name).stem: Path(str(p)) for p in files("weightcut.studies").iterdir()}
    known = [stem for stem, p in built_in.items() if p.suffix == ".yaml"]
    if str(name) not in known:
        raise UsageError(
            f"unknown study {str(name)!r}; {nearest(str(name), known)}", cure="or name a YAML file"
        )
    return built_in[str(name)]


def parse_study(document: Document) -> StudySpec:
    """Validate a study's data; the returned spec has every default filled in."""
    data = document.data
    if not isinstance(data, dict):
        raise UsageError("a study is a mapping of keys", place=document.place())
    _only(data, _KEYS, document, ())
    for needed in ("model", "variants"):
        if not data.get(needed):
            raise UsageError(f"the study lacks the key {needed!r}", place=document.place())
    variants = tuple(_variants(document))
    baseline = data.get("baseline", variants[0].name)
    names = [variant.name for variant in variants]
    if baseline not in names:
        raise UsageError(
            f"unknown baseline {baseline!r}; {nearest(str(baseline), names)}",
            place=document.place("baseline"),
        )
    tasks = tuple(_tasks(document))
    profile = data.get("profile", {})
    return StudySpec(
        study=_study_name(document),
        model=_text(data["model"], document, "model"),
        baseline=baseline,
        variants=variants,
        tasks=tasks,
        profile=_part(ProfileSpec, profile, document, "profile") if profile is not None else None,
        keep=_keep(document, tasks),
        target=_part(Target, data.get("target", {}), document, "target"),
        seed=_whole(data.get("seed", 0), document),
    )


def _variants(document: Document) -> Iterator[VariantSpec]:
    entries = document.data["variants"]
    if not isinstance(entries, dict):
        raise UsageError(
            "variants is a mapping of names to {engine, recipe}", place=document.place("variants")
        )
    seen = set[str]()
    for name, entry in entries.items():
        where = ("variants", name)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(f"a variant cannot be named {name!r}", place=document.place(*where))
        if not isinstance(entry, dict):
            raise UsageError(
                f"variant {name!r} is a mapping with engine and recipe",
                place=document.place(*where),
            )
        _only(entry, _VARIANT_KEYS, document, where)
        engine = _named("engine", entry.get("engine", "transformers"), document, (*where, "engine"))
        for suffix, steps in _sweep(entry.get("recipe") or [], document, (*where, "recipe")):
            if name + suffix in seen:
                raise UsageError(
                    f"two variants would be named {name + suffix!r}",
                    place=document.place(*where),
                    cure="name one of them otherwise; a sweep adds its settings to the name",
                )
            seen.add(name + suffix)
            yield VariantSpec(name=name + suffix, engine=engine, recipe=steps)


def _sweep(
    entries: Any, document: Document, where: tuple[str | int, ...]
) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """Yield a recipe for each combination of the settings that are given as lists of values."""
    if isinstance(entries, str):
        with _at(document, *where):
            yield "", recipe.parse_recipe(entries)
        return
    if not isinstance(entries, list):
        raise UsageError("a recipe is a list of steps", place=document.place(*where))
    raw = [_step_entry(entry, document, (*where, i)) for i, entry in enumerate(entries)]
    swept = [
        (i, name) for i, (kind, settings) in enumerate(raw) for name in settings
        if isinstance(settings[name], list) and not _takes_list(kind, name)
    ]  # fmt: skip
    for values in itertools.product(*(raw[i][1][name] for i, name in swept)):
        chosen = dict(zip(swept, values, strict=True))
        suffix = "".join(f"-{name}{value}" for (_, name), value in chosen.items())
        steps = []
        for i, (kind, settings) in enumerate(raw):
            picked = {k: chosen.get((i, k), v) for k, v in settings.items()}
            with _at(document, *where, i, *(k for k in settings if len(settings) == 1)):
                steps.append(recipe.step(kind, picked))
        yield suffix, tuple(steps)


def _step_entry(
    entry: Any, document: Document, where: tuple[str | int, ...]
) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        with _at(document, *where):
            parsed = recipe.parse_step(entry)
        return parsed.kind, dict(parsed.settings)
    if not isinstance(entry, dict) or "kind" not in entry:
        raise UsageError("a step is {kind: METHOD, ...settings}", place=document.place(*where))
    with _at(document, *where, "kind"):
        method = registry.load("method", str(entry["kind"]))
    settings = {key: value for key, value in entry.items() if key != "kind"}
    for key in settings:
        if key not in method.model_fields:
            raise UsageError(
                f"method {entry['kind']!r} has no setting {key!r}; "
                + nearest(str(key), [f for f in method.model_fields if f != "kind"]),
                place=document.place(*where, key),
            )
    return str(entry["kind"]), settings


def _takes_list(kind: str, name: str) -> bool:
    annotation = registry.load("method", kind).model_fields[name].annotation
    return any(word in str(annotation) for word in ("list", "tuple", "Sequence"))


def _tasks(document: Document) -> Iterator[Named]:
    entries = document.data.get("tasks", [*_TASKS])
    if not isinstance(entries, list):
        raise UsageError("tasks is a list", place=document.place("tasks"))
    seen = set[str]()
    for i, entry in enumerate(entries):
        named = _named("task", entry, document, ("tasks", i), key="name")
        if named.kind in seen:
            raise UsageError(
                f"the task {named.kind!r} stands twice", place=document.place("tasks", i)
            )
        seen.add(named.kind)
        yield named


def _keep(document: Document, tasks: Sequence[Named]) -> Keep:
    """Return what is to be kept; a task or metric that is named must be one of the study's."""
    given = document.data.get("keep", {})
    keep = _part(Keep, given, document, "keep")
    kinds = [task.kind for task in tasks]
    if keep.task and keep.task not in kinds:
        raise UsageError(
            f"the study has no task {keep.task!r}; {nearest(keep.task, kinds)}",
            place=document.place("keep", "task"),
        )
    if keep.task or "metric" in given:
        _refuse_unmeasured(keep, tasks, document.place("keep", "metric"))
    return keep


def _refuse_unmeasured(keep: Keep, tasks: Sequence[Named], place: str) -> None:
    from weightcut.analysis.quality import DEFECTS, LIKELIHOOD_METRICS, public_name

    known = set[str]()
    for named in tasks:
        if keep.task in ("", named.kind):
            task = _task_class(named)
            likelihood = task.mode == "likelihood"
            measured = LIKELIHOOD_METRICS if likelihood else task.metrics
            known.update(map(public_name, (*measured, *getattr(task, "further_metrics", ()))))
    # Answers that went wrong are counted beside the metrics; they may be kept, and are not offered.
    if public_name(keep.metric) not in known | DEFECTS:
        who = f"the task {keep.task} does not measure" if keep.task else "no task measures"
        raise UsageError(
            f"{who} {keep.metric!r}; {nearest(keep.metric, known)}",
            place=place,
            cure="set keep.metric to one that is measured, or name a task that measures it",
        )


def _task_class(named: Named) -> Any:
    if named.source:
        return registry.load_file("task", named.source)
    return registry.load("task", named.kind)


def _named(
    kind: registry.Kind,
    entry: Any,
    document: Document,
    where: tuple[str | int, ...],
    key: str = "kind",
) -> Named:
    settings = {"kind": entry} if isinstance(entry, str) else entry
    if isinstance(settings, dict) and key != "kind" and key in settings:
        settings = {("kind" if k == key else k): v for k, v in settings.items()}
    if not isinstance(settings, dict) or not isinstance(settings.get("kind"), str):
        raise UsageError(
            f"name the {kind}, as NAME, NAME(SETTING=VALUE) or {{{key}: NAME, ...}}",
            place=document.place(*where),
        )
    source = ""
    with _at(document, *where, *([key] if isinstance(entry, dict) else [])):
        name, inline = recipe.parse_call(settings["kind"])
        settings = settings | {"kind": name} | inline
        if kind == "task" and registry.is_file(settings["kind"]):
            source = _beside(document, settings["kind"])
            model = registry.load_file(kind, source)
            settings = settings | {"kind": model.model_fields["kind"].default}
        else:
            model = registry.load(kind, settings["kind"])
    try:
        checked = model.model_validate(settings)
    except ValidationError as error:
        bad = error.errors()[0]["loc"][:1]
        raise UsageError(
            recipe.explain(error, f"{kind} {settings['kind']!r}", model),
            place=document.place(*where, *(str(b) for b in bad)),
        ) from error
    if source and (lacking := _broken_contract(checked)):
        raise UsageError(
            f"the class does not keep the contract of a task: {lacking}",
            place=source,
            cure="docs/your-own-task.md has the whole contract",
        )
    plain = checked.model_dump(mode="json", exclude={"kind"})
    return Named(kind=settings["kind"], settings=plain, source=source)


def _broken_contract(task: BaseModel) -> str:
    """Return what a task of the user's own lacks, "" if nothing."""
    mode = getattr(task, "mode", None)
    contracts = {
        "generation": (*GenerationTask.__annotations__, "items", "score"),
        "likelihood": (*LikelihoodTask.__annotations__, "documents"),
    }
    if mode not in contracts:
        return f"mode is {mode!r}, neither 'generation' nor 'likelihood'"
    lacking = [name for name in contracts[mode] if not hasattr(task, name)]
    return f"it has no {', '.join(lacking)}" if lacking else ""


def _beside(document: Document, reference: str) -> str:
    """Return a part's file with its whole path: beside the study's file, else from here."""
    path, _, name = reference.rpartition(":")
    beside = Path(document.source).parent / path
    file = beside if beside.is_file() else Path(path)
    return f"{file.expanduser().resolve()}:{name}"


def _part(model: type[T], data: Any, document: Document, key: str) -> T:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        bad = error.errors()[0]["loc"][:1]
        raise UsageError(
            recipe.explain(error, key, model), place=document.place(key, *(str(b) for b in bad))
        ) from error


def _only(
    data: Mapping[Any, Any], known: Sequence[str], document: Document, where: tuple[str | int, ...]
) -> None:
    for key in data:
        if key not in known:
            raise UsageError(
                f"unknown key {key!r}; {nearest(str(key), known)}",
                place=document.place(*where, key),
            )


def _study_name(document: Document) -> str:
    """Return the study's name, of which the folder of its runs is made."""
    name = _text(
        document.data.get("study", Path(document.source).stem or "study"), document, "study"
    )
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"a study cannot be named {name!r}",
            place=document.place("study"),
            cure="a run's folder gets its name: leave out / and line ends, at most 80 characters",
        )
    return name


def _text(value: Any, document: Document, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{key} is a name", place=document.place(key))
    return value


def _whole(value: Any, document: Document) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError("seed is a whole number from 0", place=document.place("seed"))
    return value


class _at:  # noqa: N801 - reads as a word: with _at(document, "key")
    """Give the place in the document to errors that have none."""

    def __init__(self, document: Document, *where: str | int) -> None:
        self._document, self._where = document, where

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if isinstance(error, UsageError) and not error.place:
            place = self._document.place(*self._where)
            raise UsageError(error.cause, place=place, cure=error.cure) from error
