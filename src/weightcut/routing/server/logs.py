"""Structured logs: one JSON object a line on stderr, no prompt in them unless asked for."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

NAME = "weightcut.serve"


def logger() -> logging.Logger:
    """Return the server's logger."""
    return logging.getLogger(NAME)


def set_up(level: int = logging.INFO) -> None:
    """Send the server's and uvicorn's messages to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in (NAME, "uvicorn", "uvicorn.error"):
        log = logging.getLogger(name)
        log.handlers[:] = [handler] if name != "uvicorn.error" else []
        log.propagate = name == "uvicorn.error"
        log.setLevel(level if name == NAME else logging.WARNING)


def say(event: str, *, level: int = logging.INFO, **facts: Any) -> None:
    """Write one event with its facts."""
    log = logger()
    if log.isEnabledFor(level):
        log.log(level, event, extra={"facts": facts})


class JsonLines(logging.Formatter):
    """One line of JSON: time, level, event, facts, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)
