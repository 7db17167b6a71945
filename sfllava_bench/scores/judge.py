"""Judges answers with a language model: the paper's metric for open-ended questions, and VCGBench's five scores.

Each judgement is a line in a file of its own, with the fingerprint of the prediction that it is of, so it is never
used for another; a judge that fails leaves a record that says so. Start it again and it does what is left.
"""

from collections import Counter
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from sfllava_bench.answers.counts import Counts, Outcome
from sfllava_bench.answers.journal import Journal, Record, read_journal
from sfllava_bench.questions.records import MULTIPLE_CHOICE, OPEN_ENDED, Question, fingerprint, questions_fingerprint
from sfllava_bench.scores.chat import Chat, ItemError, Judge, JudgeError

GIVE_UP_AFTER = 10  # failures one after another, with no success between


@dataclass(frozen=True)
class Item:
    """One judgement to be had: a question's answer, in one respect."""

    question: Question
    kind: str
    predictions: list[str]

    @property
    def mark(self) -> tuple[str, str, str]:
        """What a judgement must agree with to be this item's: question, respect, and the words judged."""
        judged = [self.question.answer, *self.question.questions, *self.predictions]
        return self.question.key, self.kind, fingerprint(judged)


@dataclass(frozen=True)
class Judgements:
    """Judgements by (question key, kind), of exactly the answers that they were asked for.

    failures: error by (key, kind).  expected: how many there should be, answers that failed included.
    stopped: why judging ended early; empty where it did not.
    """

    found: dict[tuple[str, str], Record]
    failures: dict[tuple[str, str], str]
    expected: int
    unanswered: int
    settings: Record
    stopped: str = ""

    @property
    def counts(self) -> Counts:
        """expected = judged + failed (no answer to judge, or no verdict) + pending."""
        failed = len(self.failures) + self.unanswered
        return Counts(self.expected, len(self.found), failed, self.expected - len(self.found) - failed)

    @property
    def served_models(self) -> dict[str, int]:
        """Judgements by the model name that the server gave; more than one means that it changed under way."""
        return dict(Counter(record["served_model"] for record in self.found.values()))


def kinds_of(question: Question) -> tuple[str, ...]:
    """What a question's answer is judged in; nothing, where there is no reference to judge it by."""
    if question.task == MULTIPLE_CHOICE or not question.has_reference:
        return ()
    return question.aspects or (OPEN_ENDED,)


def items_of(questions: list[Question], outcome: Outcome) -> list[Item]:
    """All judgements that can be had of a run's answers."""
    return [
        Item(question, kind, outcome.answers[question.key]["answers"])
        for question in questions
        if question.key in outcome.answers
        for kind in kinds_of(question)
    ]


def judge_answers(
    questions: list[Question], outcome: Outcome, judge: Judge, path: str | Path, *, progress: bool = True
) -> Judgements:
    """Judge every answer that is not judged yet; what failed at an earlier start is tried again.

    Args:
        path: the JSON-lines file of these judgements; made, or gone on with.

    Raises:
        JudgeError: the judge cannot be used at all.
        JournalError: the file is of another judge, wording or benchmark, or in use.
    """
    items = items_of(questions, outcome)
    with Journal(path, "judgements", settings_of(questions, judge)) as journal, Chat(judge) as chat:
        done = {mark_of(record) for record in journal.records if "error" not in record}
        left = [item for item in items if item.mark not in done]
        stopped = ""
        bar = tqdm(total=len(items), initial=len(items) - len(left), disable=not progress, unit="judgement")
        with bar, closing(verdicts(chat, left)) as coming:
            bad = 0
            for record, error in coming:
                if stopped and error is not None:
                    continue  # it was broken off, not tried to the end
                journal.append(record)
                bar.update()
                bad = bad + 1 if error is not None else 0
                if error is not None and (error.unreachable or bad >= GIVE_UP_AFTER):
                    stopped = f"the judge does not answer any more: {error}"
                    chat.stopped.set()
        return sort_judgements(questions, outcome, journal.settings, journal.records, stopped)


