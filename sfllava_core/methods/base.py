"""What a method is: what the model sees of a video, as a value.

frames -> features -> **method** -> prompt -> answer

A method is a frozen dataclass that derives from `Method`: printable, hashable, JSON-able, so that a record says exactly
what was run, the budget can price it, and a sweep is a list of methods. Defining the class is all there is to adding
one: `parse_spec` then reads its texts, `VideoLLM.watch` shows it videos, and benchmarks run it.

A video goes through a method in this order; all but the tokens have the paper's way as default:

    sample      which frames of the file are read
    arrange     pictures for the vision tower, made of the frames' pixels
    pool_patches    what is done to the tower's patches before the projector
    visual_tokens   features -> visual tokens (`tokens_of`, for methods that look at more than the features)
    open_ended, multiple_choice     how it asks
    read_choice     how the option is read out of what the model wrote
"""

import json
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, SupportsIndex

import numpy as np
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from sfllava_core.answering.choices import parse_choice
from sfllava_core.exports import kinds_of
from sfllava_core.prompts import ALL_PARTS, PromptParts, multiple_choice_pieces, open_ended_pieces, option_letters
from sfllava_core.video.frames import sample_frame_indices

# A field may be given whatever has an `__index__` (numpy's integers too) and holds an int. A type says one of the two:
# the type checker hears what is held, the run-time check of the tests what may be given.
if TYPE_CHECKING:
    Whole = int
else:
    Whole = SupportsIndex

Grid = Sequence[int]  # (rows, columns)
Rope = tuple[str, float]  # (type, factor) of RoPE scaling, as of `VideoLLM.from_pretrained`
PAPERS_ROPE: Rope = ("dynamic", 2.0)
NO_SCALING: Rope = ("dynamic", 1.0)


class SpecError(ValueError):
    """A method that cannot be: says which number, and why."""


def positive_int(name: str, value: object, most: int | None = None) -> int:
    """The value as a plain int, if it is a whole number of at least 1, and of `most` at most.

    Raises:
        SpecError: it is not.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise SpecError(f"{name}={value!r}: give a whole number of at least 1")
    if most is not None and operator.index(value) > most:
        raise SpecError(f"{name}={value!r}: give a whole number of at most {most}")
    return operator.index(value)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model saw of a video's views.

    features: after the projector.
    newline: the model's vector for a row's end, where it has one.
    frame_size: (height, width) of the frames that `arrange` got; None where features were given.
    image_size: (height, width) of the pictures that the vision tower takes; None where features were given.
    more: by name what the method `wants` beside them, first axis the views.
    """

    features: Float[Tensor, "views rows columns dim"]
    newline: Float[Tensor, "dim"] | None = None
    frame_size: tuple[int, int] | None = None
    image_size: tuple[int, int] | None = None
    more: dict[str, Tensor] = field(default_factory=dict)


