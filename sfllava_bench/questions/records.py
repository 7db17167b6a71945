"""What a benchmark is, and what one of its questions is: the records that everything else in `bench` works on."""

import hashlib
import json
from dataclasses import asdict, dataclass
from string import ascii_uppercase

OPEN_ENDED, MULTIPLE_CHOICE, TEXT_GENERATION = "open_ended", "multiple_choice", "text_generation"
ASPECTS = {  # table 3's columns, and the part of VCGBench that each is judged on
    "correctness": "generic",
    "detail": "generic",
    "context": "generic",
    "temporal": "temporal",
    "consistency": "consistency",
}


@dataclass(frozen=True)
class Question:
    """One row of a benchmark.

    key: unique within the benchmark.  video: the video's name as the annotation file has it, without extension.
    questions: one text; two paraphrases for VCGBench's consistency part, both asked, judged together.
    answer: the reference answer.  options, answer_index: for multiple choice (answer_index counts from 0).
    group: the type of question, for the report.  aspects: what a judge scores 0-5, for text generation.
    """

    benchmark: str
    key: str
    video: str
    questions: tuple[str, ...]
    answer: str
    task: str
    options: tuple[str, ...] = ()
    answer_index: int | None = None
    group: str = ""

    @property
    def aspects(self) -> tuple[str, ...]:
        """The VCGBench aspects that this question's answer is scored on; empty for other tasks."""
        if self.task != TEXT_GENERATION:
            return ()
        return tuple(aspect for aspect, part in ASPECTS.items() if part == self.group)

    @property
    def answer_letter(self) -> str | None:
        """ "A" for the first option; None where there are no options."""
        return None if self.answer_index is None else ascii_uppercase[self.answer_index]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's name, task, files and published size (None: it varies).

    csv: the IG-VLM file, or files by part.  json: the released code's file names that hold the same rows.
    key: the column that is unique; TGIF's question_id is not.  column: its name in `paper_results.yaml`.
    """

    name: str
    title: str
    task: str
    questions: int | None
    videos: int | None
    csv: dict[str, tuple[str, ...]]
    json: dict[str, tuple[str, ...]]
    key: str = "question_id"
    column: str = ""


def _open_ended(name: str, title: str, questions: int, videos: int, csv: str, part: str, **more) -> Benchmark:
    files = {"": (csv,)}, {"": (f"{part}_q.json", f"{part}_a.json")}
    return Benchmark(name, title, OPEN_ENDED, questions, videos, *files, **{"column": name, **more})


def _choice(name: str, title: str, questions: int, videos: int, csv: str) -> Benchmark:
    return Benchmark(name, title, MULTIPLE_CHOICE, questions, videos, {"": (csv,)}, {"": ("val_qa.json",)}, column=name)


VCGBENCH_CSV = {
    "generic": ("Generic_QA.csv",),
    "temporal": ("Temporal_QA.csv",),
    "consistency": ("Consistency_QA1.csv", "Consistency_QA2.csv"),
}
VCGBENCH_JSON = {
    "generic": ("Video-ChatGPT-generic_val_qa.json",),
    "temporal": ("Video-ChatGPT-temporal_understanding_val_qa.json",),
    "consistency": ("Video-ChatGPT-consistency_val_qa.json",),
}
BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        _open_ended("msvd", "MSVD-QA", 6415, 245, "MSVD_QA.csv", "val"),
        _open_ended("msrvtt", "MSRVTT-QA", 12278, 497, "MSRVTT_QA.csv", "val"),
        _open_ended("tgif", "TGIF-FrameQA", 13691, 7132, "TGIF_FrameQA.csv", "val", key="video_id"),
        _open_ended("activitynet", "ActivityNet-QA", 8000, 800, "ActivityNet_QA.csv", "test", column="anet"),
        _choice("nextqa", "NExT-QA", 4996, 570, "NExT_QA.csv"),
        _choice("egoschema", "EgoSchema (subset)", 500, 500, "EgoSchema.csv"),
        _choice("intentqa", "IntentQA", 2044, 524, "IntentQA.csv"),
        Benchmark("vcgbench", "VCGBench", TEXT_GENERATION, 2994, 499, VCGBENCH_CSV, VCGBENCH_JSON, column="scores"),
        Benchmark("pocketbench", "PocketBench", OPEN_ENDED, None, None, {}, {}),
    )
}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark called `name`.

    Raises:
        ValueError: an unknown name.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def fingerprint(value: object) -> str:
    """16 hex digits that stand for a JSON-able value: equal values, and only they, share them."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def questions_fingerprint(questions: list[Question]) -> str:
    """Stands for a set of questions to the letter, whatever their order."""
    return fingerprint(sorted((asdict(question) for question in questions), key=lambda fields: fields["key"]))
