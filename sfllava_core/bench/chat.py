"""Talking to a judge over the OpenAI protocol: any server that speaks it, rate limits, retries with back-off."""

import os
import random
import threading
import time
from dataclasses import dataclass, field

from sfllava_core.bench.replies import ReplyError, Verdict, parse_reply
from sfllava_core.bench.wording import OWN, Wording

RETRIED = (408, 409, 425, 429)


class JudgeError(RuntimeError):
    """The judge cannot be used at all: wrong key, no such model, no credit, no answer. Says what to do."""


class ItemError(RuntimeError):
    """One judgement that could not be had. Attribute: tries."""

    def __init__(self, message: str, tries: int, transport: bool, unreachable: bool = False):
        super().__init__(message)
        self.tries, self.transport, self.unreachable = tries, transport, unreachable


@dataclass(frozen=True)
class Judge:
    """Which judge, and how to treat it. The default model is the paper's.

    model: as the server calls it.  base_url: an OpenAI-compatible endpoint; None is OpenAI's own.
    api_key: None takes the environment variable OPENAI_API_KEY; never recorded.
    wording: what it is told.  temperature: None leaves it to the server.
    structured: ask the server to force the reply into the JSON that is wanted, for small local judges that ramble; not
        the paper's way, and not every server can.
    concurrency: requests under way at once.  requests_per_minute: None is no limit of ours.
    tries: for one judgement.  first_wait_s, longest_wait_s: back-off between tries, doubling; a server's Retry-After
    goes before it.  timeout_s: for one request.
    """

    model: str = "gpt-3.5-turbo-0125"
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    wording: Wording = OWN
    temperature: float | None = 0.0
    structured: bool = False
    concurrency: int = 8
    requests_per_minute: float | None = None
    tries: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.tries < 1 or (self.requests_per_minute or 1) <= 0:
            raise ValueError(
                f"concurrency={self.concurrency}, tries={self.tries}, requests_per_minute={self.requests_per_minute}: "
                "each must be at least 1 (or above 0)"
            )


@dataclass(frozen=True)
class Reply:
    """A verdict, the text it was read from, the model that the server says it used, tries and tokens it took."""

    verdict: Verdict
    text: str
    served_model: str
    tries: int
    tokens: int | None


class Gate:
    """Lets requests through one by one: no faster than allowed, and not before a server's Retry-After is over."""

    def __init__(self, requests_per_minute: float | None):
        self.interval = 60 / requests_per_minute if requests_per_minute else 0.0
        self.free_at, self.lock = 0.0, threading.Lock()

    def enter(self, stopped: threading.Event) -> None:
        """Wait for one's turn."""
        with self.lock:
            at = max(self.free_at, time.monotonic())
            self.free_at = at + self.interval
        stopped.wait(max(0.0, at - time.monotonic()))

    def close_for(self, seconds: float) -> None:
        """Let nobody through for some seconds."""
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic() + seconds)


