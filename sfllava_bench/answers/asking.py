"""One video watched and asked: its questions in batches, every one of them ending as a record."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sfllava_bench.answers.journal import Record
from sfllava_bench.answers.prefetch import Decoded
from sfllava_bench.answers.settings import RunSettings
from sfllava_bench.questions.records import MULTIPLE_CHOICE, Question
from sfllava_core.answering.sharing import ContextError
from sfllava_core.prompts import PromptError, multiple_choice_pieces, open_ended_pieces
from sfllava_core.video.integrity import VideoError

OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)
OF_ONE_QUESTION = (PromptError, ContextError, *OUT_OF_MEMORY)


@dataclass(frozen=True)
class Asker:
    """Asks as the settings say. `stamp` goes into every record: fingerprints of the run and of what it is made of."""

    llm: object
    settings: RunSettings
    stamp: Record
    batch: int

    def records(self, decoded: Decoded) -> Iterator[list[Record]]:
        """Records of a video's questions, a batch at a time; the last one is of the watching itself."""
        start, questions = time.perf_counter(), decoded.job.questions
        if decoded.error is not None:
            yield [self.failure(question, "video", decoded.error) for question in questions]
            return
        try:
            video = self.llm.watch_frames(decoded.frames, self.settings.pathways, resize=self.settings.resize)
        except (ContextError, *OUT_OF_MEMORY) as error:
            release_memory()
            yield [self.failure(question, "watch", error) for question in questions]
            return
        for first in range(0, len(questions), self.batch):
            yield self.ask(video, questions[first : first + self.batch])
        yield [self.watched(video, decoded, time.perf_counter() - start)]

    def ask(self, video, questions: list[Question]) -> list[Record]:
        """Answers of a batch; where it cannot be answered as a whole, question by question."""
        try:
            return self.answers(video, questions)
        except OF_ONE_QUESTION as error:
            release_memory()
            if len(questions) == 1:
                return [self.failure(questions[0], "answer", error)]
        return [record for question in questions for record in self.ask(video, [question])]

    def answers(self, video, questions: list[Question]) -> list[Record]:
        """One record for each question of a batch."""
        start = time.perf_counter()
        likelihood = self.settings.by == "likelihood"
        chosen = [question for question in questions if likelihood and question.task == MULTIPLE_CHOICE]
        written = [question for question in questions if question not in chosen]
        found = self.choose(video, chosen) | self.write(video, written)
        seconds = round((time.perf_counter() - start) / len(questions), 6)
        return [
            {"key": question.key, "video": question.video, **found[question.key], "seconds": seconds, **self.stamp}
            for question in questions
        ]

    def choose(self, video, questions: list[Question]) -> dict[str, Record]:
        """The likeliest letter of each multiple-choice question."""
        if not questions:
            return {}
        choices = video.choose(
            [question.questions[0] for question in questions],
            [list(question.options) for question in questions],
            by="likelihood",
            parts=self.settings.parts,
            share_prefix=self.settings.share == "video",
        )
        return {
            question.key: {"letter": choice.letter, "scores": [round(score, 6) for score in choice.scores]}
            for question, choice in zip(questions, choices)
        }

    def write(self, video, questions: list[Question]) -> dict[str, Record]:
        """What the model writes for each question, token counts with it; two answers for a pair of paraphrases."""
        prompts = [prompt for question in questions for prompt in self.prompts(question)]
        if not prompts:
            return {}
        share = self.settings.share == "video"
        said = iter(video.generate(prompts, max_new_tokens=self.settings.max_new_tokens, share_prefix=share))
        found = {}
        for question in questions:
            own = [next(said) for _ in question.questions]
            found[question.key] = {
                "answers": [one.text for one in own],
                "prompt_tokens": [one.prompt_tokens for one in own],
                "new_tokens": [len(one.token_ids) for one in own],
            }
        return found

    def prompts(self, question: Question) -> list[tuple[str, str]]:
        """The prompts of a question, in two pieces each: what the video's questions share, and the rest."""
        style, parts = self.llm.prompt_style, self.settings.parts
        if question.task == MULTIPLE_CHOICE:
            return [multiple_choice_pieces(question.questions[0], list(question.options), style, parts)]
        return [open_ended_pieces(text, style, parts) for text in question.questions]

    def watched(self, video, decoded: Decoded, seconds: float) -> Record:
        """What was seen of a video, and how long each stage took."""
        frames = decoded.frames
        stages = {"decode": decoded.seconds, "waited": decoded.waited, **video.stopwatch.seconds, "total": seconds}
        return {
            "watched": decoded.job.video,
            "questions": len(decoded.job.questions),
            "frames": [int(index) for index in frames.indices],
            "total_frames": int(frames.total),
            "decoder": frames.decoder,
            "visual_tokens": len(video.tokens),
            "prefix_bytes": int(video.prefix_bytes),
            "seconds": {stage: round(value, 6) for stage, value in stages.items()},
            **self.stamp,
        }

    def failure(self, question: Question, stage: str, error: Exception) -> Record:
        """The record of a question that could not be answered, and why."""
        cause = error.cause if isinstance(error, VideoError) else str(error)
        if isinstance(error, OUT_OF_MEMORY):
            cause = f"out of memory: {(str(error).splitlines() or [type(error).__name__])[0]}"
        return {"key": question.key, "video": question.video, "stage": stage, "error": cause, **self.stamp}


def release_memory() -> None:
    """Give cached blocks back to the GPU after it was full."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
