"""Text to token ids and back, and chats to prompts, without torch or transformers.

Every prompt goes through here once, so that all engines see the same ids.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from weightcut.errors import BrokenInput, UsageError
from weightcut.models.pieces import Pieces

if TYPE_CHECKING:
    import jinja2

# Templates may print today's date; a fixed one keeps the prompts of a study equal on every day.
_TODAY = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
# Tokens that end a turn in the chat templates of the field but that no eos entry may name.
_END_OF_TURN = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end|>",
    "<|eot|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|EOT|>",
)
# What answers are decoded after where the decoder drops a space that a text begins with.
_OPENING = "a"


class Tokenizer(Protocol):
    """What tasks, engines and data need of a tokenizer.

    vocab_size: number of ids, special ones included. stop_ids: the ids that end an answer.
    adds_bos: whether the tokenizer itself puts a begin-of-text id first; bos_id: which one.
    """

    vocab_size: int
    has_chat_template: bool
    stop_ids: tuple[int, ...]
    bos_id: int | None
    adds_bos: bool

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Return the ids of a text; `special` adds begin and end ids as the model expects them.

        Special tokens that are written out in the text (`<|im_end|>`) become their ids.
        """
        ...

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """Return the text of ids; bytes that are no UTF-8 become U+FFFD."""
        ...

    def decode_after(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """Return the text of ids that follow others, special ones left out.

        Some decoders drop a space that a text begins with; an answer does not begin the text.
        """
        ...

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of one token, which may be part of a character; none of a special one.

        The first of a text may have a space that `decode` drops.
        """
        ...

    def chat(self, messages: Sequence[dict[str, str]], prefill: str = "") -> str:
        """Return the prompt of a chat: rendered, the answer opened, and `prefill` put into it."""
        ...

    def chat_ids(
        self, messages: Sequence[dict[str, str]], prefill: str = ""
    ) -> tuple[str, list[int]]:
        """Return the prompt of a chat and its ids; what the messages say is text and no more.

        Special tokens that somebody has written out in a message (`<|im_end|>`) do not become
        control tokens, as they would in `encode(chat(messages))`.
        """
        ...

    def plain_ids(self, text: str) -> list[int]:
        """Return the ids of a text after the begin id; special tokens in it stay text."""
        ...


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a checkpoint or artifact folder.

    A folder with `scripted.json` has bytes as ids. Raises BrokenInput where files are missing or
    cannot be read.
    """
    if (folder / "scripted.json").is_file():
        return ByteTokenizer()
    return FolderTokenizer(folder)


class ByteTokenizer:
    """The scripted model's tokenizer: ids 0-255 are bytes, 256 ends the answer."""

    def __init__(self) -> None:
        self.vocab_size = 257
        self.has_chat_template = True
        self.stop_ids: tuple[int, ...] = (256,)
        self.bos_id: int | None = None
        self.adds_bos = False

    def encode(self, text: str, special: bool = False) -> list[int]:  # noqa: ARG002
        """Return the UTF-8 bytes of a text."""
        return list(text.encode("utf-8", "surrogatepass"))

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """Return the text of bytes; the end id is left out or shown as `<eos>`."""
        pieces = (bytes([i]) if i < 256 else b"" if skip_special else b"<eos>" for i in ids)
        return b"".join(pieces).decode("utf-8", "replace")

    def decode_after(self, before: Sequence[int], ids: Sequence[int]) -> str:  # noqa: ARG002
        """Return the text of ids that follow others."""
        return self.decode(ids)

    def token_bytes(self, token: int) -> bytes:
        """Return the byte of an id."""
        return bytes([token]) if token < 256 else b""

    def chat(self, messages: Sequence[dict[str, str]], prefill: str = "") -> str:
        """Return the chat as lines of `role: content`."""
        lines = [f"{message['role']}: {message['content']}\n" for message in messages]
        return "".join(lines) + "assistant: " + prefill

    def chat_ids(
        self, messages: Sequence[dict[str, str]], prefill: str = ""
    ) -> tuple[str, list[int]]:
        """Return the prompt of a chat and its ids; no text has the end's id."""
        prompt = self.chat(messages, prefill)
        return prompt, self.encode(prompt)

    def plain_ids(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return self.encode(text)


class FolderTokenizer:
    """The tokenizer of a Hugging Face folder: `tokenizer.json` and the files beside it."""

    def __init__(self, folder: Path) -> None:
        import tokenizers

        self._place = folder
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise BrokenInput(
                "the folder has no tokenizer.json",
                place=str(folder),
                cure="save it with transformers: AutoTokenizer.from_pretrained(X)"
                ".save_pretrained(FOLDER)",
            )
        try:
            self._backend: Any = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust library raises nothing narrower than Exception
            raise BrokenInput(f"cannot be read as a tokenizer: {error}", place=str(path)) from error
        # A folder may carry truncation or padding from training; a prompt is never cut.
        self._backend.no_truncation()
        self._backend.no_padding()
        self._config = _json(folder / "tokenizer_config.json")
        self.special = _special_tokens(folder, self._config)
        self.template = _template(folder, self._config)
        self.vocab_size: int = self._backend.get_vocab_size(with_added_tokens=True)
        self.has_chat_template = self.template is not None
        self.bos_id: int | None = self._id(self.special.get("bos_token"))
        if self.bos_id is None:
            self.bos_id = _first(_json(folder / "config.json").get("bos_token_id"))
        opening = self._backend.encode("a", add_special_tokens=True).ids[:1]
        self.adds_bos = opening != self._backend.encode("a", add_special_tokens=False).ids[:1]
        self.stop_ids = self._stop_ids()
        self._opening = self._dropping()
        self._specials = frozenset(
            i for i, token in self._backend.get_added_tokens_decoder().items() if token.special
        )

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Return the ids of a text; `special` adds begin and end ids as the model expects them."""
        return list(self._backend.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """Return the text of ids; bytes that are no UTF-8 become U+FFFD."""
        return str(self._backend.decode(list(ids), skip_special_tokens=skip_special))

    def decode_after(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """Return the text of ids that follow others, special ones left out."""
        if not self._opening or self._opens_turn(before[-1:]):
            return self.decode(ids)
        return self.decode([*self._opening, *ids])[len(_OPENING) :]

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of one token, none of a special one."""
        return b"" if token in self._specials else self._pieces.of(token)

    def _opens_turn(self, last: Sequence[int]) -> bool:
        """Return whether a space after this id is the template's, as that after `[/INST]` is."""
        if self._specials.intersection(last):
            return True
        return self.has_chat_template and not self.decode(last).endswith("\n")

    def chat(self, messages: Sequence[dict[str, str]], prefill: str = "") -> str:
        """Return the prompt of a chat: rendered, the answer opened, and `prefill` put into it.

        The text carries every special token, begin-of-text too: encode it with special=False.
        Raises UsageError where the model has no template, or where it refuses these messages.
        """
        if self.template is None:
            raise UsageError("the model has no chat template", place=str(self._place))
        import jinja2

        try:
            rendered = _compile(self.template).render(
                messages=[dict(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **self.special,
            )
        except jinja2.TemplateError as error:
            raise UsageError(
                f"the model's chat template refuses these messages: {error}",
                place=str(self._place),
            ) from error
        return rendered + prefill

    def chat_ids(
        self, messages: Sequence[dict[str, str]], prefill: str = ""
    ) -> tuple[str, list[int]]:
        """Return the prompt of a chat and its ids; what the messages say is text and no more.

        A mark goes into every special token that a message writes out; the rendered prompt is then
        encoded in pieces between marks, so that only the template's own tokens are found whole.
        """
        mark = _mark()
        marked = [
            {key: self._marked(text, mark) if key == "content" else text for key, text in m.items()}
            for m in messages
        ]
        pieces = self.chat(marked, self._marked(prefill, mark)).split(mark)
        return "".join(pieces), [one for piece in pieces for one in self.encode(piece)]

    def plain_ids(self, text: str) -> list[int]:
        """Return the ids of a text after the begin id; special tokens in it stay text."""
        mark = _mark()
        opening = [self.bos_id] if self.adds_bos and self.bos_id is not None else []
        pieces = self._marked(text, mark).split(mark)
        return [*opening, *(one for piece in pieces for one in self.encode(piece))]

    def _marked(self, text: str, mark: str) -> str:
        """Return the text with a mark after the first letter of every special token in it."""
        return self._control.sub(lambda found: found[0] + mark, text)

    @functools.cached_property
    def _control(self) -> re.Pattern[str]:
        """The first letter of every special token, whole tokens within one another included."""
        added = self._backend.get_added_tokens_decoder()
        tokens = [t.content for i, t in added.items() if t.special or i in self.stop_ids]
        whole = "|".join(re.escape(token) for token in tokens if len(token) > 1)
        return re.compile(f"(?s)(?=(?:{whole})).") if whole else re.compile(r"(?!)")

    @functools.cached_property
    def _pieces(self) -> Pieces:
        return Pieces(self._backend)

    def _dropping(self) -> list[int]:
        """Return the ids of _OPENING where a text may lose its first space, none elsewhere."""
        ids = self.encode("a b    c\n    d")
        whole = self.decode(ids)
        ends = ((self.decode(ids[:at]), self.decode(ids[at:])) for at in range(len(ids)))
        if all(whole == begin + end for begin, end in ends):
            return []
        opening = self.encode(_OPENING)
        return opening if self.decode(opening) == _OPENING else []

    def _id(self, token: str | None) -> int | None:
        found = None if token is None else self._backend.token_to_id(token)
        return None if found is None else int(found)

    def _stop_ids(self) -> tuple[int, ...]:
        """Return every id that ends an answer, whichever file names it."""
        stops: set[int] = set()
        for name in ("generation_config.json", "config.json"):
            listed = _json(self._place / name).get("eos_token_id")
            stops.update(listed if isinstance(listed, list) else [] if listed is None else [listed])
        tokens = [self.special.get("eos_token")]
        tokens += [token for token in _END_OF_TURN if token in (self.template or "")]
        stops.update(found for token in tokens if (found := self._id(token)) is not None)
        return tuple(sorted(stop for stop in stops if 0 <= stop < self.vocab_size))


def _mark() -> str:
    """Return letters of private use that nobody can foresee; templates leave them as they are."""
    return "".join(chr(0xE000 + byte) for byte in secrets.token_bytes(12))


def _json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty where the file is absent."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BrokenInput(f"is not valid JSON: {error}", place=str(path)) from error
    if not isinstance(found, dict):
        raise BrokenInput("holds no JSON object", place=str(path))
    return found


def _first(value: Any) -> int | None:
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, int) else None


def _special_tokens(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """Return `bos_token`, `eos_token`, ... as text; newer folders keep them in one file only."""
    found: dict[str, str] = {}
    for source in (_json(folder / "special_tokens_map.json"), config):
        for key, value in source.items():
            text = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(text, str):
                found[key] = text
    return found


def _template(folder: Path, config: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {entry["name"]: entry["template"] for entry in found}
        found = named.get("default")
    return found if isinstance(found, str) else None


@functools.lru_cache(maxsize=16)
def _compile(template: str) -> jinja2.Template:
    """Compile a chat template as transformers does (its `chat_template_utils`), sandboxed."""
    import jinja2.ext
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks the answer for training masks; here it changes nothing."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _TODAY.strftime
    return environment.from_string(template)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> NoReturn:
    import jinja2

    raise jinja2.TemplateError(message)
