"""What metrics are called in texts for people."""

from __future__ import annotations

from collections.abc import Iterable

NAMES = {
    "codebleu": "CodeBLEU",
    "bleu": "BLEU",
    "corpus_bleu": "corpus BLEU",
    "exact_match": "exact match",
    "passed": "pass@1",
    "parses": "answers that parse",
    "degenerate": "degenerate answers",
    "token_limit": "cut at the token limit",
    "repetition": "repetitive answers",
    "bits_per_byte": "bits per byte",
    "kl": "KL divergence (nats/token)",
    "top1_agreement": "top-1 agreement",
    "top1_accuracy": "top-1 accuracy",
    "flips_lost": "top-1 right to wrong",
    "flips_gained": "top-1 wrong to right",
    "n": "samples",
    "mean_logprob": "mean log-probability (nats/token)",
    "nll_per_token": "loss (nats/token)",
    "pooled_mass": "probability outside the top k",
    "prompt_tokens": "prompt tokens",
}


def metric_name(metric: str) -> str:
    """Return a metric's name in a sentence or a heading; one without a name keeps its key."""
    return NAMES.get(metric, metric)


def joules(kinds: Iterable[str | None]) -> str:
    """Return the unit of energies known as `kinds` say, with a word where any is an estimate."""
    found = {kind for kind in kinds if kind}
    if found <= {"counters"}:
        return "J"
    return "J, estimate" if found == {"estimate"} else "J, partly estimate"
