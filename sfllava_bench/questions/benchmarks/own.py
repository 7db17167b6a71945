"""Own questions on own videos: one file, CSV or JSON lines, whose columns anybody can write.

    video      the video's name in its folder, with or without extension
    question   what is asked
    answer     the right answer; of a choice its text or its letter. A row without one is asked, and not scored
    options    a JSON list, such as ["a dog", "a cat"], or columns a0, a1 ... in its place; 2 to 26, each row its own
    key, type  a name for the question, and its type, for the report

All but video and question may be left out.
"""

import json
from collections import Counter
from pathlib import Path
from string import ascii_uppercase

from sfllava_bench.questions.benchmarks.base import Benchmark, Files
from sfllava_bench.questions.benchmarks.multiple_choice import checked_options, option_cells
from sfllava_bench.questions.records import OPEN_ENDED, Question
from sfllava_bench.questions.rows import Row, Rows
from sfllava_bench.questions.tables import AnnotationError, half_character

SUFFIXES = (".csv", ".jsonl", ".json")
NEEDED = ("video", "question")


class OwnQuestions(Benchmark):
    """Open questions and choices, mixed as they come; those without an answer are not scored."""

    name, title, task = "own", "Own questions", OPEN_ENDED
    key, video_column = "key", "video"

    def files(self, path: Path) -> Files:
        """One file."""
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            raise AnnotationError([f"{path}: own questions are one file: {', '.join(SUFFIXES)}"])
        return {"": (path,)}

    def questions_in(self, rows: Rows) -> list[Question]:
        """A row, a question."""
        columns = rows.tables[0].columns
        absent = [column for column in NEEDED if column not in columns]
        if columns and absent:
            rows.problems.append(
                f"{rows.tables[0].file.name}: it lacks the column {' and '.join(absent)}; it has "
                f"{', '.join(map(repr, columns))}. Needed are video and question; answer and options where there are"
            )
            return []
        found, asked = [], Counter[str]()
        for row in rows.of():
            video = str(row.fields.get("video"))
            asked[video] += 1
            key = row.text("key") if "key" in row.fields else f"{video}#{asked[video]}"
            options = own_options(row)
            answer, index = own_answer(row, options or ())
            texts = [row.text("question") if options is not None else None]
            found += self.make(rows, row, key, texts, answer, options=options or (), answer_index=index)
        return found


def own_options(row: Row) -> tuple[str, ...] | None:
    """The options' texts, none for an open question; None, and a problem, where they cannot be read."""
    given = row.fields.get("options")
    if given is None or given == "":
        given = option_cells(row)
        while given and not str(given[-1]).strip():
            given.pop()
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = None
    if not isinstance(given, list) or half_character({"options": given}):
        told = f"options is {row.fields['options']!r:.80}"
        row.wrong(f'{told}: give a JSON list of texts, such as ["a dog", "a cat"], or columns a0, a1 ...')
        return None
    texts = [str(one) if isinstance(one, (int, float)) and not isinstance(one, bool) else one for one in given]
    return checked_options(row, texts, None) if texts else ()


def own_answer(row: Row, options: tuple[str, ...]) -> tuple[str | None, int | None]:
    """(the right answer, its place among the options); ("", None) where there is none, (None, None) if it is wrong."""
    given = row.fields.get("answer")
    if given is None or (isinstance(given, str) and not given.strip()):
        return "", None
    answer = row.text("answer")
    if answer is None or not options:
        return answer, None
    places = [place for place, option in enumerate(options) if option.strip() == answer.strip()]
    if len(places) > 1:
        row.wrong(f"answer {answer!r} is {len(places)} of its options: give its letter")
        return None, None
    letters = ascii_uppercase[: len(options)]
    if not places and len(answer.strip()) == 1 and answer.strip().upper() in letters:
        places = [letters.index(answer.strip().upper())]
    if not places:
        row.wrong(f"answer {answer!r} is none of its {len(options)} options, and no letter from A to {letters[-1]}")
        return None, None
    return options[places[0]], places[0]
