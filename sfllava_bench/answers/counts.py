"""The counts of a run: expected = answered + failed + pending, always; and its answers read back from the file."""

from dataclasses import dataclass
from pathlib import Path

from sfllava_bench.answers.journal import Record, read_journal
from sfllava_bench.questions.records import Question, questions_fingerprint


class CountsError(RuntimeError):
    """Records that do not add up: answers of other questions, or two answers for one."""


@dataclass(frozen=True)
class Counts:
    """What became of the questions. pending: not yet tried, 0 when a run is complete."""

    expected: int
    answered: int
    failed: int
    pending: int

    def __post_init__(self) -> None:
        if self.expected != self.answered + self.failed + self.pending or min(vars(self).values()) < 0:
            raise CountsError(f"the counts do not balance: {self}")

    @property
    def complete(self) -> bool:
        return self.pending == 0

    def __str__(self) -> str:
        pending = f" + {self.pending} pending" if self.pending else ""
        return f"{self.expected} expected = {self.answered} answered + {self.failed} failed{pending}"


@dataclass(frozen=True)
class Outcome:
    """A finished or unfinished run's records, by question key.

    settings: of the file's first line.  answers, failures: records.  watched: one record for each watching of a video.
    sessions: one record for each time that the run was started.
    """

    settings: Record
    fingerprint: str
    answers: dict[str, Record]
    failures: dict[str, Record]
    watched: list[Record]
    sessions: list[Record]

    def counts(self, questions: list[Question]) -> Counts:
        """The counts over the questions that were to be answered.

        Raises:
            CountsError: the records are not of these questions.
        """
        keys = {question.key for question in questions}
        strange = (self.answers.keys() | self.failures.keys()) - keys
        if strange or self.settings.get("questions") != questions_fingerprint(questions):
            raise CountsError(
                f"the answers are of other questions than these {len(questions)} "
                f"(fingerprint {self.settings.get('questions')}; {len(strange)} unknown keys): "
                "load the annotations that the run was made with"
            )
        answered, failed = len(self.answers), len(self.failures)
        return Counts(len(keys), answered, failed, len(keys) - answered - failed)


def collect(settings: Record, fingerprint: str, records: list[Record]) -> Outcome:
    """Sort a run's records. A question that failed and was answered at a later try counts as answered.

    Raises:
        CountsError: a question has two answers, or none and no error, which no run writes.
    """
    answers: dict[str, Record] = {}
    failures: dict[str, Record] = {}
    for record in records:
        if "key" not in record:
            continue
        if not ("error" in record or "letter" in record or record.get("answers")):
            raise CountsError(f"question {record['key']!r} has neither answer nor error: the file was changed by hand")
        if record["key"] in answers:
            raise CountsError(f"question {record['key']!r} is answered twice: the file has been changed by hand")
        if "error" in record:
            failures[record["key"]] = record
        else:
            answers[record["key"]] = record
            failures.pop(record["key"], None)
    watched = [record for record in records if "watched" in record]
    sessions = [record["session"] for record in records if "session" in record]
    return Outcome(settings, fingerprint, answers, failures, watched, sessions)


def read_outcome(path: str | Path) -> Outcome:
    """A run's file, read without touching it.

    Raises:
        JournalError: it is not there or damaged.  CountsError: it does not add up.
    """
    header, records = read_journal(path)
    try:
        return collect(header["settings"], header["fingerprint"], records)
    except CountsError as error:
        raise CountsError(f"{path}: {error}") from None
