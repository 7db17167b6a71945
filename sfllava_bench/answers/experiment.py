"""An experiment, as data: what a model sees of which videos, what it is asked, and how."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sfllava_bench.answers.asking import asked_as
from sfllava_bench.answers.file_marks import file_mark, model_files
from sfllava_bench.answers.ranks import ranked_methods, ranks_fingerprint
from sfllava_bench.answers.subquestions import WORDINGS
from sfllava_bench.answers.video_model import Elsewhere, VideoModel, facts_of
from sfllava_bench.captions.methods import ToldInWords
from sfllava_bench.captions.words import OWN
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.questions.records import MULTIPLE_CHOICE, OPEN_ENDED, Question, questions_fingerprint
from sfllava_bench.questions.toy import of_other_films
from sfllava_bench.scores.chat import Judge
from sfllava_core.answering.rope import ROPE_TYPES
from sfllava_core.methods.base import PAPERS_ROPE, Method, Rope
from sfllava_core.methods.dcode import DCoDe
from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.prompts import ALL_PARTS, PromptParts

SHARING = ("video", "nothing")
CHOOSING = ("generation", "likelihood")
PROMPTS = ("own", "paper")
DECODING = ("auto", "pyav", "decord", "torchcodec")


class ExperimentError(ValueError):
    """An experiment that lacks something; says what to give."""


@dataclass(frozen=True)
class Experiment:
    """Method, questions, model and prompt options; the defaults are the paper's.

    The paper's rows (`paper_experiments`) and PocketBench's layouts (`LAYOUTS`) are experiments with a name.

    id: names its run's folder.
    method: what the model sees of a video (tables 4 to 6).
    ranks: a file of KTV's keyframes and their ranks by question (ranks.py), each of which then sees its own tokens.
    prompts: "own" asks, and reads choices, as the method was published; "paper" asks every method as SlowFast-LLaVA
        does, so that two methods differ in what is seen alone.
    parts: the parts of the prompt (table 7).
    by: "generation" lets the model write and reads its choice; "likelihood" takes the likeliest letter.
    share: "video" watches a video once for all its questions; "nothing" does all the work again for each, as the
        released code does: the same answers in float32, many times slower, to compare with.
    max_new_tokens: at most this many new tokens an answer; None cuts where the method whose prompts are used was
        published with (`new_tokens`).
    rope: (type, factor) of the model's RoPE scaling, such as ("linear", 2.0); None is the method's (`Method.rope`).
    resize, decoder: as in `VideoLLM.watch`.
    model: a checkpoint's folder or hub id.
    benchmark, annotations: whose questions, and where their annotation files are.
    task: which kind of question is asked; "" for all.
    max_videos: only the questions about the first so many videos.
    other_film: a control: each question is asked about the next film in place of its own.
    asked: questions at hand, in place of those of annotation files.
    videos: their folder.
    reasoner: the language model that reads captions (`ToldInWords`) or takes questions apart (`subquestions`): a
        server, or "own", the model's own language model on text alone.
    captions, features: files that somebody has, in place of what the model makes: captions (`read_captions`), and one
        vector a clip (safetensors, by the video's name).
    subquestions: "original", or another wording of `WORDINGS`: D-CoDe's questions are taken apart first; "" does not.
    published, note: what to compare with.
    llm: the language model that the published numbers were made with; by another there is nothing to compare.
    cell: the paper's (table, model size, row, benchmark) that it makes, or stands for in miniature.
    """

    id: str
    method: Method = SlowFast()
    ranks: Path | None = None
    prompts: str = "own"
    parts: PromptParts = ALL_PARTS
    by: str = "generation"
    share: str = "video"
    max_new_tokens: int | None = None
    rope: Rope | None = None
    resize: str = "pillow"
    decoder: str = "auto"
    model: str = ""
    benchmark: str = ""
    annotations: Path | None = None
    task: str = ""
    max_videos: int | None = None
    other_film: bool = False
    asked: tuple[Question, ...] | None = None
    videos: Path | None = None
    reasoner: Judge | str | None = None
    captions: Path | None = None
    features: Path | None = None
    subquestions: str = ""
    published: dict[str, float] | None = None
    note: str = ""
    cell: tuple[str, ...] = ()
    llm: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (("by", CHOOSING), ("share", SHARING), ("prompts", PROMPTS), ("decoder", DECODING)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(allowed)}")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={self.max_new_tokens}: ask for at least 1 token")
        if self.rope is not None and (self.rope[0] not in ROPE_TYPES or self.rope[1] < 1):
            raise ValueError(
                f"rope={self.rope!r}: give (type, factor), the type one of {', '.join(ROPE_TYPES)}, the factor 1 (off) "
                "or more"
            )
        if self.max_videos is not None and self.max_videos < 1:
            raise ExperimentError(f"max_videos={self.max_videos}: take at least 1 video, or None for all")
        self._check_words()

    def _check_words(self) -> None:
        """What a language model has a say in is asked in the published way alone."""
        if isinstance(self.reasoner, str) and self.reasoner != OWN:
            raise ExperimentError(f"reasoner={self.reasoner!r}: give a server (`Judge`), or {OWN!r}")
        if self.subquestions and not (isinstance(self.method, DCoDe) and self.subquestions in WORDINGS):
            raise ExperimentError(
                f"subquestions={self.subquestions!r} with {self.method}: they are D-CoDe's (dcode_...), their wording "
                f"one of {', '.join(WORDINGS)}"
            )
        if self.worded and (self.by, self.prompts, self.parts) != ("generation", "own", ALL_PARTS):
            raise ExperimentError(
                f"{self.method} with a language model: it is asked in its own words, and writes its answer: leave out "
                "by, prompts and parts"
            )
        for name, wanted in (("captions", self.told), ("features", self.told and "embeddings" in self.method.wants)):
            if getattr(self, name) is not None and not wanted:
                raise ExperimentError(f"{name}={getattr(self, name)}: {self.method} has no use for them")

    @property
    def folder(self) -> Path:
        """Where its videos are. Raises ExperimentError where it was given none."""
        if self.videos is None:
            raise ExperimentError(f"{self.id}: no folder of videos is given; set `videos`")
        return self.videos

    @property
    def told(self) -> bool:
        """Whether videos are told in words, which a language model reads."""
        return isinstance(self.method, ToldInWords)

    @property
    def worded(self) -> bool:
        """Whether a language model beside, or instead of, the video's has a say."""
        return self.told or bool(self.subquestions)

    @property
    def without_reasoner(self) -> str:
        """What to do where a language model is needed and none is named; empty where one is, or none is needed."""
        if self.reasoner is not None or not self.worded:
            return ""
        does = "reads the captions" if self.told else "takes questions apart"
        return (
            f"{self.id}: {self.method} needs a language model that {does}: give --reasoner MODEL --reasoner-url URL "
            f"of a server that speaks the OpenAI protocol, or --reasoner {OWN}, the model's own on text alone"
        )

    @property
    def asking(self) -> Method:
        """The method whose prompts and reading of choices are used."""
        return asked_as(self.method, self.prompts)

    @property
    def loading(self) -> dict[str, object]:
        """What the model is to be loaded with beside its name; nothing where that is the loader's own way.

        `VideoLLM.from_pretrained` scales RoPE as the paper does, unless told otherwise.
        """
        rope = self.rope or self.method.rope
        return {} if rope in (None, PAPERS_ROPE) else {"rope_type": rope[0], "rope_scaling": rope[1]}

    @property
    def rope_factor(self) -> float:
        """By how much the model's context is longer than its own positions."""
        return (self.rope or self.method.rope or PAPERS_ROPE)[1]

    def new_tokens(self, task: str) -> int:
        """At most so many new tokens has an answer to a question of this kind."""
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        asking = self.asking
        return (task == MULTIPLE_CHOICE and asking.max_choice_tokens) or asking.max_new_tokens

    def no_repeat(self, task: str) -> int | None:
        """The method's `no_repeat_ngram_size`, for a question of this kind: it is of open answers."""
        return None if task == MULTIPLE_CHOICE else self.asking.no_repeat_ngram_size

    @property
    def caveat(self) -> str:
        """What a reader of its numbers must be told of the method."""
        return f"keyframes and ranks by question: {self.ranks.name}" if self.ranks else self.method.caveat

    def methods(self, questions: list[Question]) -> dict[str, Method]:
        """Question's key -> the method that it is asked through. Raises RanksError (an AnnotationError)."""
        if self.ranks is None:
            return {question.key: self.method for question in questions}
        return ranked_methods(self.method, self.ranks, questions)

    def questions(self) -> list[Question]:
        """What is asked.

        Raises:
            AnnotationError: the annotation files, or the file of ranks, cannot be used.
            ExperimentError: none is left.
        """
        if self.asked is not None:
            found = list(self.asked)
        elif self.annotations is not None:
            found = load_annotations(self.benchmark, self.annotations)
        else:
            raise ExperimentError(f"{self.id}: no questions are given; set `annotations` or `asked`")
        if self.task:
            found = find_benchmark(self.benchmark).of_task(found, self.task)
        names = list(dict.fromkeys(question.video for question in found))[: self.max_videos]
        found = [question for question in found if question.video in set(names)]
        if not found:
            where = self.annotations or self.id
            raise ExperimentError(f"{where}: no question of kind {self.task or 'any'} is left to ask")
        if self.ranks is not None:
            self.methods(found)  # says now what is wrong with them
        return of_other_films(found) if self.other_film else found

    def settings(self) -> dict[str, object]:
        """JSON-able: how the questions are asked; `max_new_tokens` by kind of question, where they differ."""
        limits = {task: self.new_tokens(task) for task in (MULTIPLE_CHOICE, OPEN_ENDED)}
        size = self.no_repeat(OPEN_ENDED)
        return {
            "method": str(self.method),
            "prompts": self.prompts,
            "parts": asdict(self.parts),
            "by": self.by,
            "share": self.share,
            "max_new_tokens": limits if len({*limits.values()}) > 1 else limits[OPEN_ENDED],
            "resize": self.resize,
            "decoder": self.decoder,
            **(self._words() if self.worded else {}),
            **({} if size is None else {"no_repeat_ngram_size": size}),
            **({} if self.ranks is None else {"ranks": ranks_fingerprint(self.ranks)}),
        }

    def _words(self) -> dict[str, object]:
        """JSON-able: who reads what, where a language model has a say."""
        reader = self.reasoner.model if isinstance(self.reasoner, Judge) else self.reasoner
        files = {name: getattr(self, name) for name in ("captions", "features")}
        try:
            given = {name: file_mark(path) for name, path in files.items() if path is not None}
        except OSError as error:
            raise ExperimentError(f"{error.filename}: {error.strerror}: give another file") from None
        apart = {"subquestions": self.subquestions} if self.subquestions else {}
        return {"reasoner": reader, **given, **apart}

    def record(self, questions: list[Question], llm: VideoModel | Elsewhere) -> dict[str, object]:
        """JSON-able: all that an answer depends on; the settings, and the questions' and the model's fingerprints.

        Names no folder or machine, and no numbers of how the work is done (batches, workers, the device's name): they
        change no answer in float32. In half precision products of other shapes are rounded otherwise, so that another
        batch or device may change a close decision: what a run was done with stands in its sessions.
        """
        parts = self.parts
        if {parts.task_instruction} == {question.task == MULTIPLE_CHOICE for question in questions}:
            parts = replace(parts, task_instruction=None)  # what the default has too: the same prompts
        return {
            **self.settings(),
            "parts": asdict(parts),
            "benchmark": questions[0].benchmark,
            "questions": questions_fingerprint(questions),
            "expected": len(questions),
            **facts_of(llm).settings,
        }

    def identity(self) -> dict[str, object]:
        """JSON-able: all of the experiment that its numbers depend on; its questions apart."""
        names = ("id", "benchmark", "task", "model", "max_videos", "published", "note", "other_film", "cell")
        return {
            **{name: getattr(self, name) for name in names},
            "annotations": str(self.annotations),
            "videos": str(self.videos),
            "settings": self.settings(),
            "loading": self.loading,
            "model_files": model_files(self.model),
        }
