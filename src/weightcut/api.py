"""The Python API that the commands are made of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from weightcut.compression import recipe as recipes
from weightcut.errors import UsageError
from weightcut.files import whole_folder
from weightcut.records import Artifact, Format, Results, Step, StudySpec
from weightcut.settings import artifacts_folder
from weightcut.study.spec import load_study

if TYPE_CHECKING:
    from weightcut.study.run import Listener

Report = Callable[[str, float | None], None]


def _silent(_phrase: str, _share: float | None) -> None:
    return None


def compress_model(
    model: str,
    recipe: str | Sequence[Step],
    out: str | Path | None = None,
    *,
    seed: int = 0,
    progress: Report = _silent,
) -> Artifact:
    """Compress a model and return the artifact; the work is kept by content and never done twice.

    model: alias, folder, GGUF file or `hub:org/name@revision`. recipe: `"int4(awq=true)"`, steps
    joined by `|`. out: a folder that gets a copy; without it the artifact stays in the cache.
    """
    from weightcut.models.resolve import resolve
    from weightcut.study.build import build_artifact
    from weightcut.study.plan import refuse_recipe

    steps = recipes.parse_recipe(recipe) if isinstance(recipe, str) else tuple(recipe)
    target = Path(out) if out is not None else None
    if target is not None and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("the output folder is not empty", place=str(target), cure="name a new one")
    checkpoint = resolve(model, progress=progress)
    fitted = recipes.fit(steps, checkpoint.format, frozenset(get_args(Format)))
    refuse_recipe(checkpoint, fitted, seed, artifacts_folder())
    artifact = build_artifact(checkpoint, fitted, artifacts_folder(), seed, progress)
    if target is None:
        return artifact
    if target.exists():
        target.rmdir()
    with whole_folder(target) as draft:
        shutil.copytree(artifact.path, draft, dirs_exist_ok=True)
    return artifact.model_copy(update={"path": target})


def evaluate_tradeoff(
    study: StudySpec | str | Path | Mapping[str, Any] = "quickstart",
    out: str | Path | None = None,
    *,
    only: Iterable[str] = (),
    listen: Listener | None = None,
    timeout: float | None = None,
) -> Results:
    """Run a study (what of it is not done yet) and return its results; reports lie in `out`.

    study: a StudySpec, a path, a built-in name, or a mapping with the keys of a study file.
    out: the run folder, `runs/<study>` by default. timeout: wall seconds for each cell.
    """
    from weightcut.study.run import run_study

    spec = study if isinstance(study, StudySpec) else load_study(study)
    folder = Path(out) if out is not None else Path("runs") / spec.study
    return run_study(
        spec, folder, only=tuple(only), listen=listen or (lambda _event: None), timeout=timeout
    )


def single_study(
    model: str,
    engine: str,
    *,
    tasks: Sequence[Mapping[str, Any]] = (),
    profile: Mapping[str, Any] | None = None,
) -> StudySpec:
    """Return the study of one model as it is on one engine, for `evaluate` and `profile`."""
    return load_study(
        {
            "study": "single",
            "model": model,
            "variants": {"model": {"engine": engine, "recipe": []}},
            "tasks": list(tasks),
            "profile": dict(profile) if profile is not None else None,
        }
    )
