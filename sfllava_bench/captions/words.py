"""What a run needs where a language model has a say: captions kept beside the runs, and open connections.

    a video's clips -> captions/<model and clips>.jsonl -> `Words.told` -> `Words.records` -> answers.jsonl
                                                           questions   -> `Words.taken_apart`: D-CoDe's sub-questions

One captioning serves every question, experiment, method and later run in the same folder. A language model that does
not answer any more stops the run: what it was not asked stays pending, and the next start goes on.
"""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from sfllava_bench.answers.journal import Record
from sfllava_bench.answers.subquestions import TEMPERATURE, ask_for_subquestions
from sfllava_bench.answers.video_model import Elsewhere, VideoModel
from sfllava_bench.captions.captioner import Captions, Clips, Read, caption_settings, clip_embeddings, read_captions
from sfllava_bench.captions.methods import Asker, Told, ToldInWords
from sfllava_bench.captions.own_model import own_language_model
from sfllava_bench.captions.prompts import Ask, Messages
from sfllava_bench.captions.reasoner import GIVE_UP_AFTER, Reasoner, Work, answers, with_stride
from sfllava_bench.questions.records import Question, fingerprint
from sfllava_bench.scores.chat import ItemError, Judge, JudgeError
from sfllava_core.stopwatch import Stopwatch
from sfllava_core.video.frames import Frames
from sfllava_core.video.integrity import VideoError

if TYPE_CHECKING:
    from sfllava_bench.answers.experiment import Experiment

Records = Generator[Record, None, None]
OWN = "own"  # in a reader's place: the language model of the video's model itself
OWN_TOKENS = 100  # of a reply in which it takes a question apart


class Talk:
    """One question's requests to a language model, counted: `asker` is what a method asks by."""

    def __init__(self, reasoner: Reasoner):
        self.reasoner, self.requests, self.tokens, self.served = reasoner, 0, 0, set[str]()

    def asker(self, request) -> Ask:
        def ask(messages: Messages) -> str:
            answer = self.reasoner.answer(request(messages))
            self.requests, self.tokens = self.requests + 1, self.tokens + (answer.tokens or 0)
            self.served.add(answer.model)
            return answer.text

        return ask

    def record(self) -> Record:
        """How many requests, tokens by the server's count, and the model that it says it used."""
        return {"requests": self.requests, "tokens": self.tokens, "served_model": ", ".join(sorted(self.served))}


class ToldVideo:
    """A video told in words, in a watched one's place: no visual token stands before a question."""

    tokens, prefix_bytes = (), 0

    def __init__(self, told: Told, stopwatch: Stopwatch):
        self.told, self.stopwatch = told, stopwatch


def told_by(experiment: "Experiment") -> ToldInWords:
    """Its method, which tells videos in words."""
    assert isinstance(experiment.method, ToldInWords), f"{experiment.id}: {experiment.method} shows videos"
    return experiment.method


