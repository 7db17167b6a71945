"""One video watched and asked: its questions in batches, every one of them ending as a record."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.journal import Record
from sfllava_bench.answers.prefetch import Decoded
from sfllava_bench.answers.subquestions import CAPTION_TOKENS, answer_in_parts
from sfllava_bench.answers.video_model import VideoModel
from sfllava_bench.captions.captioner import Read
from sfllava_bench.captions.words import Words
from sfllava_bench.questions.records import BATCH, MULTIPLE_CHOICE, Question
from sfllava_core.answering.sharing import ContextError
from sfllava_core.methods.dcode import DCoDe
from sfllava_core.prompts import PromptError
from sfllava_core.stopwatch import Stopwatch
from sfllava_core.video.frames import Frames
from sfllava_core.video.integrity import VideoError

OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)
OF_ONE_QUESTION = (PromptError, ContextError, *OUT_OF_MEMORY)


@dataclass(frozen=True, eq=False)
class Seen:
    """A video that is ready to be asked.

    record: what is to be said of it.  stages: seconds that it has cost, beside those of the video's own stopwatch.
    seconds: in all, so far.
    """

    video: Any
    record: Record
    stages: dict[str, float]
    seconds: float


class FilmFeatures:
    """A cache: the features of a video's frames, each encoded once for all experiments that look at it.

    frames: read for all of them.  experiments: how many they are; each bears its share of the seconds.
    """

    def __init__(self, llm: VideoModel, frames: Frames | None, resize: str, experiments: int):
        self.llm, self.frames, self.resize, self.experiments = llm, frames, resize, experiments
        self.features: Tensor | None = None
        self.stopwatch = Stopwatch(llm.device)

    def of(self, frames: Frames) -> Float[Tensor, "frames rows columns dim"]:
        """The features of some of the frames; all are encoded when the first are asked for."""
        assert self.frames is not None, "a video that could not be read has no features"
        if self.features is None:
            with self.stopwatch("encode"):
                self.features = self.llm.encode(self.frames, resize=self.resize)
        place = {index: number for number, index in enumerate(self.frames.indices)}
        return self.features[[place[index] for index in frames.indices]]


def answer_video(
    llm: VideoModel,
    experiment: Experiment,
    questions: list[Question],
    decoded: Decoded,
    *,
    batch: int = BATCH,
    shared: FilmFeatures | None = None,
    words: Words | None = None,
    read: Read | None = None,
) -> Iterator[list[Record]]:
    """Records of a video's questions, a batch at a time; the last one is of the watching itself.

    Args:
        decoded: the frames, or the error that came in their place.
        batch: questions answered together.
        shared: features of the frames, where several experiments look at them.
        words, read: captions and language models, and how more of a video is read (`VideoFolder.read`), where a
            language model has a say.

    Raises:
        JudgeError: the language model cannot be used, or does not answer any more.
    """
    seen = look(llm, experiment, questions, decoded, shared=shared, words=words, read=read)
    yield from answer_seen(llm, experiment, questions, seen, batch, words) if isinstance(seen, Seen) else [seen]


def look(
    llm: VideoModel,
    experiment: Experiment,
    questions: list[Question],
    decoded: Decoded,
    *,
    shared: FilmFeatures | None = None,
    words: Words | None = None,
    read: Read | None = None,
) -> Seen | list[Record]:
    """The first half of `answer_video`: a video watched or told, or failures of its questions."""
    start = time.perf_counter()
    if decoded.error is not None:
        return [failure(question, "video", decoded.error) for question in questions]
    assert decoded.frames is not None, "there are frames or an error"
    try:
        if experiment.told:
            assert words is not None and read is not None, "captions need them"
            frames = decoded.frames.sampled(experiment.method.sample)
            video = words.told(experiment, decoded.video, frames, read)
        else:
            frames, video = watch(llm, experiment, decoded.frames, shared)
    except VideoError as error:
        return [failure(question, "video", error) for question in questions]
    except (ContextError, *OUT_OF_MEMORY) as error:
        release_memory()
        return [failure(question, "watch", error) for question in questions]
    record = {
        "watched": decoded.video,
        "questions": len(questions),
        "frames": [int(index) for index in frames.indices],
        "total_frames": int(frames.total),
        "decoder": frames.decoder,
    }
    part = 1 if shared is None else shared.experiments
    stages = {"decode": decoded.seconds / part, "waited": decoded.waited / part}
    return Seen(video, record, stages, time.perf_counter() - start)


def answer_seen(
    llm: VideoModel | None,
    experiment: Experiment,
    questions: list[Question],
    seen: Seen,
    batch: int = BATCH,
    words: Words | None = None,
) -> Iterator[list[Record]]:
    """The second half of `answer_video`; a video that was told needs no model here where a server reads."""
    start, video = time.perf_counter() - seen.seconds, seen.video
    for first in range(0, len(questions), batch):
        some = questions[first : first + batch]
        if experiment.worded:  # what a server has said is not waited with until others are through
            assert words is not None, "a language model needs them"
            yield from ([record] for record in ask_in_words(experiment, video, some, words))
        else:
            assert llm is not None, f"{experiment.id}: a video that is shown needs its model"
            yield ask(llm, experiment, video, some)
    stages = {**seen.stages, **video.stopwatch.seconds, "total": time.perf_counter() - start}
    size = {"visual_tokens": len(video.tokens), "prefix_bytes": int(video.prefix_bytes)}
    yield [{**seen.record, **size, "seconds": {stage: round(value, 6) for stage, value in stages.items()}}]


def watch(llm: VideoModel, experiment: Experiment, frames: Frames, shared: FilmFeatures | None):
    """(frames that the experiment samples, the watched video): the one place where the model looks."""
    method = experiment.method
    frames = frames if shared is None and experiment.ranks is None else frames.sampled(method.sample)
    # A picture made of several frames has features of its own: nothing of it can be shared.
    if shared is None or method.own_features or method.arrange(frames.pixels, llm.image_size) is not frames.pixels:
        video = llm.watch_frames(frames, method, resize=experiment.resize)
    else:
        video = llm.watch_features(shared.of(frames), method)
        video.stopwatch.seconds["encode"] += shared.stopwatch.seconds["encode"] / shared.experiments
    video.asking = experiment.asking
    return frames, video


def ask_in_words(experiment: Experiment, video, questions: list[Question], words: Words) -> Iterator[Record]:
    """A record of each question, as they come: of captions, or of D-CoDe's way by sub-questions."""
    by_key = {question.key: question for question in questions}
    ask, stage = (words.records, "answer") if experiment.told else (words.taken_apart, "subquestions")
    with closing(ask(experiment, video, questions)) as coming:
        start = time.perf_counter()
        for record in coming:
            video.stopwatch.seconds[stage] += time.perf_counter() - start
            if not experiment.told and "error" not in record:
                record |= in_parts(words.llm, experiment, video, by_key[record["key"]], record["subquestions"])
            yield {**record, "seconds": round(time.perf_counter() - start, 6)}
            start = time.perf_counter()


