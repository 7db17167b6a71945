"""A language model behind the OpenAI protocol that reads captions: the judge's client, asked for plain text.

Run = a folder with reasoning.jsonl: one line a question, on the disk before the next; what failed is tried again.
"""

import re
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sfllava_bench.answers.counts import Counts
from sfllava_bench.answers.journal import Journal, Record
from sfllava_bench.captions.prompts import Messages
from sfllava_bench.scores.chat import Chat, ItemError, Judge, JudgeError
from sfllava_bench.scores.replies import Answer

TOKENS = re.compile(r"(\d[\d,]*) tokens")
GIVE_UP_AFTER = 10  # requests that fail one after another
Work = Callable[["Reasoner"], Record]  # answers one question, JSON-able; may ask several times


class Reasoner(Chat):
    """An open connection to a language model; how it is treated (tries, limits, waits) is a `Judge`'s settings."""

    who = "reasoner"

    def answer(self, body: Mapping[str, object]) -> Answer:
        """One reply to a request's body (`LLoVi.request`); the model is the connection's.

        Raises:
            ItemError, JudgeError: as in `Chat.attempt`.
        """
        asked = {**body, "model": self.judge.model}

        def request(tries: int) -> Answer:
            answer = self.post(asked)
            return replace(answer, text=self.told(answer.text, len(answer.text)), model=self.told(answer.model))

        return self.attempt(request)

    def complete(self, body: Mapping[str, object]) -> str:
        """The text of `answer`."""
        return self.answer(body).text

    def ping(self) -> str:
        """Ask for one word; the model that the server says it used.

        Raises:
            JudgeError: it does not answer.
        """
        try:
            return self.answer({"messages": [{"role": "user", "content": "Say yes."}], "temperature": 0.0}).model
        except ItemError as error:
            where = self.judge.base_url or "OpenAI"
            raise JudgeError(f"the reasoner {self.judge.model!r} at {where} does not answer: {error}") from error

    def asker(self, request: Callable[[Messages], dict[str, object]]) -> Callable[[Messages], str]:
        """A method's `ask`, by the request's body that its setting makes."""
        return lambda messages: self.complete(request(messages))


def fit(tokens: int, room: int, captions: int, every: int = 1) -> None:
    """Whether a request fits a language model's context.

    Args:
        tokens: of the whole request.
        room: tokens of the context that are left for it.
        captions: how many there are of the video; each `every`-th is in the request.

    Raises:
        ValueError: it does not; says the numbers, and each how many-th caption would, were all equally long.
    """
    if tokens <= room:
        return
    wider = -(-every * tokens // max(room, 1))
    way = f"every={wider} would fit if all are alike" if wider < captions else "no number of captions would fit"
    raise ValueError(f"{tokens:,} tokens of captions and question, the context has room for {room:,}: {way}")


def with_stride(said: str, captions: int, every: int = 1) -> str:
    """A server's refusal; where it tells of tokens and its context, with the stride that would fit (`fit`)."""
    numbers = [int(number.replace(",", "")) for number in TOKENS.findall(said)]
    if "context" not in said or len(numbers) < 2:
        return said
    try:
        fit(max(numbers), min(numbers), captions, every)
    except ValueError as error:
        return f"{said} ({error})"
    return said


def reason(work: Mapping[str, Work], judge: Judge, path: str | Path, settings: Record) -> tuple[list[Record], Counts]:
    """Answer what is not answered yet, several at a time; what failed at an earlier start is tried again.

    Args:
        work: by question.
        path: the JSON-lines file; made, or gone on with. `settings` is all that can change an answer.

    Returns:
        The records, each question's last one, and the counts. A server that does not answer any more leaves the rest
        pending.

    Raises:
        JudgeError: the language model cannot be used at all.
        JournalError: the file is of other settings, or in use.
    """
    with Journal(path, "reasoning", settings) as journal, Reasoner(judge) as reasoner:
        done = {record["key"] for record in journal.records if "error" not in record}
        bad = 0
        with closing(answers(reasoner, {key: one for key, one in work.items() if key not in done})) as coming:
            for record, error in coming:
                if reasoner.stopped.is_set() and error is not None:
                    continue  # it was broken off, not tried to the end
                journal.append(record)
                bad = 0 if error is None else bad + 1
                if error is not None and (error.unreachable or bad >= GIVE_UP_AFTER):
                    reasoner.stopped.set()
        last = {record["key"]: record for record in journal.records if record["key"] in work}
        failed = sum("error" in record for record in last.values())
        return list(last.values()), Counts(len(work), len(last) - failed, failed, len(work) - len(last))


def answers(reasoner: Reasoner, work: Mapping[str, Work]) -> Generator[tuple[Record, ItemError | None], None, None]:
    """Records as they come, with the error of a request that failed. What a method refuses is a failure of its own."""

    def one(key: str) -> tuple[Record, ItemError | None]:
        try:
            return {"key": key, **work[key](reasoner)}, None
        except ItemError as error:
            return {"key": key, "error": str(error), "tries": error.tries}, error
        except ValueError as error:  # a reply that cannot be read, a video too short for the method
            return {"key": key, "error": str(error)}, None

    left, under_way = iter(work), set[Future]()
    with ThreadPoolExecutor(reasoner.judge.concurrency, thread_name_prefix="reasoner") as pool:
        try:
            while True:
                while not reasoner.stopped.is_set() and len(under_way) < reasoner.judge.concurrency:
                    if (key := next(left, None)) is None:
                        break
                    under_way.add(pool.submit(one, key))
                if not under_way:
                    return
                finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        except BaseException:
            reasoner.abort()  # nobody waits for an answer or a back-off when the work is broken off
            raise
