"""What a run has written, as pandas tables: its answers, its judgements, the results of many runs; and a sweep's table.

load_answers(run).groupby("video").failed.mean()
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sfllava_bench.answers.journal import Record, read_journal
from sfllava_bench.questions.records import Question
from sfllava_bench.reports.page import render
from sfllava_bench.reports.results import text_rows
from sfllava_bench.reports.run import Run
from sfllava_bench.scores.judge import items_of, mark_of

ANSWER_COLUMNS = ("key", "video", "answer", "failed", "error", "seconds", "prompt_tokens", "new_tokens")
QUESTION_COLUMNS = ("key", "video", "group", "question", "reference")  # first, where the questions are given
JUDGEMENT_COLUMNS = (
    "judge", "wording", "key", "kind", "video", "score", "yes", "failed", "error", "served_model", "reply",
)  # fmt: skip
WHOLE = ("answered", "expected")  # columns of whole numbers, where a run that failed has none


def load_answers(run: str | os.PathLike, questions: Sequence[Question] | None = None) -> pd.DataFrame:
    """A run's answers, one row a question, in the order in which they came.

    Columns: key, video, answer (what the model wrote; the letter of a choice by likelihood; several texts a line
    each), failed, error, seconds (of the answer's own work, its share of what a film's questions do together),
    prompt_tokens, new_tokens (sums over a question's texts). Where there is none, a cell is missing.

    Args:
        run: a `Run`, or its folder.
        questions: of the run. With them there is a row for every question, in their order, those pending too, and the
            columns group, question and reference (the right answer; its letter before it, for a choice).

    Raises:
        JournalError: the file is not there or damaged.
        CountsError: it does not add up, or is of other questions.
    """
    outcome = Run(Path(run)).answers
    records = {**outcome.answers, **outcome.failures}
    if questions is None:
        return pd.DataFrame([answer_row(record) for record in records.values()], columns=list(ANSWER_COLUMNS))
    outcome.counts(list(questions))
    rows = [{**answer_row(records.get(one.key, {})), **question_row(one)} for one in questions]
    return pd.DataFrame(rows, columns=list(dict.fromkeys((*QUESTION_COLUMNS, *ANSWER_COLUMNS))))


def question_row(question: Question) -> dict[str, object]:
    """What is known of a question before it is asked."""
    letter = f"({question.answer_letter}) " if question.answer_letter else ""
    return {
        "key": question.key,
        "video": question.video,
        "group": question.group,
        "question": "\n".join(question.questions),
        "reference": f"{letter}{question.answer}" if question.has_reference else None,
    }


def answer_row(record: Record) -> dict[str, object]:
    """An answer's or a failure's record as a row."""
    tokens = {name: sum(record[name]) if name in record else None for name in ("prompt_tokens", "new_tokens")}
    return {
        "key": record.get("key"),
        "video": record.get("video"),
        "answer": "\n".join(record["answers"]) if record.get("answers") else record.get("letter"),
        "failed": "error" in record,
        "error": record.get("error"),
        "seconds": record.get("seconds"),
        **tokens,
    }


def load_judgements(run: str | os.PathLike, questions: Sequence[Question] | None = None) -> pd.DataFrame:
    """The judgements of a run, by all judges and wordings that were asked, one row a judgement.

    Columns: judge, wording, key, kind ("open_ended", or VCGBench's aspects), video, score (0 to 5), yes (open-ended
    only), failed, error, served_model, reply. Of several tries the last one counts.

    Args:
        run: a `Run`, or its folder.
        questions: of the run; with them judgements of earlier, other answers are left out.

    Raises:
        JournalError: a file is damaged.
        CountsError: the answers are of other questions.
    """
    wanted = None
    if questions is not None:
        outcome = Run(Path(run)).answers
        outcome.counts(list(questions))
        wanted = {item.mark for item in items_of(list(questions), outcome)}
    rows = []
    for path in sorted(Path(run).glob("judgements-*.jsonl")):
        header, records = read_journal(path)
        asked = {"judge": header["settings"].get("model"), "wording": header["settings"].get("wording")}
        last = {mark_of(record): record for record in records}
        rows += [
            {**record, **asked, "failed": "error" in record}
            for mark, record in last.items()
            if wanted is None or mark in wanted
        ]
    return pd.DataFrame(rows, columns=list(JUDGEMENT_COLUMNS))


def load_results(folder: str | os.PathLike) -> pd.DataFrame:
    """The numbers of all runs in a folder (or of the one whose folder it is), one row for each metric of a run.

    Columns: as in `Results.rows`.

    Raises:
        ResultsError: a results.json cannot be read.
    """
    runs = [Run(Path(folder))]
    if not runs[0].results_file.exists():
        runs = [Run(file.parent) for file in sorted(Path(folder).glob("*/results.json"))]
    return rows_frame([row for run in runs for row in run.results.rows()])


def rows_frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows of `Results.rows`, and of runs that failed, as a table; what a row has not is missing."""
    frame = pd.DataFrame(rows)
    return frame.astype({name: "Int64" for name in WHOLE if name in frame})


def records_of(frame: pd.DataFrame) -> list[dict[str, object]]:
    """A table's rows for JSON, None where a cell is missing."""
    whole = frame.astype(object)
    return whole.where(frame.notna(), None).to_dict("records")


def write_table(rows: list[dict[str, object]], out: str | Path) -> None:
    """table.json and table.html of a sweep, for machines and for people."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    whole = records_of(rows_frame(rows))
    text = json.dumps({"table": whole}, indent=1, ensure_ascii=False, allow_nan=False)
    (out / "table.json").write_text(f"{text}\n", encoding="utf-8")
    (out / "table.html").write_text(render("tables.html", title="Runs", tables={"": text_rows(whole)}), "utf-8")
