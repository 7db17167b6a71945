"""Your own video: choose or upload one, see its frames, ask, and compare two methods side by side.

The page is made of Jupyter widgets: it stands in a notebook's cell as it does behind Voilà (`sfllava app`).
"""

import base64
import html
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from sfllava_bench.peers.loading import load_model
from sfllava_core.answering.watched import WatchedVideo
from sfllava_core.defaults import CLIP, DEFAULT_MODEL, POCKETBENCH
from sfllava_core.methods.base import Method
from sfllava_core.methods.blind import Blind
from sfllava_core.methods.igvlm import IgVlm
from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.methods.specs import parse_spec
from sfllava_core.model import VideoLLM
from sfllava_core.video.integrity import VideoError
from sfllava_course.app.upload import DEFAULT_LIMIT, Upload
from sfllava_course.figures.field import kept, plot_kept

DRAWN_WORLD = (
    "This is the pocket model: 1.6 million parameters, and it knows only its own drawn world (PocketBench's films; "
    "<code>data/pocket/README.md</code>). About any other video it answers in that world's words, and they mean "
    "nothing. Start the app with <code>--model</code> and a LLaVA-NeXT checkpoint to ask about real videos."
)
RANDOM = "This checkpoint has random weights: its words mean nothing."
FIRST_FILM = POCKETBENCH / "videos" / "pocket_0002.mp4"  # the slow pathway alone misses its bubble
FIRST_QUESTION = "What is in the bubble?"
NEW_TOKENS = 128
WIDE = widgets.Layout(width="98%")


def films() -> dict[str, Path]:
    """The kit's films by name: five of the drawn world, and a real camera's."""
    drawn = sorted((POCKETBENCH / "videos").glob("*.mp4"))[:5]
    return {path.stem: path for path in (*drawn, *sorted(CLIP.parent.glob("*.mp4")))}


def about(llm: VideoLLM) -> str:
    """A plain word on the model that answers, as HTML."""
    name = html.escape(Path(llm.name).name if Path(llm.name).exists() else llm.name)
    known = Path(llm.name) == DEFAULT_MODEL
    word = DRAWN_WORLD if known else RANDOM if getattr(llm.model.config, "random_weights", False) else ""
    return f"<p>Model: <b>{name}</b>. {word}</p>"


def offered(llm: VideoLLM) -> list[Method]:
    """Methods to choose among, the model's own first, then one eye of it; any other spec may be typed."""
    own, eyes = llm.method, list[Method]()
    if isinstance(own, SlowFast) and own.slow is not None and own.fast is not None:
        eyes = [replace(own, fast=None), replace(own, slow=None)]
    return [own, *eyes, IgVlm().scaled(llm.grid), Blind()]


def as_picture(figure: Figure, alt: str) -> str:
    """A figure as an HTML picture; the figure is closed."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img style="max-width: 100%" alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'


def told(error: Exception, name: str) -> str:
    """One line on what went wrong; a video by the name that its owner knows."""
    return f"{name}: {error.cause} (what to do: {error.remedy})" if isinstance(error, VideoError) else str(error)


class Side:
    """One of the two methods that are compared: its spec, what it keeps of the film, its answer."""

    def __init__(self, label: str, spec: Method, options: list[Method]):
        self.spec = widgets.Combobox(
            value=str(spec), options=[str(one) for one in options], description=label, ensure_option=False,
            continuous_update=False, layout=WIDE,
        )  # fmt: skip
        self.tokens, self.picture, self.answer = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.answer.add_class("sfllava-answer")
        parts = [self.spec, self.tokens, self.picture, self.answer]
        self.box = widgets.VBox(parts, layout=widgets.Layout(width="50%", padding="0 8px"))
        self.watched: WatchedVideo | None = None

    def watch(self, llm: VideoLLM, video: Path) -> None:
        """Read the spec, watch the video, and show what is kept of it."""
        self.watched = None
        for shown in (self.tokens, self.picture, self.answer):
            shown.value = ""
        method = parse_spec(self.spec.value)
        watched = llm.watch(video, method)
        frames = watched.frames
        assert frames is not None, "a film has frames"
        seen = f"{len(frames)} of {frames.total} frames, {len(watched.tokens):,} visual tokens"
        self.tokens.value = f"<p>{seen}</p>"
        if len(watched.tokens):
            figure = plot_kept({"seen": kept(llm, method, frames)})
            alt = f"{seen}: the paler a patch, the more patches share its token"
            self.picture.value = as_picture(figure, alt)
        self.watched = watched

    def ask(self, question: str) -> None:
        """The answer, word by word. Raises ValueError where there is no question, or no film has been watched."""
        if not question.strip():
            raise ValueError("write a question first")
        if self.watched is None:
            raise ValueError(f"{self.spec.description}: no film has been watched; choose one, or mend the spec")
        words = ""

        def on_text(piece: str) -> None:
            nonlocal words
            words += piece
            self.say(words)

        self.say("...")
        self.watched.ask(question, max_new_tokens=NEW_TOKENS, on_text=on_text)
        self.say(words.strip() or "(no word)")

    def say(self, words: str) -> None:
        self.answer.value = f"<p><b>{html.escape(words)}</b></p>"


class Page:
    """The whole page; `box` is the widget to show.

    Args:
        model: a checkpoint's folder or hub id.
        limit: bytes of an upload at most.
    """

    def __init__(self, model: str = str(DEFAULT_MODEL), limit: int = DEFAULT_LIMIT):
        self.llm = load_model(model)
        methods = offered(self.llm)
        self.sides = [Side("method A", methods[0], methods), Side("method B", methods[1], methods)]
        known = films()
        self.video, self.name = FIRST_FILM, FIRST_FILM.stem
        self.film = widgets.Dropdown(options=known, description="film", value=self.video)
        self.upload = Upload(self.show, limit)
        self.question = widgets.Text(value=FIRST_QUESTION, description="question", layout=WIDE)
        self.button = widgets.Button(description="Ask both", button_style="primary")
        self.said = widgets.HTML()
        self.said.add_class("sfllava-said")
        self.box = widgets.VBox([
            widgets.HTML(f"<h1>Your own video</h1>{about(self.llm)}"),
            widgets.HBox([self.film, self.upload]),
            self.said,
            widgets.HBox([self.question, self.button]),
            widgets.HBox([side.box for side in self.sides]),
        ])  # fmt: skip
        self.film.observe(lambda change: self.show(change.new, change.new.stem), "value")
        for side in self.sides:
            side.spec.observe(lambda _, side=side: self.watch([side]), "value")
        self.button.on_click(lambda _: self.ask())
        self.watch(self.sides)

    def show(self, video: Path, name: str) -> None:
        """Another film, on both sides."""
        self.video, self.name = video, name
        self.watch(self.sides)

    def watch(self, sides: list[Side]) -> None:
        with self.busy(f"watching {self.name}"):
            for side in sides:
                side.watch(self.llm, self.video)

    def ask(self) -> None:
        with self.busy("answering"):
            for side in self.sides:
                side.ask(self.question.value)

    @contextmanager
    def busy(self, word: str) -> Iterator[None]:
        """Say what is being done; an error ends it with one clear line, and the page goes on."""
        self.button.disabled, self.said.value = True, f"<p>{html.escape(word)} ...</p>"
        try:
            yield
            self.said.value = ""
        except Exception as error:  # whatever it was: a callback's error is seen nowhere else
            line = html.escape(told(error, self.name))
            self.said.value = f'<p role="alert" style="color: #b00020">error: {line}</p>'
        finally:
            self.button.disabled = False
