"""All that can change an answer, as one value: a run's settings, and a fingerprint of the model's weights."""

import hashlib
from dataclasses import asdict, dataclass

import torch

from sfllava_bench.questions.records import Question, questions_fingerprint
from sfllava_core.methods.base import Method
from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.prompts import ALL_PARTS, PromptParts

SAMPLED = 64  # values of each weight that go into the fingerprint, from its beginning and its end
SHARING = ("video", "nothing")
CHOOSING = ("generation", "likelihood")
DECODING = ("auto", "pyav", "decord")


@dataclass(frozen=True)
class RunSettings:
    """How the questions of a run are asked; the defaults are the paper's.

    pathways, parts: what the model sees (tables 4 to 6), and the parts of the prompt (table 7).
    by: "generation" lets the model write and reads its choice; "likelihood" takes the likeliest letter.
    share: "video" watches a video once for all its questions; "nothing" does all the work again for each, as the
        released code does: the same answers in float32, many times slower, to compare with.
    max_new_tokens: at most this many new tokens an answer.
    resize, decoder: as in `VideoLLM.watch`.
    """

    pathways: Method = SlowFast()
    parts: PromptParts = ALL_PARTS
    by: str = "generation"
    share: str = "video"
    max_new_tokens: int = 128
    resize: str = "pillow"
    decoder: str = "auto"

    def __post_init__(self) -> None:
        for name, allowed in (("by", CHOOSING), ("share", SHARING), ("decoder", DECODING)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(allowed)}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={self.max_new_tokens}: ask for at least 1 token")

    def record(self, questions: list[Question], llm) -> dict[str, object]:
        """JSON-able settings of a run: these, the questions' and the model's fingerprints. Names no folder or machine.

        A number that changes no answer (batches, workers, the device's name) is not in here.
        """
        return {
            **asdict(self),
            "pathways": str(self.pathways),
            "benchmark": questions[0].benchmark,
            "questions": questions_fingerprint(questions),
            "expected": len(questions),
            "model": model_fingerprint(llm.model),
            "dtype": str(llm.model.dtype).removeprefix("torch."),
            "device": llm.device.type,
            "prompt_style": llm.prompt_style,
            "max_positions": llm.max_positions,
        }


def model_fingerprint(model: torch.nn.Module) -> str:
    """16 hex digits that stand for a model's weights: names, shapes, and some values of each of them.

    Reads a few thousand numbers, so it takes a moment for a 34B too; the folder that it was loaded from has no part.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        flat = weight.detach().reshape(-1)
        some = torch.cat([flat[:SAMPLED], flat[-SAMPLED:]]).to("cpu", torch.float32)
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(some.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
