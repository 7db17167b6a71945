"""MSRVTT-QA: like MSVD-QA, about other videos."""

from typing import ClassVar

from sfllava_bench.questions.benchmarks.msvd import MSVD


class MSRVTT(MSVD):
    """Columns, file names and types of question are MSVD-QA's."""

    name, title = "msrvtt", "MSRVTT-QA"
    questions, videos = 12278, 497
    csv: ClassVar = {"": ("MSRVTT_QA.csv",)}
    column = "msrvtt"
