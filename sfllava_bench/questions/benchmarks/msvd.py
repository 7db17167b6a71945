"""MSVD-QA: open-ended questions about short clips of YouTube, made from captions."""

from sfllava_bench.questions.benchmarks.open_ended import OpenEnded
from sfllava_bench.questions.rows import Row

FIRST_WORDS = ("what", "who", "how", "when", "where")


class MSVD(OpenEnded):
    """Its question_type says nothing of the question: its types are the first words."""

    name, title = "msvd", "MSVD-QA"
    questions, videos = 6415, 245
    csv, json = {"": ("MSVD_QA.csv",)}, {"": ("val_q.json", "val_a.json")}
    column = "msvd"

    def group(self, row: Row, part: str, question: str) -> str:
        """The first word."""
        first = question.split()[0].lower()
        return first if first in FIRST_WORDS else "other"
