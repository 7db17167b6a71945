"""Many layouts, one look: each film decoded once and each frame encoded once, for all the specs that are compared.

    videos, layouts -> read_for (frames of all) -> SharedFilm (features of all) -> Asker, layout by layout -> records

`ask_through` is what a notebook calls; `together.py` does the same for plans, with every answer on the disk.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from sfllava_bench.answers.asking import Asker
from sfllava_bench.answers.journal import Record
from sfllava_bench.answers.prefetch import Decoded, Job, decode_ahead
from sfllava_bench.answers.settings import RunSettings
from sfllava_bench.answers.surroundings import Surroundings
from sfllava_bench.questions.records import MULTIPLE_CHOICE, Question
from sfllava_bench.scores.matching import match
from sfllava_bench.scores.scores import chosen_letter
from sfllava_core.methods.base import Method
from sfllava_core.methods.blind import Blind
from sfllava_core.methods.image_grid import ImageGrid
from sfllava_core.methods.pooling import NO_POOL, Pool
from sfllava_core.methods.slowfast import Pathway, SlowFast, fast_only, slow_only, uniform
from sfllava_core.stopwatch import Stopwatch
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.frames import Frames
from sfllava_core.video.reading import DEFAULT_TIMEOUT_S

ONE_BY_TWO = Pool.window("max", 1, 2)
SLOWFAST = "SlowFast"
NEW_TOKENS = 16  # PocketBench's longest answer has 6


@dataclass(frozen=True)
class Layout:
    """What a model sees of a film. other_film: a control, each question is asked about the next film instead."""

    pathways: Method
    other_film: bool = False


POCKET_SLOWFAST = SlowFast(50, Pathway(8, ONE_BY_TWO), Pathway(None, Pool.to(2, 2)))
LAYOUTS = {  # for a grid of 12 x 12; tokens of a film of at least 150 frames
    SLOWFAST: Layout(POCKET_SLOWFAST),  # 8 x 72 + 50 x 4 = 776
    "slow only": Layout(slow_only(8, ONE_BY_TWO)),  # 8 x 72 = 576
    "fast only": Layout(fast_only(50, (2, 2))),  # 50 x 4 = 200
    "slow only, equal tokens": Layout(SlowFast(11, Pathway(None, ONE_BY_TWO), None)),  # 11 x 72 = 792
    "fast only, every frame": Layout(fast_only(150, (2, 2))),  # 150 x 4 = 600
    "fast only, equal tokens": Layout(fast_only(48, (4, 4))),  # 48 x 16 = 768
    "uniform, pooled": Layout(uniform(22, (6, 6))),  # 22 x 36 = 792
    "uniform, whole": Layout(SlowFast(5, Pathway(None, NO_POOL), None)),  # 5 x 144 = 720
    "image grid": Layout(ImageGrid(2, 2)),  # 144 + 24 rows of (24 + 1) = 744
    "no visual tokens": Layout(Blind()),
    "another film": Layout(POCKET_SLOWFAST, other_film=True),
}


@dataclass(frozen=True)
class Ask:
    """Questions to be asked in one way, under a name. stamp: fields that go into every record."""

    name: str
    settings: RunSettings
    questions: list[Question]
    stamp: Record


@dataclass(frozen=True)
class Answered:
    """One question answered through one layout. text: what the model wrote; "" with the reason in `error` if nothing.

    right: exact words of an open question (without case, articles and punctuation), the letter of a choice.
    """

    layout: str
    question: Question
    text: str
    right: bool
    error: str = ""


def ask_through(
    llm,
    layouts: dict[str, Layout | Method],
    questions: list[Question],
    videos: VideoFolder,
    *,
    max_new_tokens: int = NEW_TOKENS,
    **options: object,
) -> Iterator[Answered]:
    """Every question through every layout, film by film; nothing is decoded or encoded twice.

    Args:
        llm: a `VideoLLM`.
        layouts: by name; a bare spec will do. `LAYOUTS` holds those of PocketBench.
        questions: of `load_annotations("pocketbench", folder)`, or some of them; open and multiple choice mixed.
        videos: such as `VideoFolder("data/pocketbench")`.
        max_new_tokens: an answer is cut there.
        options: batch, workers, ahead, timeout_s of `records_through`.

    Yields:
        `Answered`, all layouts of a film before the next film.
    """
    asks = []
    for name, layout in layouts.items():
        layout = layout if isinstance(layout, Layout) else Layout(layout)
        own = of_other_films(questions) if layout.other_film else questions
        asks.append(Ask(name, RunSettings(layout.pathways, max_new_tokens=max_new_tokens), own, {}))
    by_key = {question.key: question for question in questions}
    for name, records in records_through(llm, asks, videos, **options):
        for record in records:
            if "key" in record:
                yield answered(name, by_key[record["key"]], record)


def answered(name: str, question: Question, record: Record) -> Answered:
    """A record, read."""
    if "error" in record:
        return Answered(name, question, "", False, record["error"])
    text = record["answers"][0]
    if question.task == MULTIPLE_CHOICE:
        return Answered(name, question, text, chosen_letter(record, "reference") == question.answer_letter.lower())
    return Answered(name, question, text, match(text, question.answer)["exact_match"] == 1)


def of_other_films(questions: list[Question]) -> list[Question]:
    """The same questions, each about the next film: what they give away without the right one."""
    names = list(dict.fromkeys(question.video for question in questions))
    after = dict(zip(names, [*names[1:], *names[:1]]))
    return [replace(question, video=after[question.video]) for question in questions]


def records_through(
    llm,
    asks: list[Ask],
    videos: VideoFolder,
    *,
    batch: int = 16,
    workers: int = 2,
    ahead: int = 4,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
) -> Iterator[tuple[str, list[Record]]]:
    """The records of all asks, film by film: (name of the ask, records of a batch), as `Asker` makes them.

    A film is read for the specs of *all* asks, those too that have no question about it left: so features, and with
    them answers, do not depend on where a run was broken off. batch, workers, ahead, timeout_s, and what is raised: as
    `run_benchmark`.
    """
    films: dict[str, list[Question]] = {}
    for ask in asks:
        for question in ask.questions:
            films.setdefault(question.video, []).append(question)
    specs = list(dict.fromkeys(ask.settings.pathways for ask in asks))
    read = partial(read_for, llm, specs, asks[0].settings, Surroundings(videos, films), timeout_s)
    jobs = [Job(name, questions) for name, questions in films.items()]
    with closing(decode_ahead(jobs, read, workers=workers, ahead=ahead)) as decoding:
        for decoded in decoding:
            shared = SharedFilm(llm, decoded.frames, len(asks))
            for ask in asks:
                own = [question for question in ask.questions if question.video == decoded.job.video]
                if own:
                    asker = Asker(shared, ask.settings, ask.stamp, batch)
                    for records in asker.records(part_of(decoded, ask, own, len(asks))):
                        yield ask.name, records


def read_for(
    llm, specs: list[Method], settings: RunSettings, here: Surroundings, timeout_s: float | None, name: str
) -> Frames:
    """The frames that any of the specs samples of a film, at the size that loses nothing for all of them."""
    sizes = {spec.decoded_size(llm.image_size, settings.resize) for spec in specs}
    size = sizes.pop() if len(sizes) == 1 else None
    numbers = sorted({spec.num_frames for spec in specs})
    return here.read(name, numbers, decoder=settings.decoder, size=size, timeout_s=timeout_s)


def part_of(decoded: Decoded, ask: Ask, own: list[Question], asks: int) -> Decoded:
    """What one ask gets of a film: its own frames and questions, and its share of the seconds."""
    frames = None if decoded.frames is None else decoded.frames.sampled(ask.settings.pathways.num_frames)
    job = Job(decoded.job.video, own)
    return replace(decoded, job=job, frames=frames, seconds=decoded.seconds / asks, waited=decoded.waited / asks)


class SharedFilm:
    """One film's frame features for several asks, encoded when first needed; stands in for the model's `watch`.

    frames: read for all of their specs; None where the film cannot be read.  asks: how many share the seconds.
    """

    def __init__(self, llm, frames: Frames | None, asks: int):
        self.llm, self.frames, self.asks, self.prompt_style = llm, frames, asks, llm.prompt_style
        self.features, self.stopwatch = None, Stopwatch(llm.device)

    def watch(self, frames: Frames, pathways: Method, *, resize: str = "pillow"):
        """`VideoLLM.watch` of frames that are among the shared ones."""
        views = pathways.arrange(frames.pixels, self.llm.image_size)
        if views is not frames.pixels:  # a picture made of several frames: nothing of it can be shared
            return self.llm.watch_features(self.llm.encode(views, resize=resize), pathways)
        if self.features is None:
            with self.stopwatch("encode"):
                self.features = self.llm.encode(self.frames, resize=resize)
        place = {index: number for number, index in enumerate(self.frames.indices)}
        video = self.llm.watch_features(self.features[[place[index] for index in frames.indices]], pathways)
        video.stopwatch.seconds["encode"] += self.stopwatch.seconds["encode"] / self.asks
        return video