class Chat:
    """An open connection to a judge. Use it with `with`; its methods may be called from many threads."""

    def __init__(self, judge: Judge):
        import openai

        self.judge, self.openai, self.gate, self.stopped = (
            judge,
            openai,
            Gate(judge.requests_per_minute),
            threading.Event(),
        )
        key = judge.api_key or os.environ.get("OPENAI_API_KEY")
        if not key and judge.base_url is None:
            raise JudgeError("OpenAI's judge needs an API key: set OPENAI_API_KEY, or give base_url of another server")
        self.client = openai.OpenAI(
            api_key=key or "none", base_url=judge.base_url, timeout=judge.timeout_s, max_retries=0
        )

    def __enter__(self) -> "Chat":
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.client.close()

    def ask(self, messages: list[dict[str, str]], needs_yes: bool) -> Reply:
        """One verdict, with as many tries as the judge is allowed.

        Raises:
            ItemError: no verdict after all tries, or a request that the server refuses.
            JudgeError: an error that no later request would be spared.
        """
        problem, transport, unreachable, tries = "", False, False, 0
        for tries in range(1, self.judge.tries + 1):
            self.gate.enter(self.stopped)
            if self.stopped.is_set():
                break
            wait = self.judge.first_wait_s * 2 ** (tries - 1) * random.uniform(0.5, 1.0)
            try:
                return self.request(messages, needs_yes, tries)
            except ReplyError as error:
                problem, transport, unreachable, wait = f"unusable reply: {error}", False, False, 0.0
            except self.openai.APIStatusError as error:
                self.refuse_for_good(error)
                problem, transport, unreachable = f"HTTP {error.status_code}: {message_of(error)}", True, False
                if error.status_code < 500 and error.status_code not in RETRIED:
                    break
                asked = retry_after(error)
                wait = wait if asked is None else asked
                if error.status_code == 429:
                    self.gate.close_for(min(wait, self.judge.longest_wait_s))
            except self.openai.APIConnectionError as error:  # timeouts too
                timeout = isinstance(error, self.openai.APITimeoutError)
                problem = f"{'no answer in time' if timeout else 'no connection'}: {error.__cause__ or error}"
                transport, unreachable = True, not timeout
            except (self.openai.APIError, ValueError) as error:  # a body that is not what the protocol says
                problem, transport, unreachable = f"unreadable answer: {type(error).__name__}: {error}", True, False
            if tries < self.judge.tries:
                self.stopped.wait(min(wait, self.judge.longest_wait_s))
        raise ItemError(problem or "stopped", tries, transport, unreachable)

    def request(self, messages: list[dict[str, str]], needs_yes: bool, tries: int) -> Reply:
        """One request."""
        options = {} if self.judge.temperature is None else {"temperature": self.judge.temperature}
        if self.judge.structured:
            options["response_format"] = {"type": "json_schema", "json_schema": schema(needs_yes)}
        answer = self.client.chat.completions.create(model=self.judge.model, messages=messages, **options)
        choices = getattr(answer, "choices", None)
        if not choices:
            raise ValueError(f"no choices in the answer ({str(answer)[:100]!r})")
        text = choices[0].message.content
        tokens = getattr(getattr(answer, "usage", None), "total_tokens", None)
        return Reply(parse_reply(text, needs_yes), text, str(answer.model or ""), tries, tokens)

    def refuse_for_good(self, error) -> None:
        """Raise where every other request would fail alike."""
        said = message_of(error)
        if isinstance(error, (self.openai.AuthenticationError, self.openai.PermissionDeniedError)):
            raise JudgeError(f"the judge refuses the key (HTTP {error.status_code}): {said}: check OPENAI_API_KEY")
        if isinstance(error, self.openai.NotFoundError):
            where = self.judge.base_url or "OpenAI"
            raise JudgeError(f"{where} knows no model {self.judge.model!r}, or no such address: {said}")
        if error.status_code == 429 and "insufficient_quota" in f"{error.code} {error.type} {said}":
            raise JudgeError(f"the judge's credit is used up: {said}")

    def ping(self) -> str:
        """Ask for one trivial judgement; the model that the server says it used.

        Raises:
            JudgeError: it does not answer.
        """
        messages = [
            {"role": "user", "content": 'Reply with exactly this and nothing else: {"pred": "yes", "score": 5}'}
        ]
        try:
            return self.ask(messages, needs_yes=False).served_model
        except ItemError as error:
            where = self.judge.base_url or "OpenAI"
            how = "does not answer" if error.transport else "answers, but gives no verdict (structured=True may help)"
            raise JudgeError(f"the judge {self.judge.model!r} at {where} {how}: {error}") from error


def schema(needs_yes: bool) -> dict:
    """The JSON schema of a verdict, as the protocol wants it."""
    fields: dict[str, dict] = {"pred": {"type": "string", "enum": ["yes", "no"]}} if needs_yes else {}
    fields["score"] = {"type": "integer", "minimum": 0, "maximum": 5}
    inside = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {"name": "verdict", "strict": True, "schema": inside}


def message_of(error) -> str:
    """A server's own words, short."""
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)[:200]


def retry_after(error) -> float | None:
    """Seconds that the server asks to wait, if it does."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None
