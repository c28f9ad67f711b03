"""Results into MLflow: a run for the study, and one below it for each variant."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightcut.analysis.tidy import Row, rows
from weightcut.errors import NotHere, WeightcutError, missing_extra
from weightcut.records.results import Results
from weightcut.reports import measures, text

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_LONGEST = 500  # letters of a parameter or tag
_BATCH = 800  # metrics of one request; servers take 1,000


def export(
    results: Results,
    uri: str,
    experiment: str | None = None,
    files: Sequence[Path] = (),
) -> dict[str, str]:
    """Log a study to a tracking server or store; returns run ids by variant, the study's under "".

    files: reports to keep with the study's run. MLflow's own reporting of usage is switched off.
    """
    client = _client(uri)
    from mlflow.exceptions import MlflowException

    name = experiment or f"weightcut/{text.plain(results.study)}"
    try:
        known = client.get_experiment_by_name(name)
        number = known.experiment_id if known else client.create_experiment(name)
        whole = _run(client, number, text.plain(results.study), _study_tags(results), "")
        _log(client, whole, _flat(results.conditions), [])
        for path in files:
            client.log_artifact(whole, str(path))
        ids = {"": whole}
        by_variant: dict[str, list[Row]] = {}
        for row in rows(results, results.study):
            by_variant.setdefault(row.variant, []).append(row)
        for variant in results.variants:
            best = variant.name == results.recommended
            tags = {"verdict": variant.verdict, "recommended": str(best).lower()}
            one = _run(client, number, text.plain(variant.name), tags, whole)
            params = {"engine": variant.engine, "recipe": measures.recipe(variant)}
            _log(client, one, params, by_variant.get(variant.name, []))
            client.set_terminated(one)
            ids[variant.name] = one
        client.set_terminated(whole)
    except (MlflowException, OSError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotHere(
            f"MLflow did not take the results: {text.shorten(line, 300)}",
            place=_shown(uri),
            cure="check the address, and that the server is there",
        ) from error
    return ids


def _client(uri: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    if "://" not in uri or uri.startswith("file:"):
        # A folder is what the user asked for, though MLflow would rather have a database.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise missing_extra("mlflow", "mlflow") from error
    try:
        return MlflowClient(tracking_uri=uri)
    except (MlflowException, ImportError, ValueError) as error:
        raise WeightcutError(
            f"MLflow cannot use this address: {text.shorten(str(error), 300)}",
            place=_shown(uri),
            cure="name http://HOST:PORT, a folder, or a database that your MLflow supports",
        ) from error


def _shown(uri: str) -> str:
    """Return an address without the name and password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", uri)


def _run(client: MlflowClient, experiment: str, name: str, tags: dict[str, str], above: str) -> str:
    if above:
        tags = tags | {"mlflow.parentRunId": above}
    kept = {key: text.shorten(text.plain(value), _LONGEST) for key, value in tags.items()}
    found: str = client.create_run(experiment, run_name=name, tags=kept).info.run_id
    return found


def _log(client: MlflowClient, run: str, params: dict[str, Any], found: Sequence[Row]) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    metrics = {_key(row): row.value for row in found}
    ends = {f"{_key(row)}.{end}": getattr(row, end) for row in found for end in ("low", "high")}
    metrics |= {key: value for key, value in ends.items() if value is not None}
    items = [Metric(key, value, now, 0) for key, value in metrics.items()]
    kept = [
        Param(_name(key), text.shorten(text.plain(value), _LONGEST))
        for key, value in params.items()
        if value not in (None, "")
    ]
    client.log_batch(run, params=kept[:100])
    for start in range(0, len(items), _BATCH):
        client.log_batch(run, metrics=items[start : start + _BATCH])


def _key(row: Row) -> str:
    return _name("/".join(filter(None, (row.group, row.task, row.metric, row.at))))


def _name(key: str) -> str:
    """Return a key in the letters that MLflow takes."""
    safe = re.sub(r"[^\w\-. /]", "_", key.replace("@", "_at_"), flags=re.ASCII)
    parts = [part if part.strip(".") else "_" for part in safe.split("/")]
    return "/".join(parts)[:240]


def _study_tags(results: Results) -> dict[str, str]:
    return {
        "study": results.study,
        "baseline": results.baseline,
        "recommended": results.recommended or "",
        "recommendation": results.recommendation,
        "complete": str(results.complete).lower(),
        "machine": str(results.machine.get("cpu") or ""),
        "weightcut.started": results.started or "",
    }


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            found[f"{prefix}{key}"] = value
    return found
