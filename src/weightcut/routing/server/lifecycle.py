"""Binding, starting, draining: from a service to a process that serves."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable
from typing import Any

from weightcut.errors import NotHere, UsageError, missing_extra
from weightcut.routing.server import logs
from weightcut.routing.server.app import build_app
from weightcut.routing.server.gate import Gate
from weightcut.routing.server.guarded import guarded
from weightcut.routing.server.keys import Keys
from weightcut.routing.server.metrics import Metrics
from weightcut.routing.server.service import Service
from weightcut.routing.server.shadow import Shadow
from weightcut.routing.server.tracing import open_tracer

_KEEP_ALIVE_S = 30
_BACKLOG = 1024


def bind(host: str, port: int, keys: Keys | None) -> socket.socket:
    """Return a listening socket; beyond loopback only with API keys."""
    if not _is_loopback(host) and not keys:
        raise UsageError(
            f"{host} can be reached from other machines, and there are no API keys",
            place="--host",
            cure="make one with `weightcut keys add NAME` and give --keys FILE, or bind 127.0.0.1",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        raise NotHere(
            f"cannot listen there: {error}", place=f"{host}:{port}", cure="choose another --port"
        ) from error
    return bound


def address(bound: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    service: Service,
    bound: socket.socket,
    *,
    keys: Keys | None = None,
    started: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was accepted.

    started: called with the URL once requests are answered. Raises WeightcutError where an upstream
    cannot be started.
    """
    try:
        import uvloop
    except ImportError as error:
        raise missing_extra("uvloop", "serve") from error
    _one_thread()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(service, bound, keys, started))


def _one_thread() -> None:
    """Keep matrix products to one thread: those of a decision are too small for more.

    A second one would spin on the core that clients and engines need.
    """
    with contextlib.suppress(ImportError):
        import threadpoolctl

        threadpoolctl.threadpool_limits(1, user_api="blas")


async def _run(
    service: Service, bound: socket.socket, keys: Keys | None, started: Callable[[str], None]
) -> None:
    metrics, tracer = Metrics(), open_tracer(service.config.tracing)
    shadow = Shadow(service.config.drift, service, metrics)
    server = _uvicorn(service, build_app(service, metrics, shadow, keys, tracer))
    tasks: list[asyncio.Task[None]] = []
    try:
        await service.pool.start()
        tasks.append(asyncio.create_task(service.pool.watch()))
        tasks.append(asyncio.create_task(_announce(server, lambda: started(address(bound)))))
        with _signals(service, server):
            await server.serve(sockets=[bound])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await shadow.close()
        tracer.close()
        await service.pool.close()


def _uvicorn(service: Service, app: Gate) -> Any:
    try:
        import uvicorn
    except ImportError as error:
        raise missing_extra("uvicorn", "serve") from error
    timeouts = service.config.timeouts
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=guarded(timeouts.head_s, timeouts.write_s),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, int(timeouts.drain_s)),
        )
    )


async def _announce(server: Any, say: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    say()


@contextlib.contextmanager
def _signals(service: Service, server: Any) -> Any:
    """Drain on SIGTERM and SIGINT; a second signal gives up what is still being answered."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if service.draining:
            server.force_exit = True
        service.draining = True
        server.should_exit = True
        logs.say("draining", inside=service.admission.inside)

    # uvicorn would end the process by the signal itself, after it has drained: here it ends well.
    server.capture_signals = contextlib.nullcontext
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
