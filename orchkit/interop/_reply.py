"""What a server's answer means: a reply, or an error that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from orchkit.errors import ModelError
from orchkit.interop import _wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx
    from pydantic import BaseModel

__all__ = ["Answered", "ModelCallError", "Reply", "ReplyInvalid", "fitted", "schema_of"]

M = TypeVar("M", bound="BaseModel")

_EXCERPT = 500


class ModelCallError(ModelError, RuntimeError):
    """A model server answered, but not with a completion.

    Trouble on the way, such as a refused connection or a time-out, is raised as httpx's own exceptions.

    Attributes
    ----------
    status : int
        HTTP status. Below 300 the answer came but could not be read; `code` is then "malformed".
    code : str or None
        What the server calls it: ``error.code``, else ``error.type`` of its answer.
    retry_after : float or None, seconds, >= 0
        How long the server asks to wait.
    url : str
        Where the call went, without user, password and query.
    body : str
        The first 500 characters of the answer, without the API key.

    Examples
    --------
    >>> error = ModelCallError("busy", status=429, code="rate_limit_exceeded", retry_after=2.0)
    >>> error.status, error.retry_after
    (429, 2.0)
    """

    status: int = 0
    code: str | None = None
    retry_after: float | None = None
    url: str = ""
    body: str = ""


class ReplyInvalid(ModelError, ValueError):
    """A model's answer does not fit what was asked for; pydantic's error is its cause.

    Attributes
    ----------
    text : str
        The whole answer.
    truncated : bool
        Whether it was cut at the limit of tokens.

    Examples
    --------
    >>> ReplyInvalid("not a Verdict", text="maybe").text
    'maybe'
    """

    text: str = ""
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered.

    Parameters
    ----------
    text : str
    model : str
        As the server names it.
    finish_reason : str or None
        "stop" at a natural end, "length" if the answer was cut, "content_filter", ...
    tokens_in, tokens_out : int, >= 0
        As the server counts them.
    cost_usd : float, US dollars
    metered : bool
        False if the server did not count tokens; then tokens and cost are 0 because they are unknown.

    Examples
    --------
    >>> Reply("Once upon a", "m", "length", 9, 4, 0.0).truncated
    True
    """

    text: str
    model: str
    finish_reason: str | None
    tokens_in: int
    tokens_out: int
    cost_usd: float
    metered: bool = True

    @property
    def truncated(self) -> bool:
        """Whether the answer was cut at the limit of tokens."""
        return self.finish_reason == "length"


@dataclass(frozen=True, slots=True, repr=False)
class Answered:
    """A response with what its errors need: the address to show and the key to hide, also from its repr."""

    response: httpx.Response
    url: str
    key: str

    def payload(self) -> dict[str, Any]:
        """Return the body of an answer that went well, a JSON object; raise ModelCallError for any other."""
        try:
            payload = self.response.json()
        except ValueError as error:
            if self.response.is_success:
                raise self._malformed() from error
            payload = None
        if not self.response.is_success:
            raise self._refused(payload)
        if not isinstance(payload, dict):
            raise self._malformed()
        return payload

    def choice(self, payload: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return text and finish reason; raise ModelCallError if there is no text."""
        found = _wire.choice(payload)
        if found is None:
            raise self._malformed()
        return found

    def _refused(self, payload: object) -> ModelCallError:
        if self.response.has_redirect_location:
            target = _wire.shown(self.response.headers["location"])
            return self._error("redirect", f"points to {target!r}")
        said = _wire.hidden(_wire.error_message(payload), self.key)
        code = _wire.error_code(payload)
        if code and _wire.hidden(code, self.key) != code:
            code = None
        named, quoted = f" ({code})" if code else "", f": {said[:200]!r}" if said else ""
        return self._error(code, f"answered {self.response.status_code}{named}{quoted}")

    def _malformed(self) -> ModelCallError:
        return self._error("malformed", f"answered {self.response.status_code} without a completion in text")

    def _error(self, code: str | None, what: str) -> ModelCallError:
        status, wait = self.response.status_code, _wire.retry_after(self.response.headers)
        return ModelCallError(
            _wire.hidden(f"{self.url} {what}. {_wire.advice(status, code, wait)}", self.key),
            status=status,
            code=code,
            retry_after=wait,
            url=self.url,
            # Hidden before the cut, which could leave half a key.
            body=_wire.hidden(self.response.text, self.key)[:_EXCERPT],
        )


def schema_of(answer: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a pydantic model; raise TypeError for anything else."""
    from pydantic import BaseModel

    if not (isinstance(answer, type) and issubclass(answer, BaseModel)):
        raise TypeError(f"answer must be a pydantic model class, got {answer!r}; put its fields in one")
    return answer.model_json_schema()


def fitted(reply: Reply, answer: type[M]) -> M:
    """Return a reply as an instance of `answer`; raise ReplyInvalid if it is none."""
    from pydantic import ValidationError

    try:
        return answer.model_validate_json(_wire.unfenced(reply.text))
    except ValidationError as misfit:
        flaws = [f"{'.'.join(map(str, one['loc']))} {one['msg']}".strip() for one in misfit.errors()[:3]]
        cure = "it was cut: raise max_tokens" if reply.truncated else "retry, or tell the model what is wrong"
        raise ReplyInvalid(
            f"the answer of {reply.model!r} is no {answer.__name__} ({'; '.join(flaws)}); {cure}. "
            f"It begins {reply.text[:80]!r}",
            text=reply.text,
            truncated=reply.truncated,
        ) from misfit
