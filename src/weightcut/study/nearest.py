"""The recipe that is nearest to one that does not fit, and does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weightcut import registry
from weightcut.compression import recipe
from weightcut.errors import UsageError
from weightcut.hardware import verdicts
from weightcut.hardware.rules import Device, Part
from weightcut.records import CellKey, Named, Step, VariantSpec
from weightcut.study.build import fitted
from weightcut.study.predict import WIDE, Prediction, Predictor

_NAME = "nearest"


def nearest_that_fits(
    predictor: Predictor, engine: Named, steps: Sequence[Step], memory: int | None, disk: int | None
) -> str:
    """Return a sentence that names it, with its numbers; it begins with "; ".

    Looked for among the steps' beginnings without what trains, and among all methods with their
    defaults that run here, on the same engine and then on the others. Nearest is the same engine
    first, then as many bits as were wanted or the next fewer, then the least memory.
    """
    wanted = recipe.bits(steps) or WIDE
    fitting = [
        (name != engine.kind, bits > wanted, abs(bits - wanted), needed.memory, label, name)
        for label, name, bits, needed in _offers(predictor, engine, steps)
        if (memory is None or needed.memory <= memory) and (disk is None or needed.disk <= disk)
    ]
    if not fitting:
        return "; no recipe of weightcut fits"
    *_, needs, label, name = min(fitting)
    return f"; nearest that fits: {label} with the engine {name} ({amount(needs)} of memory)"


def amount(size: float) -> str:
    """Return bytes as `1.2 GB`, or as `366 MB` where they are fewer."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _offers(
    predictor: Predictor, engine: Named, steps: Sequence[Step]
) -> Iterator[tuple[str, str, float, Prediction]]:
    """Yield label, engine, bits and what the hungriest of its cells needs, of each recipe."""
    available = verdicts.devices()
    chains: list[tuple[Step, ...]] = [()]
    chains += [(Step(kind=kind),) for kind in registry.names("method")]
    for name in registry.names("engine"):
        named = engine if name == engine.kind else Named(kind=name)
        declared = registry.load("engine", name)
        if not declared.packages or not _here(verdicts.part("engine", name, declared), available):
            continue
        for chain in chains:
            methods = [recipe.build(step) for step in chain]
            if any(m.exact or m.trains or not m.requirements().packages for m in methods):
                continue
            if not all(_here(verdicts.part_of("method", one), available) for one in methods):
                continue
            try:
                whole = fitted(chain, predictor.checkpoint.format, named)
            except UsageError:
                continue  # this engine opens nothing of the kind
            if tuple(whole) == tuple(steps):
                continue
            label = chain[0].kind if chain else "the model as it is"
            yield label, name, recipe.bits(chain) or WIDE, _needs(predictor, named, whole)


def _needs(predictor: Predictor, engine: Named, steps: tuple[Step, ...]) -> Prediction:
    """Return the most that a variant's cells need, each of memory and of disk."""
    spec = predictor.spec.model_copy(
        update={"variants": (VariantSpec(name=_NAME, engine=engine, recipe=steps),)}
    )
    asked = predictor.with_spec(spec)
    keys = [CellKey(variant=_NAME, stage="build")]
    keys += [CellKey(variant=_NAME, stage="task", task=task.kind) for task in spec.tasks]
    if spec.profile is not None:
        keys.append(CellKey(variant=_NAME, stage="profile"))
    found = [asked.work(key, steps, steps).prediction() for key in keys]
    return Prediction(
        seconds=sum(one.seconds for one in found),
        memory=max(one.memory for one in found),
        disk=max(one.disk for one in found),
    )


def _here(part: Part, available: Sequence[Device]) -> bool:
    return verdicts.best(part, available).verdict != "not-here"
