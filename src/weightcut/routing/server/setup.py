"""From a router, a config and a run to a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weightcut.errors import UsageError
from weightcut.routing.router import Router, load_router
from weightcut.routing.server.config import ServeConfig, parse_config, read_config
from weightcut.routing.server.pool import Pool
from weightcut.routing.server.service import Service
from weightcut.routing.server.upstreams.make import make_upstreams


def open_service(folder: Path, config_path: Path | None = None, run: Path | None = None) -> Service:
    """Return the service of a router folder, nothing started yet.

    Without a config, every variant is answered in this process by the run's own engine and
    artifact: of `run`, or of the run that the router was fitted on.
    """
    router = load_router(folder)
    config = read_config(config_path) if config_path else _default(router, folder, run)
    place = str(config_path or folder)
    missing = [name for name in router.variants if name not in config.variants]
    if missing:
        raise UsageError(
            f"no upstream for the router's variant {missing[0]!r}",
            place=place,
            cure=f"name one under `variants`; the router has {', '.join(router.variants)}",
        )
    beside = [name for name in config.variants if name not in router.variants]
    order = [*beside, *router.variants]
    config = config.model_copy(update={"variants": {n: config.variants[n] for n in order}})
    return Service(router, Pool(make_upstreams(config), config.breaker), config)


def _default(router: Router, folder: Path, run: Path | None) -> ServeConfig:
    source: Any = run or router.trained.get("run")
    if source is None:
        raise UsageError(
            "the router was not fitted on a run, so it is unknown who answers",
            place=str(folder),
            cure="give --run RUN or --config FILE (docs/serving.md)",
        )
    variants = {name: {"kind": "engine", "run": str(source)} for name in router.variants}
    return parse_config({"variants": variants}, str(folder))
