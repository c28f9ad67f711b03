"""The loss of knowledge distillation, computed a few rows at a time."""

from __future__ import annotations

from functools import cache
from typing import Any

# Numbers per chunk of logits: a few chunks in float32 stay in a core's cache.
_CHUNK = 1 << 17
IGNORED = -100


def distillation_loss(
    student: Any, teacher: Any, labels: Any, temperature: float = 1.0, alpha: float = 0.0
) -> Any:
    """Return the distillation loss of a batch as a scalar tensor, differentiable in `student`.

    (1 - alpha) * T^2 * KL(teacher || student at temperature T) + alpha * cross-entropy(labels),
    mean over the tokens that are predicted and whose label is not -100 (Hinton 2015,
    arXiv:1503.02531). The factor T^2 keeps the gradient's size when T changes.

    student, teacher: logits [windows, length, vocabulary] of any floating type; row i predicts
    label i + 1. labels: int64 [windows, length]. Loss and gradient come out of one sweep over a
    few rows at a time, so the float32 copies of the logits never exist as a whole.
    """
    return _function().apply(student, teacher, labels, temperature, alpha)


def divergence(student: Any, teacher: Any, labels: Any) -> tuple[float, float, int]:
    """Return the sums of KL(teacher || student) and cross-entropy in nats, and the tokens."""
    import torch

    kl = nll = 0.0
    tokens = 0
    with torch.no_grad():
        for rows in _chunks(student, labels):
            target, keep = _targets(labels, rows)
            q = student[rows][keep].float().log_softmax(-1)
            p = teacher[rows][keep].float().log_softmax(-1)
            kl += float((p.exp() * (p - q)).sum())
            nll -= float(q.gather(-1, target[:, None]).sum())
            tokens += int(target.numel())
    return kl, nll, tokens


@cache
def _function() -> Any:
    """Return the autograd function; made here so that importing this module needs no torch."""
    import torch

    class DistillationLoss(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(
            ctx: Any, student: Any, teacher: Any, labels: Any, temperature: float, alpha: float
        ) -> Any:
            counted = labels[:, 1:] != IGNORED
            tokens = max(1, int(counted.sum()))
            # Zeroing as many bytes as the logits costs a twentieth of a step: only where needed.
            whole = bool(counted.all())
            gradient = torch.empty_like(student) if whole else torch.zeros_like(student)
            gradient[:, -1] = 0
            total = 0.0
            for rows in _chunks(student, labels):
                target, keep = _targets(labels, rows)
                logits = student[rows][keep].float()
                given = teacher[rows][keep].to(torch.float32, copy=True)
                loss, slope = _soft(logits, given, temperature)
                loss, slope = loss * (1 - alpha), slope.mul_(1 - alpha)
                if alpha:
                    hard, hard_slope = _hard(logits, target)
                    loss, slope = loss + alpha * hard, slope.add_(hard_slope, alpha=alpha)
                total += loss
                gradient[rows][keep] = slope.div_(tokens).to(gradient.dtype)
            ctx.save_for_backward(gradient)
            return student.new_tensor(total / tokens, dtype=torch.float32)

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> Any:
            (gradient,) = ctx.saved_tensors
            return gradient.mul_(upstream), None, None, None, None

    return DistillationLoss


def _soft(student: Any, teacher: Any, temperature: float) -> tuple[float, Any]:
    """Return T^2 * KL summed over rows, and its slope in the student's logits.

    Overwrites `teacher`. KL = sum p (t - s) - lse(t) + lse(s): no logarithm of a whole row.
    """
    import torch

    if temperature != 1:
        student, teacher = student / temperature, teacher.div_(temperature)
    q, p = student.softmax(-1), teacher.softmax(-1)
    shift = _log_sum_exp(student, q) - _log_sum_exp(teacher, p)
    loss = torch.linalg.vecdot(p, teacher.sub_(student)) + shift
    return float(loss.sum()) * temperature**2, q.sub_(p).mul_(temperature)


def _log_sum_exp(logits: Any, probabilities: Any) -> Any:
    """Return the logarithm of each row's sum of exponentials, given its softmax."""
    top, at = logits.max(-1)
    return top - probabilities.gather(-1, at[:, None])[:, 0].log()


def _hard(student: Any, target: Any) -> tuple[float, Any]:
    """Return the cross-entropy summed over rows, and its slope in the student's logits."""
    q = student.log_softmax(-1)
    loss = -float(q.gather(-1, target[:, None]).sum())
    slope = q.exp_()
    slope[range(len(target)), target] -= 1
    return loss, slope


def _chunks(student: Any, labels: Any) -> Any:
    """Yield (window, positions) slices of the rows that predict a token."""
    step = max(1, _CHUNK // student.shape[-1])
    last = labels.shape[1] - 1
    for window in range(labels.shape[0]):
        for start in range(0, last, step):
            yield window, slice(start, min(start + step, last))


def _targets(labels: Any, rows: tuple[int, slice]) -> tuple[Any, Any]:
    """Return the labels that these rows predict, and which of the rows count."""
    window, positions = rows
    target = labels[window, positions.start + 1 : positions.stop + 1]
    keep = target != IGNORED
    return target[keep], keep if not bool(keep.all()) else slice(None)
