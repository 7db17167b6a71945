"""Talking to a judge over the OpenAI protocol: any server that speaks it, rate limits, retries with back-off."""

import json
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sfllava_bench.scores.replies import Answer, BodyError, ReplyError, Verdict, parse_reply, read_body, read_refusal
from sfllava_bench.scores.wire import Response, Wire, WireError, is_address
from sfllava_bench.scores.wording import OWN, Wording

OPENAI = "https://api.openai.com/v1"
ACCOUNT = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
RETRIED = (408, 409, 425, 429)
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # the terminal's controls, halves of letters
FILLER = 3  # letters: a key as short as "x" is no secret, but what local servers are given
Got = TypeVar("Got")
Own = TypeVar("Own", bound="Chat")
SHOWN, KEPT = 200, 2000  # characters of a server's text in a message; of a reply in its record


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
    goes before it.  timeout_s: for one request, from its first byte to the last of the answer.
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
    """A verdict, the text it was read from, the model that the server says it used, tries and tokens it took.

    Long texts are cut, and the key is taken out of them.
    """

    verdict: Verdict
    text: str
    served_model: str
    tries: int
    tokens: int | None


class RefusalError(RuntimeError):
    """The server answers with a status that is none of success. Attribute: response."""

    def __init__(self, response: Response):
        super().__init__(f"HTTP {response.status}")
        self.response = response


class Gate:
    """Lets requests through one by one: no faster than allowed, and not before a server's Retry-After is over."""

    def __init__(self, requests_per_minute: float | None):
        self.interval = 60 / requests_per_minute if requests_per_minute else 0.0
        self.free_at, self.lock = 0.0, threading.Lock()

    def enter(self, stopped: threading.Event) -> None:
        """Wait for one's turn; it may be put off while one waits."""
        while not stopped.is_set():
            with self.lock:
                left = self.free_at - time.monotonic()
                if left <= 0:
                    self.free_at = time.monotonic() + self.interval
                    return
            stopped.wait(left)

    def close_for(self, seconds: float) -> None:
        """Let nobody through for some seconds."""
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic() + seconds)


class Chat:
    """An open connection to a judge. Use it with `with`; its methods may be called from many threads."""

    who = "judge"  # in messages

    def __init__(self, judge: Judge):
        self.judge, self.gate, self.stopped = judge, Gate(judge.requests_per_minute), threading.Event()
        self.key = (judge.api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
        if not self.key and judge.base_url is None:
            raise JudgeError(
                f"OpenAI's {self.who} needs an API key: set OPENAI_API_KEY, or give base_url of another server"
            )
        if not (self.key.isascii() and (self.key + "x").isprintable()):
            raise JudgeError("the API key has characters that cannot be sent: check OPENAI_API_KEY")
        base_url = judge.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
        if not is_address(base_url):
            raise JudgeError(f"base_url={base_url!r} is no address: give one such as http://127.0.0.1:8080/v1")
        account = {name: os.environ[variable] for name, variable in ACCOUNT.items() if os.environ.get(variable)}
        headers = {"Authorization": f"Bearer {self.key or 'none'}", **account}
        self.wire = Wire(f"{base_url.rstrip('/')}/chat/completions", headers, judge.timeout_s)

    def __enter__(self: Own) -> Own:  # a reasoner is one too
        self.wire.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.wire.__exit__()

    def abort(self) -> None:
        """Break off all that is under way: requests, and waits between tries."""
        self.stopped.set()
        self.wire.abort()

    def ask(self, messages: list[dict[str, str]], needs_yes: bool) -> Reply:
        """One verdict, with as many tries as the judge is allowed. Errors as in `attempt`."""
        return self.attempt(lambda tries: self.request(messages, needs_yes, tries))

    def attempt(self, request: Callable[[int], Got]) -> Got:
        """What one request gives, with as many tries as are allowed; it is told which try it is.

        Raises:
            ItemError: nothing usable after all tries, or a request that the server refuses.
            JudgeError: an error that no later request would be spared.
        """
        problem, transport, unreachable, tries = "", False, False, 0
        for tries in range(1, self.judge.tries + 1):
            self.gate.enter(self.stopped)
            if self.stopped.is_set():
                break
            wait = self.judge.first_wait_s * 2 ** (tries - 1) * random.uniform(0.5, 1.0)
            try:
                return request(tries)
            except ReplyError as error:
                problem, transport, unreachable, wait = f"unusable reply: {error}", False, False, 0.0
            except BodyError as error:
                problem, transport, unreachable = f"unreadable answer: {error}", True, False
            except RefusalError as error:
                said = self.refuse_for_good(error.response)
                problem, transport, unreachable = f"{error}: {said}", True, False
                if error.response.status < 500 and error.response.status not in RETRIED:
                    break
                asked = retry_after(error.response)
                wait = wait if asked is None else asked
                if error.response.status == 429:
                    self.gate.close_for(min(wait, self.judge.longest_wait_s))
            except WireError as error:
                problem, transport, unreachable = self.told(str(error)), True, error.unreachable
            if tries < self.judge.tries:
                self.stopped.wait(min(wait, self.judge.longest_wait_s))
        raise ItemError(problem or "stopped", tries, transport, unreachable)

    def request(self, messages: list[dict[str, str]], needs_yes: bool, tries: int) -> Reply:
        """One request."""
        asked: dict[str, object] = {"model": self.judge.model, "messages": messages}
        if self.judge.temperature is not None:
            asked["temperature"] = self.judge.temperature
        if self.judge.structured:
            asked["response_format"] = {"type": "json_schema", "json_schema": schema(needs_yes)}
        answer = self.post(asked)
        try:
            verdict = parse_reply(answer.text, needs_yes)
        except ReplyError as error:
            raise ReplyError(f"{error}: {self.told(answer.text)!r}") from None
        return Reply(verdict, self.told(answer.text, KEPT), self.told(answer.model), tries, answer.tokens)

    def post(self, asked: dict[str, object]) -> Answer:
        """Send a request's body; what the answer's body says.

        Raises:
            RefusalError: a status that is none of success.  BodyError: not what the protocol says.
            WireError: no answer.
        """
        response = self.wire.post(json.dumps(asked).encode())
        if not 200 <= response.status < 300:
            raise RefusalError(response)
        try:
            return read_body(response.body)
        except BodyError as error:
            raise BodyError(f"{error}: {self.told(response.body.decode(errors='replace'))!r}") from None

    def told(self, text: str, most: int = SHOWN) -> str:
        """A server's text as it may be shown and recorded: without the key, without controls, its middle left out."""
        if len(self.key) > FILLER:
            text = text.replace(self.key, "[API key]")
        text = UNPRINTABLE.sub("\ufffd", text)
        return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"

    def refuse_for_good(self, response: Response) -> str:
        """What the server says; raises where every other request would fail alike."""
        said = self.told(read_refusal(response.body) or response.location)
        if response.status in (401, 403):
            raise JudgeError(f"the {self.who} refuses the key (HTTP {response.status}): {said}: check OPENAI_API_KEY")
        if response.status == 404:
            where = self.judge.base_url or "OpenAI"
            raise JudgeError(f"{where} knows no model {self.judge.model!r}, or no such address: {said}")
        if response.status == 429 and b"insufficient_quota" in response.body:
            raise JudgeError(f"the {self.who}'s credit is used up: {said}")
        return said

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


def retry_after(response: Response) -> float | None:
    """Seconds that the server asks to wait, if it does."""
    try:
        return max(0.0, float(response.retry_after))
    except ValueError:
        return None
