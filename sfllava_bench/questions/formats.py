"""Rows of the known annotation formats -> questions.

Columns, with an unnamed one before them that counts the rows:

    MSVD, MSRVTT, TGIF, ActivityNet    video_name, question, answer, question_id, video_id, question_type
    NExT-QA, EgoSchema, IntentQA       the same with options a0 .. a4 (JSON: candidates), NExT-QA with answer_number
    VCGBench                           as the first; consistency as two files (JSON: two questions in a list)
    PocketBench                        as the first or the second, with any number of options and a column `family`
"""

from collections import Counter
from collections.abc import Callable
from string import ascii_uppercase

from sfllava_bench.questions.records import Question
from sfllava_bench.questions.rows import OPTION_COLUMN, Row, Rows, place_in


def read_open(rows: Rows) -> list[Question]:
    """Question and answer in one row."""
    return [
        question
        for row in rows.of()
        for question in rows.make(row, rows.key(row), [rows.question_text(row)], row.text("answer"))
    ]


def read_joined(rows: Rows) -> list[Question]:
    """Questions in one file, answers in another, joined by question_id, and TGIF's repeats by their order too."""
    asked, answers = (numbered(rows.of(n)) for n in (0, 1))
    repeats = {name for name, count in asked if count > 1}
    if repeats and list(asked) != list(answers):
        first, second = (table.file.name for table in rows.tables)
        rows.problems.append(f"{second}: question_ids repeat, so they must come in the order of {first}")
    found = []
    for occurrence, row in asked.items():
        partner = answers.pop(occurrence, None)
        if partner is None:
            row.wrong(f"question_id {occurrence[0]!r} has no answer in {rows.tables[1].file.name}")
            continue
        merged = Row(row.file, row.number, {**partner.fields, **row.fields}, rows.problems)
        key = rows.key(merged)
        key = f"{key}#{occurrence[1]}" if key and occurrence[0] in repeats else key
        found += rows.make(merged, key, [rows.question_text(row)], partner.text("answer"))
    for (name, _), row in answers.items():
        row.wrong(f"question_id {name!r} has no question in {rows.tables[0].file.name}")
    return found


def numbered(rows: list[Row]) -> dict[tuple[str, int], Row]:
    """Rows by (question_id, 1 for the first row that has it, 2 for the next ...)."""
    seen: Counter[str] = Counter()
    result = {}
    for row in rows:
        name = str(row.fields.get("question_id"))
        seen[name] += 1
        result[name, seen[name]] = row
    return result


def read_choice(rows: Rows) -> list[Question]:
    """Question with options; the answer must be one of them."""
    found = []
    for row in rows.of():
        options = row_options(row, fixed=rows.benchmark.name != "pocketbench")
        answer = row.text("answer")
        index = None if options is None or answer is None else answer_place(row, options, answer)
        texts = [rows.question_text(row)] if index is not None else [None]
        found += rows.make(row, rows.key(row), texts, answer, options=options or (), answer_index=index)
    return found


def row_options(row: Row, fixed: bool) -> tuple[str, ...] | None:
    """The options' texts; five where their number is fixed."""
    given = row.fields.get("candidates")
    if given is None:
        columns = sorted((c for c in row.fields if OPTION_COLUMN.fullmatch(str(c))), key=lambda c: int(c[1:]))
        given = [row.fields[column] for column in columns]
        while given and not fixed and not str(given[-1]).strip():
            given.pop()
    if not isinstance(given, list) or not all(isinstance(option, str) and option.strip() for option in given):
        row.wrong(f"an option is empty or no text: {given!r:.200}")
        return None
    if len(given) != 5 if fixed else not 2 <= len(given) <= len(ascii_uppercase):
        row.wrong(f"{len(given)} options, {'5' if fixed else f'2 to {len(ascii_uppercase)}'} are needed")
        return None
    return tuple(given)


def answer_place(row: Row, options: tuple[str, ...], answer: str) -> int | None:
    """Which option is the answer: `answer_number` where there is one, else the first that equals it."""
    number = row.fields.get("answer_number")
    if number in (None, ""):
        if answer in options:
            return options.index(answer)
        row.wrong(f"answer {answer!r} is none of its {len(options)} options")
        return None
    place = place_in(number, len(options))
    if place is None:
        row.wrong(f"answer_number {number!r:.40} is not 0 to {len(options) - 1}")
        return None
    if options[place] != answer:
        row.wrong(f"answer_number {number} is option {options[place]!r}, but answer is {answer!r}")
        return None
    return place


def read_pair(rows: Rows) -> list[Question]:
    """VCGBench's consistency part as two files: joined by question_id, same video, same answer."""
    first, second = (by_id(rows.of(n)) for n in (0, 1))
    for name in second.keys() - first.keys():
        second[name].wrong(f"question_id {name!r} is not in {rows.tables[0].file.name}")
    found = []
    for name, row in first.items():
        if name not in second:
            row.wrong(f"question_id {name!r} is not in {rows.tables[1].file.name}")
            continue
        other = second[name]
        for column in ("video_name", "answer"):
            if row.fields.get(column) != other.fields.get(column):
                row.wrong(f"{column} is not that of row {other.number} in {other.file.name}")
        texts = [rows.question_text(row), rows.question_text(other)]
        found += rows.make(row, rows.key(row), texts, row.text("answer"))
    return found


def by_id(rows: list[Row]) -> dict[object, Row]:
    """Rows by question_id; one that comes again is a problem."""
    found: dict[object, Row] = {}
    for row in rows:
        name = row.fields.get("question_id")
        if name in found:
            row.wrong(f"question_id {name!r} is that of row {found[name].number} too, it must be unique")
        found.setdefault(name, row)
    return found


def read_list(rows: Rows) -> list[Question]:
    """VCGBench's consistency part as JSON: `question` is a list of two."""
    found = []
    for row in rows.of():
        texts = row.fields.get("question")
        if not isinstance(texts, list) or len(texts) != 2 or not all(isinstance(t, str) and t.strip() for t in texts):
            row.wrong(f"question is {texts!r:.80}: a list of two texts is needed")
            continue
        found += rows.make(row, rows.key(row), list(texts), row.text("answer"))
    return found


READERS: dict[str, Callable[[Rows], list[Question]]] = {
    "open": read_open,
    "joined": read_joined,
    "choice": read_choice,
    "pair": read_pair,
    "list": read_list,
}
