"""The base of every record, and the canonical digest of plain data."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Immutable data that crosses folders; unknown keys are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def digest(data: Any) -> str:
    """Return the SHA-256 (hex) of plain data in canonical JSON: sorted keys, no spaces."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
