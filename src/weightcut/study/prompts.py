"""Requests from tasks: rendered and tokenized once, the same ids for every variant and engine."""

from __future__ import annotations

from collections.abc import Sequence

from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import documents
from weightcut.models.tokenizer import Tokenizer
from weightcut.records import ProfileSpec, Request, Sample, digest
from weightcut.tasks.task import GenerationTask, samples_of


def task_requests(task: GenerationTask, tokenizer: Tokenizer, seed: int) -> list[Request]:
    """Return one request for each sample and repeat; ids are `<sample>/<repeat>`.

    Raises BrokenInput where two samples have one id.
    """
    return [
        _request(task, sample, repeat, tokenizer, seed)
        for sample in samples_of(task)
        for repeat in range(task.samples)
    ]


def _request(
    task: GenerationTask, sample: Sample, repeat: int, tokenizer: Tokenizer, seed: int
) -> Request:
    chat = tokenizer.has_chat_template
    prompt = (
        tokenizer.chat(sample.messages, prefill=sample.prefill) if chat else sample.plain_prompt
    )
    return Request(
        id=f"{sample.id}/{repeat}",
        prompt=prompt,
        prompt_ids=tuple(tokenizer.encode(prompt, special=not chat)),
        max_new_tokens=task.max_new_tokens,
        stop=task.chat_stop if chat else task.plain_stop,
        stop_ids=tokenizer.stop_ids,
        temperature=task.temperature,
        seed=_seed(seed, sample.id, repeat),
    )


def _seed(study: int, sample: str, repeat: int) -> int:
    """Return a seed of its own for every answer, so that no two share their luck."""
    return int(digest([study, sample, repeat])[:8], 16)


def profile_requests(
    spec: ProfileSpec, tasks: Sequence[GenerationTask], tokenizer: Tokenizer, seed: int
) -> list[Request]:
    """Return the timed requests: different prompts, all answered with spec.new_tokens tokens.

    The prompts are those of the first generation task, evenly picked; where the study has none,
    windows of held-out source. There is one more than spec.prompts: the first only warms up.
    """
    wanted = spec.prompts + 1
    if tasks:
        offered = task_requests(tasks[0], tokenizer, seed)
    else:
        texts = (document.text for document in documents("evaluation"))
        blocks = token_blocks(texts, tokenizer, wanted, 160)
        offered = [
            Request(id=f"text-{i}", prompt=tokenizer.decode(row), prompt_ids=tuple(row))
            for i, row in enumerate(blocks.ids.tolist())
        ]
    step = max(1, len(offered) // wanted)
    timed = offered[::step][:wanted]
    changes = {"max_new_tokens": spec.new_tokens, "ignore_stop": True, "stop": ()}
    return [one.model_copy(update=changes) for one in timed]


def prompts_digest(requests: Sequence[Request]) -> str:
    """Return a digest of everything that the requests ask for."""
    return digest([one.model_dump(mode="json") for one in requests])