class Method(ABC):
    """Which frames a model sees of a video, and the visual tokens that are made of them.

    num_frames: how many frames are sampled.
    max_new_tokens: the length that answers were cut at where it was published.
    max_choice_tokens: the same for questions with options, where it was another.
    no_repeat_ngram_size: in an open answer no run of so many tokens comes twice, where it was published so.
    wants: what `tokens_of` needs beside features, by the names of `Backbone.look`.
    needs_newline: it needs the model's vector for a row's end, which not every family has.
    own_features: it needs more than the features of each frame on its own after the projector, so no other method's
        pass through the tower serves it.
    published: what it was published with (checkpoint, generation, ...), by name.
    differs: what differs here from the released code; empty where nothing does.
    caveat: what a reader of its numbers must be told; it goes into every report.
    """

    num_frames: int
    max_new_tokens: ClassVar[int] = 128
    max_choice_tokens: ClassVar[int | None] = None
    no_repeat_ngram_size: ClassVar[int | None] = None
    wants: ClassVar[tuple[str, ...]] = ()
    needs_newline: ClassVar[bool] = False
    own_features: ClassVar[bool] = False
    published: ClassVar[dict[str, str]] = {}
    differs: ClassVar[str] = ""
    caveat: ClassVar[str] = ""

    @property
    def rope(self) -> Rope | None:
        """How the model's RoPE was scaled where the method was published; None leaves that to the model's loader.

        The model is loaded so by benchmarks; `VideoLLM.from_pretrained` is told by `rope_type` and `rope_scaling`.
        """
        return PAPERS_ROPE

    @classmethod
    def kinds(cls) -> dict[str, type["Method"]]:
        """All methods that are defined so far, by name; of two that share it the later (a cell that was run again)."""
        return {kind.__name__: kind for kind in kinds_of(cls)}

    @abstractmethod
    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """Visual tokens by part, for `num_frames` sampled frames (default: the method's) of `grid` patches."""

    @abstractmethod
    def visual_tokens(
        self, features: Float[Tensor, "views rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features of the views to visual tokens. `newline`: the model's vector for a row's end, where it has one."""

    @abstractmethod
    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """Which sampled frame each visual token comes from (for figures); -1 where it mixes frames."""

    @abstractmethod
    def __str__(self) -> str:
        """A short name, safe in a shell and in a file name, that `parse` reads back."""

    @classmethod
    @abstractmethod
    def parse(cls, text: str, num_frames: int = 50) -> "Method | None":
        """The method of this kind that a text names; None where it names none of this kind.

        Args:
            num_frames: frames to sample, for names that do not hold them.

        Raises:
            SpecError: a text of this kind whose numbers cannot be.
        """

    def sample(self, total: int) -> list[int]:
        """Numbers of the frames that are read of a video of `total`, never decreasing; here the paper's rule.

        Raises:
            ValueError: the video is too short for the method.
        """
        return sample_frame_indices(total, self.num_frames)

    def pool_patches(
        self, patches: Float[Tensor, "views rows columns width"]
    ) -> Float[Tensor, "views rows2 columns2 width"]:
        """The tower's patches before they go through the projector; here as they are."""
        return patches

    def feature_grid(self, grid: Grid) -> Grid:
        """(rows, columns) of features that `pool_patches` leaves of the tower's `grid`."""
        return grid

    def tokens_of(self, seen: Seen) -> Float[Tensor, "tokens dim"]:
        """Visual tokens of what was seen; a method that needs the features alone defines `visual_tokens`."""
        return self.visual_tokens(seen.features, seen.newline)

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """The prompt of an open question in two pieces: what a video's questions share, and this one's own.

        Args:
            style: "vicuna" (7B), "chatml" (34B) or "mistral".
            parts: the parts to keep of the paper's prompt (table 7).

        Raises:
            PromptError: no prompt can be made of it.
        """
        return open_ended_pieces(question, style, parts)

    def multiple_choice(
        self, question: str, options: Sequence[str], style: str, parts: PromptParts = ALL_PARTS
    ) -> tuple[str, str]:
        """The prompt of a question with options, as in `open_ended`."""
        return multiple_choice_pieces(question, options, style, parts)

    def read_choice(self, text: str, options: Sequence[str]) -> int | None:
        """Which option (from 0) the model's words choose; None where they name none. Here the released rule."""
        letter = (parse_choice(text) or "?").upper()
        place = option_letters(options).find(letter)
        return place if place >= 0 else None

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Method":
        """The method with these fields, as `to_json` wrote them."""
        return cls(**fields)

    def to_json(self) -> str:
        """The method as JSON with its kind's name; `parse_spec` gives the same value back."""
        values: Any = self  # a dataclass, as each kind is
        return json.dumps({"method": type(self).__name__, **asdict(values)})

    def token_count(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> int:
        """Visual tokens in all. Raises SpecError for a pool that does not fit the grid."""
        return sum(self.token_counts(num_frames, grid).values())

    def encoded_pictures(self, num_frames: int) -> int:
        """How many pictures the vision tower encodes for `num_frames` sampled frames."""
        return num_frames

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "views h2 w2 3"] | Float[np.ndarray, "views h2 w2 3"]:
        """The pictures that the vision tower encodes: here each frame is one. `size` is the tower's (height, width).

        uint8 is resized to `size`. Pictures between grey levels are float32, 0 to 255, of that very size.
        """
        return pixels

    def decoded_size(self, size: tuple[int, int], resize: str = "pillow") -> tuple[int, int] | None:
        """(height, width) to shrink frames to while they are decoded; None keeps the video's own size.

        The tower's own `size`, wherever that gives the very pixels that shrinking later would.
        """
        return size if resize == "pillow" else None

    def scaled(self, grid: Grid) -> "Method":
        """The same, made for the paper's 24 x 24 patches, for a model of another grid; here nothing depends on it."""
        return self


def decode_method(text: str) -> Method:
    """What `to_json` wrote. Raises SpecError for anything else."""
    try:
        fields = json.loads(text)
        name = fields.pop("method")
        kinds = Method.kinds()
        if name not in kinds:
            raise SpecError(f"spec method {name!r}: choose {', '.join(sorted(kinds))}")
        return kinds[name].from_fields(fields)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SpecError(f"spec {text!r} is not JSON that to_json wrote: {error!r}") from error
