"""The public form of a study's results, `results.json` (documented in docs/results.md)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
Verdict = Literal["baseline", "retained", "lost", "undecided", "unmeasured"]


class Part(BaseModel):
    """A part of the results; later versions may add keys, so unknown ones are kept, not refused."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Interval(Part):
    """A value with the ends of its confidence interval (None where it could not be formed).

    reason: why an end or the value is missing. detectable: for a retention, the smallest loss
    (share of the baseline) that so many samples would have shown, with 80% power at the study's
    confidence.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = Field(None, description="samples it rests on")
    detectable: float | None = None
    reason: str = ""


class Percentiles(Part):
    """Percentiles of one raw reading."""

    p50: float | None
    p90: float | None
    p99: float | None


class LoadLevel(Part):
    """What became of requests that came at one rate (open loop) or from so many clients (closed).

    Times count from the arrival of a request, its waiting included. answers_per_s, tokens_per_s and
    goodput_per_s: over the time from the first arrival to the last answer; None where given up.
    """

    kind: Literal["open", "closed"]
    rate: float | None = Field(None, description="requests per second asked for (open loop)")
    clients: int | None = Field(None, description="clients at once (closed loop)")
    requests: int
    error_rate: float | None = Field(description="share of requests without a whole answer")
    ttft_ms: Percentiles
    tpot_ms: Percentiles
    latency_ms: Percentiles
    arrivals_per_s: float | None
    answers_per_s: float | None
    tokens_per_s: float | None
    goodput_per_s: float | None = Field(description="answers per second that meet the target")
    in_time: float | None = Field(description="share of requests that meet the target")
    keeping_up: float | None = Field(
        None, description="capacity over arrivals, as the growth of latency tells it, at most 1"
    )
    saturated: bool | None = Field(description="whether answers fell behind arrivals (open loop)")
    error: str | None = Field(None, description="why it was given up before its end")


class Load(Part):
    """A variant under load.

    saturation_per_s: the capacity at the lowest rate that saturated it; None where no rate did.
    sustained_per_s: the highest rate asked for below it.
    """

    batching: str = Field("", description="how requests that arrive later join those under way")
    target: dict[str, float | None] = {}
    levels: list[LoadLevel]
    sustained_per_s: float | None = None
    saturation_per_s: float | None = None


class Profile(Part):
    """Speed and memory of a variant; latencies in milliseconds at batch 1, over different prompts.

    tokens_per_s: by number of concurrent sequences. peak_rss_bytes: of the whole process.
    """

    ttft_ms: Percentiles
    tpot_ms: Percentiles
    latency_ms: Percentiles = Field(description="whole answers of equal length, batch 1")
    tokens_per_s: dict[str, float]
    peak_rss_bytes: int | None
    prompts: int = 0
    new_tokens: int = 0
    quiet: bool | None = Field(None, description="whether the machine was quiet while it was timed")
    busy: dict[str, float] = Field(
        {}, description="share of CPU time that others took: before, during, after"
    )
    variation: float | None = Field(
        None, description="largest relative spread of repeated readings of the same thing"
    )
    unlike: list[str] = Field(
        [], description="what it was timed with otherwise than the baseline, in words"
    )
    load: Load | None = None


class AgainstBaseline(Part):
    """A variant beside the baseline; retentions and ratios, 1 meaning the same.

    latency_speedup: baseline's p50 latency over the variant's. speedup_same_engine: the 16-bit
    variant on the same engine over this one (None where the study has none); `*_interval`: the same
    with the ends of the interval over the prompts that both were timed on. size_ratio and
    memory_ratio: the variant over the baseline. primary_retention: of the study's primary metric;
    retention: by task, then metric. flips: samples that the baseline passed and the variant fails
    (`lost`), and the other way round (`gained`).
    """

    primary_retention: Interval | None = None
    retention: dict[str, dict[str, Interval]] = {}
    flips: dict[str, int] = {}
    codebleu_retention: Interval | None = None
    pass_at_1_retention: Interval | None = Field(None, alias="pass@1_retention")
    latency_speedup: float | None = None
    speedup_same_engine: float | None = None
    latency_speedup_interval: Interval | None = None
    speedup_same_engine_interval: Interval | None = None
    throughput_speedup: dict[str, float] = {}
    size_ratio: float | None = None
    memory_ratio: float | None = None


class Guard(Part):
    """One veto: a paired one-sided test whether the variant is worse than the baseline."""

    name: str
    p_value: float | None
    p_holm: float | None = Field(description="corrected over the variants of the study")
    worse: bool
    says: str = Field(description="the evidence in words")


class Agreement(Part):
    """Whether the primary metric and execution (pass@1) rank alike: Spearman's rank correlation.

    variants: over the variants' means. samples: over every answer's sample and variant. changes:
    over the differences from the baseline, sample by sample. None where either side is constant.
    """

    metric: str
    task: str
    variants: float | None
    samples: float | None
    changes: float | None
    says: str


class Hours(Part):
    """Hours that a stage took: by the clock, of CPU time, of GPUs held."""

    wall: float
    cpu: float | None = None
    gpu: float | None = None


class BatchCost(Part):
    """What an answer costs where so many are produced at once; prices None without a price file.

    Accepted answers are those that pass their tests: the cost of all answers over those accepted,
    the interval that of the share of accepted ones.
    """

    seconds_per_answer: float | None = Field(description="of the machine's time")
    cpu_seconds_per_answer: float | None
    joules_per_answer: float | None
    joules_per_token: float | None
    energy: Literal["counters", "estimate", "mixed"] | None = Field(
        description="hardware counters; CPU seconds times configured watts; some of both"
    )
    co2_g_per_1000_answers: float | None
    money_per_1000_answers: float | None
    money_per_million_tokens: float | None
    joules_per_accepted: Interval | None
    money_per_accepted: Interval | None


class Cost(Part):
    """What running a variant costs, and what measuring it took.

    accepted: the share of answers that pass. tokens_per_answer: mean of that task's answers.
    at: by number of concurrent sequences. hours: by stage (build, task, profile).
    """

    task: str = ""
    accepted: Interval | None = None
    tokens_per_answer: float | None = None
    at: dict[str, BatchCost] = {}
    hours: dict[str, Hours] = {}


class VariantResult(Part):
    """Everything measured of one variant and concluded from it."""

    name: str
    engine: str
    engine_options: dict[str, Any] = {}
    recipe: list[dict[str, Any]]
    artifact_bytes: int | None
    artifact_parts: dict[str, int] = {}
    details: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]]
    profile: Profile | None
    against_baseline: AgainstBaseline | None
    guards: list[Guard] = []
    verdict: Verdict
    verdict_reasons: list[str]
    further_samples: int | None = Field(
        None, description="how many more samples would decide an undecided verdict, if any would"
    )
    meets_target: bool
    on_frontier: bool
    cost: Cost | None = None
    errors: list[str] = []


class Skipped(Part):
    """A cell of the study that was not run, and why."""

    cell: str
    reason: str


class CellCost(Part):
    """What a cell that is done was predicted to cost (`weightcut plan`), and what it did.

    Seconds by the clock; bytes of resident memory at the peak, and of what it wrote.
    """

    cell: str
    predicted_seconds: float | None
    seconds: float | None
    cpu_seconds: float | None
    predicted_memory_bytes: float | None
    peak_rss_bytes: float | None
    predicted_disk_bytes: float | None


class Results(Part):
    """A study's results: what `results.json` holds and every report shows."""

    schema_version: int = Field(SCHEMA, alias="schema")
    study: str
    started: str | None = Field(None, description="when the run was begun, UTC, ISO 8601")
    baseline: str
    complete: bool
    machine: dict[str, Any]
    conditions: dict[str, Any]
    keep: dict[str, Any]
    target: dict[str, Any]
    variants: list[VariantResult]
    recommended: str | None
    recommendation: str = Field(description="a paragraph in plain words")
    agreement: Agreement | None = None
    prices: dict[str, Any] = Field({}, description="what costs were computed with")
    warnings: list[str] = []
    skipped: list[Skipped]
    cells: list[CellCost] = []