class Words:
    """Captions and language models of a run. Use it with `with`; nothing is opened before it is needed.

    llm: the run's model, which makes captions; or workers that have it (`carried.py`).
    out: the folder of the runs; captions are kept in out/captions.
    """

    def __init__(self, llm: VideoModel | Elsewhere, out: str | Path):
        self.llm: Any = llm  # captions ask more of it than a benchmark does: what a `VideoLLM` has
        self.folder, self.stack = Path(out) / "captions", ExitStack()
        self.books: dict[Clips, Captions] = {}
        self.files: dict[Path, dict[str, str | list[str]]] = {}
        self.readers: dict[tuple[str, str | None], Reasoner] = {}
        self.features: tuple[tuple[str, Clips], torch.Tensor] | None = None  # of the last video
        self.bad = 0  # requests that failed, one after another

    def __enter__(self) -> "Words":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    # Videos in words

    def told(self, experiment: "Experiment", name: str, frames: Frames, read: Read) -> ToldVideo:
        """A video's captions, made where there are none, and features where the method wants them.

        Args:
            frames: any of the video, which say how long it is.
            read: as `VideoFolder.read`.

        Raises:
            VideoError: it cannot be cut into clips, or the files given do not have it.
            ContextError: a clip does not fit the model's context.
        """
        method, stopwatch = told_by(experiment), Stopwatch(self.llm.device)
        given = experiment.captions is not None
        with stopwatch("caption"):
            if experiment.captions is not None:
                captions = self.given(experiment.captions, name)
            else:
                captions = self.book(method.clips).of(name, read)
        features = None
        if method.wants:
            with stopwatch("encode"):
                features = self.features_of(experiment, name, read)
        seconds = frames.total / frames.fps if frames.fps > 0 else 0.0
        return ToldVideo(Told(captions, seconds, features, given), stopwatch)

    def book(self, clips: Clips) -> Captions:
        """The captions of clips cut so, by the run's model."""
        if clips not in self.books:
            path = self.folder / f"{fingerprint(caption_settings(self.llm, clips))}.jsonl"
            self.books[clips] = self.stack.enter_context(Captions(self.llm, path, clips))
        return self.books[clips]

    def given(self, path: Path, name: str) -> str | list[str]:
        """Captions of somebody's file."""
        if path not in self.files:
            self.files[path] = read_captions(path)
        if name not in self.files[path]:
            raise VideoError(path, f"it has no captions of {name!r}", "give a file that has, or none")
        return self.files[path][name]

    def features_of(self, experiment: "Experiment", name: str, read: Read) -> torch.Tensor:
        """One vector a clip, of the tower's CLS or of somebody's file."""
        if experiment.features is not None:
            return given_features(experiment.features, name)
        clips = told_by(experiment).clips
        if self.features is None or self.features[0] != (name, clips):
            self.features = (name, clips), clip_embeddings(self.llm, read, name, clips, experiment.method)
        return self.features[1]

    # Language models

    def reader(self, judge: Judge) -> Reasoner:
        """An open connection."""
        where = (judge.model, judge.base_url)
        if where not in self.readers:
            self.readers[where] = self.stack.enter_context(Reasoner(judge))
        return self.readers[where]

    def records(self, experiment: "Experiment", video: ToldVideo, questions: Sequence[Question]) -> Records:
        """A record of each question about a told video, as they come.

        Raises:
            JudgeError: the language model cannot be used, or does not answer any more.
        """
        method, told = told_by(experiment), video.told
        every = method.every
        number = 1 if isinstance(told.captions, str) else len(told.captions) * (1 if told.given else every)

        def answer(question: Question, asker: Asker) -> Record:
            if not question.options:
                method.open_ended(question.questions[0], "")  # says why not
            reply, way = method.reason(asker, told, question.questions[0], question.options)
            return {"answers": [reply], **({"reasoning": way} if way else {})}

        own = None
        if experiment.reasoner == OWN:
            limit = experiment.new_tokens(questions[0].task)
            own = own_language_model(self.llm, limit, number if method.whole else 0, every)
        for record in self.asked(experiment, questions, answer, own):
            if method.whole and "tries" in record:  # a server's refusal
                record["error"] = with_stride(record["error"], number, every)
            yield record

    def taken_apart(self, experiment: "Experiment", video: object, questions: Sequence[Question]) -> Records:
        """Each question's sub-questions, or a record of a failure. Errors as of `records`."""

        def apart(question: Question, asker: Asker) -> Record:
            ask = asker(lambda messages: {"messages": messages, "temperature": TEMPERATURE})
            return {"subquestions": ask_for_subquestions(ask, question.questions[0], experiment.subquestions)}

        ask = own_language_model(self.llm, OWN_TOKENS) if experiment.reasoner == OWN else None
        yield from self.asked(experiment, questions, apart, ask)

    def asked(self, experiment: "Experiment", questions: Sequence[Question], work, own: Ask | None) -> Records:
        """`work` of each question, several at a time where a server does it."""
        video = {"video": questions[0].video}
        if own is not None:
            for question in questions:
                yield {"key": question.key, **video, **by_itself(work, question, lambda _: own)}
            return
        assert isinstance(experiment.reasoner, Judge), "the run's own model is no server"
        reasoner = self.reader(experiment.reasoner)

        def one(question: Question, reasoner: Reasoner) -> Record:
            talk = Talk(reasoner)
            return {**work(question, talk.asker), **talk.record()}

        each: dict[str, Work] = {question.key: partial(one, question) for question in questions}
        with closing(answers(reasoner, each)) as coming:
            for record, error in coming:
                self.bad = 0 if error is None else self.bad + 1
                if error is not None and (error.unreachable or self.bad >= GIVE_UP_AFTER):
                    raise gone(reasoner.judge, error)
                failed = {"stage": "answer"} if "error" in record else {}
                yield {**record, **video, **failed}


def by_itself(work, question: Question, asker: Asker) -> Record:
    """What comes of one question, or why nothing does."""
    try:
        return work(question, asker)
    except ValueError as error:  # also one that no prompt can be made of, or that does not fit the context
        return {"stage": "answer", "error": str(error)}
    except (torch.OutOfMemoryError, MemoryError) as error:
        return {"stage": "answer", "error": f"out of memory: {error!s:.200}"}


def gone(judge: Judge, error: ItemError) -> JudgeError:
    """Why a run stops whose language model fails again and again."""
    where = judge.base_url or "OpenAI"
    return JudgeError(
        f"the reasoner {judge.model!r} at {where} does not answer any more: {error}: see to it, then give the same "
        "command: it goes on, and what is captioned and answered is kept"
    )


def given_features(path: Path, name: str) -> torch.Tensor:
    """One video's features of a safetensors file, (frames, width) by the video's name.

    Raises:
        VideoError: the file does not have them.
    """
    try:
        with safe_open(path, "pt") as stored:
            if name in stored.keys() and stored.get_slice(name).get_shape()[1:]:
                return stored.get_tensor(name).float()
    except (OSError, SafetensorError) as error:
        raise VideoError(path, f"no file of features: {error}", "give safetensors, a video's name to each") from None
    raise VideoError(path, f"it has no features (frames, width) of {name!r}", "give a file that has, or none")
