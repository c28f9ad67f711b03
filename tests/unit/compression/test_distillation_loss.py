from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from weightcut.compression import distillation_loss as module
from weightcut.compression.distillation_loss import (
    Kept,
    distillation_loss,
    divergence,
    label_loss,
    likelihood,
)


def logits(seed: int, windows: int = 2, length: int = 7, vocabulary: int = 50) -> torch.Tensor:
    return 3 * torch.randn(windows, length, vocabulary, generator=torch.manual_seed(seed))


def by_the_book(
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    alpha: float,
) -> torch.Tensor:
    size = student.shape[-1]
    target = labels[:, 1:].reshape(-1)
    keep = target != -100
    s, t = (x[:, :-1].reshape(-1, size)[keep] for x in (student, teacher))
    soft = functional.kl_div(
        functional.log_softmax(s / temperature, -1),
        functional.softmax(t / temperature, -1),
        reduction="batchmean",
    )
    hard = functional.cross_entropy(s, target[keep])
    return (1 - alpha) * temperature**2 * soft + alpha * hard


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("chunk", [60, 1 << 17])
def test_value_and_slope_are_those_of_the_formula(
    temperature: float, alpha: float, masked: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    teacher = logits(1)
    labels = torch.randint(0, 50, (2, 7), generator=torch.manual_seed(2))
    if masked:
        labels[0, :4] = -100
        labels[1, 6] = -100
    ours, theirs = (logits(0).requires_grad_() for _ in range(2))
    loss = distillation_loss(ours, teacher, labels, temperature, alpha)
    expected = by_the_book(theirs, teacher, labels, temperature, alpha)
    (2 * loss).backward()
    (2 * expected).backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_equal_models_have_no_loss_and_no_slope() -> None:
    student = logits(0).bfloat16().requires_grad_()
    labels = torch.zeros(2, 7, dtype=torch.int64)
    loss = distillation_loss(student, student.detach().clone(), labels)
    loss.backward()
    assert abs(loss.item()) < 1e-5
    assert student.grad is not None
    assert float(student.grad.abs().max()) == 0


def test_a_broken_model_shows_in_the_loss() -> None:
    student = logits(0)
    student[1, 2, 3] = float("nan")
    assert distillation_loss(student, logits(1), torch.zeros(2, 7, dtype=torch.int64)).isnan()


def test_divergence_sums_what_torch_sums() -> None:
    student, teacher = logits(0), logits(1)
    labels = torch.randint(0, 50, (2, 7), generator=torch.manual_seed(2))
    kl, nll, tokens = divergence(student, teacher, labels)
    assert tokens == 12
    assert kl / tokens == pytest.approx(
        float(by_the_book(student, teacher, labels, 1, 0)), rel=1e-5
    )
    assert nll / tokens == pytest.approx(
        float(by_the_book(student, teacher, labels, 1, 1)), rel=1e-5
    )


def kept(teacher: torch.Tensor, k: int, temperature: float) -> Kept:
    shares, ids = (teacher / temperature).softmax(-1).topk(k)
    return Kept(ids, shares)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_kept_predictions_merge_the_rest_into_one_event(temperature: float, alpha: float) -> None:
    student, teacher = logits(1).double().requires_grad_(), logits(2).double()
    labels = torch.randint(0, 50, (2, 7), generator=torch.manual_seed(3))
    given = kept(teacher, 5, temperature)
    found = distillation_loss(student.float(), given, labels, temperature, alpha)
    rows, p = student[:, :-1], given.probabilities[:, :-1]
    q = (rows / temperature).softmax(-1).gather(-1, given.ids[:, :-1])
    whole = [torch.cat([x, 1 - x.sum(-1, keepdim=True)], -1) for x in (p, q)]
    soft = (whole[0] * (whole[0] / whole[1]).log()).sum(-1).mean() * temperature**2
    hard = functional.cross_entropy(rows.reshape(-1, 50), labels[:, 1:].reshape(-1))
    expected = (1 - alpha) * soft + alpha * hard
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    ours, book = (torch.autograd.grad(loss, student)[0] for loss in (found, expected))
    torch.testing.assert_close(ours, book, rtol=1e-3, atol=1e-6)


def test_all_tokens_kept_are_the_whole_divergence() -> None:
    student, teacher = logits(1), logits(2)
    labels = torch.randint(0, 50, (2, 7), generator=torch.manual_seed(3))
    exact = divergence(student, teacher, labels)
    assert divergence(student, kept(teacher, 50, 1.0), labels) == pytest.approx(exact, rel=1e-4)
    assert divergence(student, kept(teacher, 5, 1.0), labels)[0] < exact[0]


def test_the_label_loss_is_cross_entropy() -> None:
    student = logits(1).requires_grad_()
    labels = torch.randint(0, 50, (2, 7), generator=torch.manual_seed(3))
    labels[0, 3:] = -100
    found = label_loss(student, labels)
    expected = functional.cross_entropy(student[:, :-1].reshape(-1, 50), labels[:, 1:].reshape(-1))
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    ours, book = (torch.autograd.grad(loss, student)[0] for loss in (found, expected))
    torch.testing.assert_close(ours, book, rtol=1e-4, atol=1e-6)
    nll, tokens = likelihood(student, labels)
    assert nll / tokens == pytest.approx(float(expected.detach()), rel=1e-5)
