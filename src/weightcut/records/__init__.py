"""Frozen data types that cross folders; they import nothing of the project but each other."""

from weightcut.records.base import Record, digest
from weightcut.records.execution import ExecutionResult
from weightcut.records.generation import Completion, FinishReason, Request, Sample, Scores
from weightcut.records.models import Artifact, Checkpoint, Format, Proof, Step
from weightcut.records.observation import Cell, CellKey, CellState, Observation, Stage
from weightcut.records.prices import Prices
from weightcut.records.results import Results, VariantResult
from weightcut.records.spec import (
    Keep,
    LoadSpec,
    Named,
    ProfileSpec,
    StudySpec,
    Target,
    VariantSpec,
)
from weightcut.records.texts import TextSource, no_text
from weightcut.records.tokens import LogProbs, TokenBlocks

__all__ = [
    "Artifact",
    "Cell",
    "CellKey",
    "CellState",
    "Checkpoint",
    "Completion",
    "ExecutionResult",
    "FinishReason",
    "Format",
    "Keep",
    "LoadSpec",
    "LogProbs",
    "Named",
    "Observation",
    "Prices",
    "ProfileSpec",
    "Proof",
    "Record",
    "Request",
    "Results",
    "Sample",
    "Scores",
    "Stage",
    "Step",
    "StudySpec",
    "Target",
    "TextSource",
    "TokenBlocks",
    "VariantResult",
    "VariantSpec",
    "digest",
    "no_text",
]