def settings_of(questions: list[Question], judge: Judge) -> Record:
    """All that can change a judgement."""
    kinds = sorted({kind for question in questions for kind in kinds_of(question)})
    missing = [kind for kind in kinds if kind not in judge.wording.prompts]
    if missing or not kinds:
        reason = f"wording {judge.wording.name!r} has no {', '.join(missing)}" if missing else "nothing is to be judged"
        raise JudgeError(
            f"{reason}: multiple choice needs no judge, and a question without an answer has nothing to be judged by; "
            "a wording file must hold each kind that is judged"
        )
    return {
        "benchmark": questions[0].benchmark,
        "questions": questions_fingerprint(questions),
        "model": judge.model,
        "temperature": judge.temperature,
        "structured": judge.structured,
        "wording": judge.wording.name,
        "wording_fingerprint": judge.wording.fingerprint(kinds),
    }


def judgements_file(folder: str | Path, settings: Record) -> Path:
    """Where the judgements of a judge and wording are kept: another judge's go into another file."""
    return Path(folder) / f"judgements-{fingerprint(settings)[:8]}.jsonl"


def verdicts(chat: Chat, items: list[Item]) -> Generator[tuple[Record, ItemError | None], None, None]:
    """A record for each item as its verdict comes, several requests under way at once.

    Once the chat is stopped nothing new is asked; verdicts that are under way still come.
    """
    coming, waiting = iter(items), set[Future]()
    with ThreadPoolExecutor(chat.judge.concurrency, thread_name_prefix="judge") as pool:
        try:
            while True:
                while len(waiting) < 2 * chat.judge.concurrency and (item := next(coming, None)) is not None:
                    waiting.add(pool.submit(one, chat, item))
                if not waiting:
                    return
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished if not future.cancelled())
                if chat.stopped.is_set():
                    coming = iter(())
                    cancel(waiting)
        finally:
            cancel(waiting)
            chat.abort()  # nobody waits for an answer or a back-off when the work is broken off


def cancel(futures: set[Future]) -> None:
    """Take back what has not begun."""
    for future in futures:
        future.cancel()


def one(chat: Chat, item: Item) -> tuple[Record, ItemError | None]:
    """Judge one item; a failure is a record too."""
    key, kind, mark = item.mark
    record: Record = {"key": key, "kind": kind, "prediction": mark, "video": item.question.video}
    messages = chat.judge.wording.messages(kind, item.question, item.predictions)
    try:
        reply = chat.ask(messages, needs_yes=kind == OPEN_ENDED)
    except ItemError as error:
        return {**record, "error": str(error), "tries": error.tries}, error
    verdict = {"score": reply.verdict.score} | ({"yes": reply.verdict.yes} if kind == OPEN_ENDED else {})
    told = {"served_model": reply.served_model, "reply": reply.text, "tries": reply.tries, "tokens": reply.tokens}
    return {**record, **verdict, **told}, None


def mark_of(record: Record) -> tuple[str, str, str]:
    """What a record is a judgement of."""
    return record["key"], record["kind"], record["prediction"]


def sort_judgements(
    questions: list[Question], outcome: Outcome, settings: Record, records: list[Record], stopped: str = ""
) -> Judgements:
    """The records that are of these answers; those of earlier, other answers are left out."""
    by_mark = {mark_of(record): record for record in records}  # the last try of each: what is judged is not tried again
    found, failures = {}, {}
    for item in items_of(questions, outcome):
        record = by_mark.get(item.mark)
        if record is not None and "error" in record:
            failures[item.question.key, item.kind] = record["error"]
        elif record is not None:
            found[item.question.key, item.kind] = record
    kinds = {question.key: len(kinds_of(question)) for question in questions}
    unanswered = sum(number for key, number in kinds.items() if key in outcome.failures)
    return Judgements(found, failures, sum(kinds.values()), unanswered, settings, stopped)


def read_judgements(path: str | Path, questions: list[Question], outcome: Outcome) -> Judgements:
    """The judgements in a file, of these answers; no judge is asked.

    Raises:
        JournalError: the file is not there or damaged.
    """
    header, records = read_journal(path)
    return sort_judgements(questions, outcome, header["settings"], records)
