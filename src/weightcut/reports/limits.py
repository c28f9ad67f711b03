"""What a reader must know of how the figures came about, and of what they do not say."""

from __future__ import annotations

from weightcut.records.results import Results
from weightcut.reports import measures, text


def method(results: Results) -> list[str]:
    """Return how the study measured, in paragraphs."""
    tasks = ", ".join(text.plain(task) for task in measures.task_names(results)) or "no task"
    words = [
        f"All variants got the same prompts, token for token, the same sampling and the same "
        f"seeds ({tasks}); every cell ran in a process of its own, one after another. What a "
        "variant keeps of the baseline is paired by sample, with bootstrap intervals; answers are "
        "run against their tests in a sandbox."
    ]
    timed = next((v.profile for v in results.variants if v.profile), None)
    if timed is not None:
        words.append(
            f"Latency is that of {timed.prompts} different prompts, one at a time, with answers of "
            f"{timed.new_tokens} tokens and no prefix cache, after a warm-up; throughput that of "
            "equal answers submitted at once. Memory is the peak resident set of the process."
        )
    if any(v.cost and v.cost.at for v in results.variants):
        words.append(
            "The cost of an answer is what a round of such answers took over their number, "
            "stretched to the length that answers have in the benchmark; the cost of an accepted "
            "answer is that over the share that pass."
        )
    return words


def limits(results: Results) -> list[str]:
    """Return what the figures do not say, in sentences."""
    found = ["Speeds, memory and costs hold for this machine and these versions alone."]
    first = measures.primary(results)
    if first is not None:
        found.append(
            f"Quality is that of {text.plain(first.task)}: it tells nothing of other kinds of work."
        )
        found += _power(results)
    found += _zeros(results)
    busy = [v for v in results.variants if v.profile and v.profile.quiet is False]
    if busy:
        found.append(
            f"The machine was busy while {_count(len(busy), 'variant')} were timed: those speeds "
            "are lower bounds at best."
        )
    kinds = measures.energy_kinds(results)
    if "estimate" in kinds or "mixed" in kinds:
        found.append(
            f"Energy is an estimate: {measures.energy_formula(results)}. It compares variants on "
            "one machine; it is no measurement."
        )
    if "counters" in kinds:
        found.append("Energy counters are of whole devices: other work on them is counted too.")
    return found


def _zeros(results: Results) -> list[str]:
    """Return of which variants the weights were set to zero, and that this brings nothing here."""
    sparse = [
        text.plain(variant.name)
        for variant in results.variants
        if any("zeros_by_layer" in d for d in variant.details.values() if isinstance(d, dict))
    ]
    if not sparse:
        return []
    return [
        f"The zeros of {', '.join(sparse)} are stored and multiplied like any other weight: they "
        "bring neither size nor speed on any engine here."
    ]


def _power(results: Results) -> list[str]:
    """Return the smallest loss that the study could have shown."""
    losses = [
        loss
        for v in results.variants
        if v.against_baseline and v.against_baseline.primary_retention
        for loss in [text.finite(v.against_baseline.primary_retention.detectable)]
        if loss is not None and v.name != results.baseline
    ]
    if not losses:
        return []
    return [
        f"So many samples show a loss of {text.number(100 * min(losses), 2)} to "
        f"{text.number(100 * max(losses), 2)}% of the baseline's quality, depending on the "
        "variant, with 80% power; a smaller one may hide."
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
