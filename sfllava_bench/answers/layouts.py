"""PocketBench's layouts, as experiments with a name; and any specs asked at once, without a file."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.journal import Record
from sfllava_bench.answers.loop import records_of
from sfllava_bench.answers.video_model import VideoModel
from sfllava_bench.questions.records import BATCH, MULTIPLE_CHOICE, Question
from sfllava_bench.scores.matching import match
from sfllava_bench.scores.scores import is_right_choice
from sfllava_core.methods.base import PAPERS_ROPE, Method
from sfllava_core.methods.blind import Blind
from sfllava_core.methods.dcode import DCoDe
from sfllava_core.methods.freeva import FreeVA
from sfllava_core.methods.igvlm import IgVlm
from sfllava_core.methods.image_grid import ImageGrid
from sfllava_core.methods.ktv import KTV
from sfllava_core.methods.llava_next_image import LlavaNextImage
from sfllava_core.methods.pooling import NO_POOL, Pool
from sfllava_core.methods.slowfast import Pathway, SlowFast, fast_only, slow_only, uniform
from sfllava_core.methods.tsllava import TSLLaVA
from sfllava_core.video.folder import VideoFolder

ONE_BY_TWO = Pool.window("max", 1, 2)
SLOWFAST = "SlowFast"
GRID = (12, 12)  # the pocket model's
NEW_TOKENS = 16  # PocketBench's longest answer has 6
POCKET_SLOWFAST = SlowFast(50, Pathway(8, ONE_BY_TWO), Pathway(None, Pool.to(2, 2)))


def layout(name: str, method: Method, **settings: Any) -> Experiment:
    """An experiment on PocketBench; model and files are still to be given. settings: other fields of `Experiment`."""
    return Experiment(
        id=f"pocketbench_{name.replace(', ', '_').replace(' ', '_').lower()}",
        method=method,
        max_new_tokens=NEW_TOKENS,
        rope=PAPERS_ROPE,  # one model for all: the pocket model was not made for another
        benchmark="pocketbench",
        note=f"{name}; PocketBench is this kit's own, no number of it is the paper's",
        **settings,
    )


SPECS = {  # for a grid of 12 x 12; tokens of a film of at least 150 frames
    SLOWFAST: POCKET_SLOWFAST,  # 8 x 72 + 50 x 4 = 776
    "slow only": slow_only(8, ONE_BY_TWO),  # 8 x 72 = 576
    "fast only": fast_only(50, (2, 2)),  # 50 x 4 = 200
    "slow only, equal tokens": SlowFast(11, Pathway(None, ONE_BY_TWO), None),  # 11 x 72 = 792
    "fast only, every frame": fast_only(150, (2, 2)),  # 150 x 4 = 600
    "fast only, equal tokens": fast_only(48, (4, 4)),  # 48 x 16 = 768
    "uniform, pooled": uniform(22, (6, 6)),  # 22 x 36 = 792
    "uniform, whole": SlowFast(5, Pathway(None, NO_POOL), None),  # 5 x 144 = 720
    "image grid": ImageGrid(2, 2),  # 144 + 24 rows of (24 + 1) = 744
}
NOTE = (
    "Other papers' methods are in proportion to this model's grid, at about SlowFast's tokens where they let one "
    "choose. All are asked with SlowFast's prompt, the only one that the pocket model knows, on its RoPE as it is: "
    "what is compared is what is seen. FreeVA's five whole frames are 'uniform, whole' by another name. KTV has the "
    "largest of its three counts, in proportion, and its keyframes are not ranked for each question."
)
RIVALS = {  # tokens of PocketBench's films, which are square
    "IG-VLM": IgVlm().scaled(GRID),  # as published: 144 + 24 rows of (16 + 1) = 552; its frames and tiles are fixed
    "LLaVA-NeXT-Image": LlavaNextImage(22),  # 22 x 36 = 792, pooled before the projector
    "FreeVA": FreeVA(5),  # 5 x 144 = 720: D1, published with four frames; the tokens of "uniform, whole"
    "TS-LLaVA": TSLLaVA().scaled(GRID),  # 720 + 144 = 864, its own in proportion
    "D-CoDe": DCoDe.released("nextqa").scaled(GRID),  # 1,620 at most, about 700: the film decides
    "KTV": KTV(tokens=1872, loaded=50).scaled(GRID),  # 6 x 78 = 468, the most of its three counts in proportion
}
CONTROLS = {"no visual tokens": Blind()}
LAYOUTS = {name: layout(name, spec) for name, spec in SPECS.items()}
LAYOUTS |= {name: layout(name, spec, prompts="paper") for name, spec in RIVALS.items()}
LAYOUTS |= {name: layout(name, spec) for name, spec in CONTROLS.items()}
LAYOUTS["another film"] = layout("another film", POCKET_SLOWFAST, other_film=True)


@dataclass(frozen=True)
class Answered:
    """One question answered through one layout. text: what the model wrote; "" with the reason in `error` if nothing.

    right: exact words of an open question (without case, articles and punctuation), the letter of a choice; False
        where there is no answer to compare with.
    """

    layout: str
    question: Question
    text: str
    right: bool
    error: str = ""


def ask_through(
    llm: VideoModel,
    layouts: dict[str, Experiment | Method],
    questions: list[Question],
    videos: VideoFolder,
    *,
    max_new_tokens: int = NEW_TOKENS,
    batch: int = BATCH,
) -> Iterator[Answered]:
    """Every question through every layout, film by film; nothing is decoded or encoded twice.

    Args:
        llm: a `VideoLLM`.
        layouts: by name; a bare spec will do. `LAYOUTS` holds those of PocketBench.
        questions: of `load_annotations("pocketbench", folder)`, or some of them; open and multiple choice mixed.
        videos: such as `VideoFolder("data/pocketbench")`.
        max_new_tokens: an answer is cut there.
        batch: questions answered together.

    Yields:
        `Answered`, all layouts of a film before the next film.
    """
    found = {name: one if isinstance(one, Experiment) else layout(name, one) for name, one in layouts.items()}
    asked: dict[str, Any] = {"asked": tuple(questions), "max_new_tokens": max_new_tokens}
    experiments = [replace(one, id=name, **asked) for name, one in found.items()]
    by_key, asking = {question.key: question for question in questions}, {one.id: one.asking for one in experiments}
    for name, records in records_of(llm, experiments, videos, batch=batch):
        for record in records:
            if "key" in record:
                yield answered(name, by_key[record["key"]], record, asking[name])


def answered(name: str, question: Question, record: Record, method: Method = POCKET_SLOWFAST) -> Answered:
    """A record, read by the rule of the method that asked: `Experiment.asking`."""
    if "error" in record:
        return Answered(name, question, "", False, record["error"])
    text = record["answers"][0]
    if not question.has_reference:
        return Answered(name, question, text, False)
    if question.task == MULTIPLE_CHOICE:
        return Answered(name, question, text, is_right_choice(record, question, method))
    return Answered(name, question, text, match(text, question.answer)["exact_match"] == 1)
