"""What a client is told when something is wrong, in OpenAI's error form."""

from __future__ import annotations

from typing import Any


class Problem(Exception):
    """An answer other than 200: status, message, OpenAI's type and code, the parameter's name.

    quotes: the message is an upstream's, which may repeat what was asked.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        quotes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after, self.quotes = retry_after, quotes
        self.counted = False
        """Whether metrics and log know of it."""

    def body(self) -> dict[str, Any]:
        """Return the body: `{"error": {"message", "type", "param", "code"}}`."""
        return {
            "error": {
                "message": printable(self.message),
                "type": _TYPES.get(self.status, "server_error" if self.status >= 500 else _BAD),
                "param": None if self.param is None else printable(self.param),
                "code": self.code,
            }
        }

    def logged(self) -> str:
        """Return what a log without prompts may hold of it."""
        return str(self.code) if self.quotes else self.message

    def headers(self) -> dict[str, str]:
        """Return the headers that go with it."""
        found = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.status == 401:
            found["www-authenticate"] = "Bearer"
        return found


_BAD = "invalid_request_error"
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def printable(text: str) -> str:
    """Return the text with what UTF-8 cannot hold replaced, and not too long."""
    return text[:2000].encode("utf-8", "replace").decode("utf-8")


class ClientGone(Exception):
    """The client closed the connection before it had its answer."""
