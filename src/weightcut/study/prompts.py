"""Requests from tasks: rendered and tokenized once, the same ids for every variant and engine."""

from __future__ import annotations

from collections.abc import Sequence

from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import documents
from weightcut.errors import UsageError
from weightcut.models.tokenizer import Tokenizer
from weightcut.records import ProfileSpec, Request, Sample, digest
from weightcut.tasks.task import GenerationTask, samples_of

WINDOW = 160  # tokens of a timed prompt where the study has no task with prompts
_SHORTEST = 8


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
    spec: ProfileSpec,
    tasks: Sequence[GenerationTask],
    tokenizer: Tokenizer,
    seed: int,
    positions: int = 0,
) -> list[Request]:
    """Return the timed requests: different prompts, all answered with spec.new_tokens tokens.

    The prompts are those of the first generation task, as `timed` picks them; where the study has
    none, windows of held-out source. positions: tokens that the model takes in all, 0 where that is
    not known.
    """
    if tasks:
        task = tasks[0]
        different = dict[tuple[int, ...], Request]()
        for sample in samples_of(task):
            asked = _request(task, sample, 0, tokenizer, seed)
            different.setdefault(asked.prompt_ids, asked)
        offered = list(different.values())
    else:
        texts = (document.text for document in documents("evaluation"))
        length = window_length(spec, positions)
        blocks = token_blocks(texts, tokenizer, spec.prompts + 1, length)
        offered = [
            Request(id=f"text-{i}", prompt=tokenizer.decode(row), prompt_ids=tuple(row))
            for i, row in enumerate(blocks.ids.tolist())
        ]
    changes = {"max_new_tokens": spec.new_tokens, "ignore_stop": True, "stop": ()}
    picked = timed([len(one.prompt_ids) for one in offered], spec, positions)
    return [offered[index].model_copy(update=changes) for index in picked]


def timed(lengths: Sequence[int], spec: ProfileSpec, positions: int) -> list[int]:
    """Return which of different prompts are timed, by their lengths: evenly picked of what fits.

    That is one more than spec.prompts, of which the first only warms up, or all where there are no
    more. Raises UsageError where none leaves room for an answer.
    """
    longest = positions - spec.new_tokens if positions else max(lengths, default=0)
    fitting = [index for index, length in enumerate(lengths) if length <= longest]
    if not fitting:
        raise _no_room(spec, positions)
    step = max(1, len(fitting) // (spec.prompts + 1))
    return fitting[::step][: spec.prompts + 1]


def window_length(spec: ProfileSpec, positions: int) -> int:
    """Return the tokens of a timed window of text; UsageError where there is no room for any."""
    length = min(WINDOW, positions - spec.new_tokens) if positions else WINDOW
    if length < _SHORTEST:
        raise _no_room(spec, positions)
    return length


def _no_room(spec: ProfileSpec, positions: int) -> UsageError:
    return UsageError(
        f"no prompt leaves room for the {spec.new_tokens} tokens of a timed answer: the model "
        f"takes {positions} tokens in all",
        place="profile.new_tokens",
        cure="ask for fewer, or time nothing (profile: null)",
    )


def prompts_digest(requests: Sequence[Request]) -> str:
    """Return a digest of everything that the requests ask for."""
    return digest([one.model_dump(mode="json") for one in requests])