def in_parts(llm: VideoModel, experiment: Experiment, video, question: Question, subquestions: list[str]) -> Record:
    """Sub-questions asked of the video's model, then the question itself with their answers before it."""

    def generate(prompt: tuple[str, str], most: int) -> str:
        limit = most if most == CAPTION_TOKENS else experiment.new_tokens(question.task)
        return video.generate([prompt], max_new_tokens=limit, share_prefix=experiment.share == "video")[0].text

    try:
        if llm.prompt_style != "vicuna" or len(question.questions) > 1:
            raise PromptError("D-CoDe's sub-questions have prompts for 'vicuna' (7B) alone, and for one question")
        method, text = experiment.method, question.questions[0]
        assert isinstance(method, DCoDe), "sub-questions are its way alone"
        answer, captions = answer_in_parts(generate, method, text, question.options, subquestions)
    except OF_ONE_QUESTION as error:
        release_memory()
        return failure(question, "answer", error)
    return {"answers": [answer], "captions": captions}


def ask(llm: VideoModel, experiment: Experiment, video, questions: list[Question]) -> list[Record]:
    """Records of a batch; where it cannot be answered as a whole, of its halves, or question by question.

    Halves where memory was short; a prompt that cannot be asked would spoil each half that it is in.
    """
    try:
        return answers(llm, experiment, video, questions)
    except OF_ONE_QUESTION as error:
        if len(questions) == 1:
            release_memory()
            return [failure(questions[0], "answer", error)]
        size = (len(questions) + 1) // 2 if isinstance(error, OUT_OF_MEMORY) else 1
    release_memory()  # after the error is gone, which holds on to what was being computed
    parts = [questions[first : first + size] for first in range(0, len(questions), size)]
    return [record for part in parts for record in ask(llm, experiment, video, part)]


