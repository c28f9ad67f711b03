"""From the config to upstreams."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from weightcut import registry
from weightcut.errors import BrokenInput, UsageError, nearest
from weightcut.records import Artifact, CellKey, Format, Named, digest
from weightcut.routing.server.config import (
    EngineUpstream,
    OpenAIUpstream,
    ScriptedUpstream,
    ServeConfig,
    Timeouts,
    UpstreamConfig,
)
from weightcut.routing.server.upstreams.engine import LocalEngine
from weightcut.routing.server.upstreams.openai_http import OpenAIHTTP
from weightcut.routing.server.upstreams.scripted import Scripted
from weightcut.routing.server.upstreams.upstream import Upstream
from weightcut.store.artifacts import RECORD, read_artifact
from weightcut.store.run_store import RunStore

_KINDS: tuple[tuple[str, Format], ...] = (
    ("openvino_model.xml", "openvino"),
    ("scripted.json", "scripted"),
    ("config.json", "hf"),
)


def make_upstreams(config: ServeConfig) -> dict[str, list[Upstream]]:
    """Return every variant's upstreams, not started; a replica's name has its number."""
    found: dict[str, list[Upstream]] = {}
    for variant in config.variants:
        replicas = config.replicas(variant)
        names = [variant, *(f"{variant}-{number}" for number in range(2, len(replicas) + 1))]
        found[variant] = [
            _make(variant, name, one, config.timeouts)
            for name, one in zip(names, replicas, strict=True)
        ]
    return found


def _make(variant: str, name: str, settings: UpstreamConfig, timeouts: Timeouts) -> Upstream:
    if isinstance(settings, ScriptedUpstream):
        return Scripted(name, settings)
    if isinstance(settings, OpenAIUpstream):
        return OpenAIHTTP(name, settings)
    artifact, engine = _of_run(variant, settings) if settings.run else _of_folder(settings)
    _check(engine, artifact, name)
    quiet_s = min(timeouts.first_token_s, timeouts.token_s)
    return LocalEngine(name, artifact, engine, settings.slots, settings.cache_tokens, quiet_s)


def _check(named: Named, artifact: Artifact, name: str) -> None:
    """Refuse an engine with wrong options, or one that does not open such an artifact."""
    place = f"variant {name}"
    engine = registry.load("engine", named.kind)
    try:
        engine.model_validate({"kind": named.kind, **named.settings})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"options.{key}: {first['msg']}", place=place) from None
    if artifact.format not in engine.accepts:
        message = f"the engine {named.kind} does not open {artifact.format} ({artifact.path})"
        raise UsageError(message, place=place, cure=f"it opens {', '.join(sorted(engine.accepts))}")


def _of_run(variant: str, settings: EngineUpstream) -> tuple[Artifact, Named]:
    """Return a variant's artifact, verified, and the engine that the run used."""
    assert settings.run is not None
    name, place = settings.variant or variant, str(settings.run)
    store = RunStore.open(settings.run)
    try:
        spec = store.spec()
        known = {one.name: one for one in spec.variants}
        if name not in known:
            message = f"the run has no variant {name!r}; {nearest(name, known)}"
            raise UsageError(message, place=place)
        build = store.cell(CellKey(variant=name, stage="build"))
    finally:
        store.close()
    facts = build.manifest.get("artifact") if build else None
    if facts is None:
        raise UsageError(f"the run did not build {name!r}", place=place, cure="weightcut run it")
    artifact = Artifact.model_validate(facts)
    if not artifact.path.is_dir():
        cure = "run the study again (what was measured is kept), or give `artifact: FOLDER`"
        raise BrokenInput("the artifact is no longer there", place=str(artifact.path), cure=cure)
    if (artifact.path / RECORD).is_file():
        artifact = read_artifact(artifact.path)
    engine = known[name].engine
    return artifact, Named(kind=engine.kind, settings={**engine.settings, **settings.options})


def _of_folder(settings: EngineUpstream) -> tuple[Artifact, Named]:
    """Return a folder as an artifact, verified where it has a record."""
    folder = settings.artifact
    assert folder is not None
    engine = Named(kind=settings.engine, settings=settings.options)
    if (folder / RECORD).is_file():
        return read_artifact(folder), engine
    return Artifact(
        path=folder, format=_format(folder), digest=digest(str(folder)), bytes=0, checkpoint=""
    ), engine


def _format(folder: Path) -> Format:
    for name, kind in _KINDS:
        if (folder / name).is_file():
            return kind
    raise UsageError("neither an artifact nor a model", place=str(folder))
