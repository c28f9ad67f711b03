"""The losses of training, computed a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from weightcut.compression.training import IGNORED

# Numbers per chunk of logits: a few chunks in float32 stay in a core's cache.
_CHUNK = 1 << 17
# Of probability that a softmax leaves outside the kept tokens, so that its logarithm is finite.
_LEAST = 1e-9
# (logits [rows, vocabulary] in float32, labels [rows], (window, positions)) -> loss summed over
# the rows in nats, its slope in the logits
Rows = Callable[[Any, Any, tuple[int, Any]], tuple[float, Any]]


@dataclass(frozen=True)
class Kept:
    """The teacher's most probable tokens at each place; what is left is one more event.

    ids: int [windows, length, k]. probabilities: floating [windows, length, k], of the softmax at
    the loss's temperature. Row i predicts label i + 1.
    """

    ids: Any
    probabilities: Any


def distillation_loss(
    student: Any, teacher: Any, labels: Any, temperature: float = 1.0, alpha: float = 0.0
) -> Any:
    """Return the distillation loss of a batch as a scalar tensor, differentiable in `student`.

    (1 - alpha) * T^2 * KL(teacher || student at temperature T) + alpha * cross-entropy(labels),
    mean over the tokens that are predicted and whose label is not -100 (Hinton 2015,
    arXiv:1503.02531). The factor T^2 keeps the gradient's size when T changes.

    student: logits [windows, length, vocabulary] of any floating type; row i predicts label i + 1.
    teacher: such logits too, or what is kept of its predictions (`Kept`). labels: int64 [windows,
    length]. Loss and gradient come out of one sweep over a few rows at a time, so the float32
    copies of the logits never exist as a whole.
    """

    def rows(logits: Any, target: Any, place: tuple[int, Any]) -> tuple[float, Any]:
        loss, slope = _toward(teacher, logits, place, temperature)
        if not alpha:
            return loss, slope
        hard, hard_slope = _hard(logits, target)
        mixed = slope.mul_(1 - alpha).add_(hard_slope, alpha=alpha)
        return (1 - alpha) * loss + alpha * hard, mixed

    return _function().apply(student, labels, rows)


def label_loss(student: Any, labels: Any) -> Any:
    """Return the mean cross-entropy of the labels that are not -100, differentiable in `student`.

    Shapes and memory as in `distillation_loss`.
    """
    return _function().apply(student, labels, lambda logits, target, _: _hard(logits, target))


def divergence(student: Any, teacher: Any, labels: Any) -> tuple[float, float, int]:
    """Return the sums of KL(teacher || student) and cross-entropy in nats, and the tokens.

    teacher: logits, or what is kept of its predictions: then the tokens not kept count as one.
    """
    import torch

    kl = nll = 0.0
    tokens = 0
    with torch.no_grad():
        for rows in _chunks(student, labels):
            target, keep = _targets(labels, rows)
            logits = student[rows][keep].float()
            kl += _toward(teacher, logits, (*rows, keep), 1.0)[0]
            nll += _hard(logits, target)[0]
            tokens += int(target.numel())
    return kl, nll, tokens


def likelihood(student: Any, labels: Any) -> tuple[float, int]:
    """Return the sum of the labels' cross-entropy in nats, and how many count."""
    import torch

    nll, tokens = 0.0, 0
    with torch.no_grad():
        for rows in _chunks(student, labels):
            target, keep = _targets(labels, rows)
            nll += _hard(student[rows][keep].float(), target)[0]
            tokens += int(target.numel())
    return nll, tokens


@cache
def _function() -> Any:
    """Return the autograd function; made here so that importing this module needs no torch."""
    import torch

    class RowLoss(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, student: Any, labels: Any, loss_of: Any) -> Any:
            counted = labels[:, 1:] != IGNORED
            tokens = max(1, int(counted.sum()))
            # Zeroing as many bytes as the logits costs a twentieth of a step: only where needed.
            whole = bool(counted.all())
            gradient = torch.empty_like(student) if whole else torch.zeros_like(student)
            gradient[:, -1] = 0
            total = 0.0
            for rows in _chunks(student, labels):
                target, keep = _targets(labels, rows)
                if target.numel():
                    loss, slope = loss_of(student[rows][keep].float(), target, (*rows, keep))
                    total += loss
                    gradient[rows][keep] = slope.div_(tokens).to(gradient.dtype)
            ctx.save_for_backward(gradient)
            return student.new_tensor(total / tokens, dtype=torch.float32)

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> Any:
            (gradient,) = ctx.saved_tensors
            return gradient.mul_(upstream), None, None

    return RowLoss


def _toward(teacher: Any, logits: Any, place: Any, temperature: float) -> tuple[float, Any]:
    """Return T^2 * KL from the teacher's rows at that place, and its slope in the logits."""
    import torch

    window, positions, keep = place
    if isinstance(teacher, Kept):
        ids = teacher.ids[window, positions][keep].long()
        given = teacher.probabilities[window, positions][keep].float()
        return _sparse(logits, ids, given, temperature)
    return _soft(logits, teacher[window, positions][keep].to(torch.float32, copy=True), temperature)


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


def _sparse(student: Any, ids: Any, given: Any, temperature: float) -> tuple[float, Any]:
    """Return T^2 * KL over the kept tokens and the rest as one event, and its slope.

    Merging events can only lower a divergence: it is a bound from below, near where the kept ones
    hold nearly all probability. Within the rest the slope asks for the student's own proportions.
    """
    q = (student / temperature if temperature != 1 else student).softmax(-1)
    mine = q.gather(-1, ids)
    rest = (1 - given.sum(-1, keepdim=True)).clamp_min(_LEAST)
    my_rest = (1 - mine.sum(-1, keepdim=True)).clamp_min(_LEAST)
    given = given.clamp_min(_LEAST)
    loss = (given * (given / mine.clamp_min(_LEAST)).log()).sum() + (
        rest * (rest / my_rest).log()
    ).sum()
    slope = q.mul_(1 - rest / my_rest)
    slope.scatter_(-1, ids, mine - given)
    return float(loss) * temperature**2, slope.mul_(temperature)


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


def _chunks(student: Any, labels: Any) -> Iterator[tuple[int, Any]]:
    """Yield (window, positions) slices of the rows that predict a token."""
    step = max(1, _CHUNK // student.shape[-1])
    last = labels.shape[1] - 1
    for window in range(labels.shape[0]):
        for start in range(0, last, step):
            yield window, slice(start, min(start + step, last))


def _targets(labels: Any, rows: tuple[int, Any]) -> tuple[Any, Any]:
    """Return the labels that these rows predict, and which of the rows count."""
    window, positions = rows
    target = labels[window, positions.start + 1 : positions.stop + 1]
    keep = target != IGNORED
    return target[keep], keep if not bool(keep.all()) else slice(None)