def answers(llm: VideoModel, experiment: Experiment, video, questions: list[Question]) -> list[Record]:
    """One record for each question of a batch."""
    start = time.perf_counter()
    likelihood = experiment.by == "likelihood"
    chosen = [question for question in questions if likelihood and question.task == MULTIPLE_CHOICE]
    written = [question for question in questions if question not in chosen]
    found = choose(experiment, video, chosen) | write(llm, experiment, video, written)
    seconds = round((time.perf_counter() - start) / len(questions), 6)
    return [
        {"key": question.key, "video": question.video, **found[question.key], "seconds": seconds}
        for question in questions
    ]


def choose(experiment: Experiment, video, questions: list[Question]) -> dict[str, Record]:
    """The likeliest letter of each multiple-choice question."""
    if not questions:
        return {}
    choices = video.choose(
        [question.questions[0] for question in questions],
        [list(question.options) for question in questions],
        by="likelihood",
        parts=experiment.parts,
        share_prefix=experiment.share == "video",
    )
    return {
        question.key: {"letter": choice.letter, "scores": [round(score, 6) for score in choice.scores]}
        for question, choice in zip(questions, choices)
    }


def write(llm: VideoModel, experiment: Experiment, video, questions: list[Question]) -> dict[str, Record]:
    """What the model writes for each question, token counts with it; two answers for a pair of paraphrases."""
    alike: dict[tuple[int, int | None], list[Question]] = {}
    for question in questions:
        alike.setdefault((experiment.new_tokens(question.task), experiment.no_repeat(question.task)), []).append(
            question
        )
    found = {}
    for (limit, no_repeat), some in alike.items():
        prompts = [prompt for question in some for prompt in prompts_of(question, llm.prompt_style, experiment)]
        options = {} if no_repeat is None else {"no_repeat_ngram_size": no_repeat}  # which not every model need know
        shared = experiment.share == "video"
        said = iter(video.generate(prompts, max_new_tokens=limit, share_prefix=shared, **options))
        for question in some:
            own = [next(said) for _ in question.questions]
            found[question.key] = {
                "answers": [one.text for one in own],
                "prompt_tokens": [one.prompt_tokens for one in own],
                "new_tokens": [len(one.token_ids) for one in own],
            }
    return found


def prompts_of(question: Question, style: str, experiment: Experiment) -> list[tuple[str, str]]:
    """The prompts of a question, in two pieces each: what the video's questions share, and the rest."""
    method = experiment.asking
    if question.task == MULTIPLE_CHOICE:
        return [method.multiple_choice(question.questions[0], list(question.options), style, experiment.parts)]
    return [method.open_ended(text, style, experiment.parts) for text in question.questions]


def failure(question: Question, stage: str, error: Exception) -> Record:
    """The record of a question that could not be answered, and why."""
    cause = error.cause if isinstance(error, VideoError) else str(error)
    if isinstance(error, OUT_OF_MEMORY):
        cause = f"out of memory: {(str(error).splitlines() or [type(error).__name__])[0]}"
    return {"key": question.key, "video": question.video, "stage": stage, "error": cause}


def release_memory() -> None:
    """Give cached blocks back to the GPU after it was full."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
