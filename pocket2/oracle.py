"""`python -m pocket2.oracle --videos N`: how well each layout could answer, from the story's state alone.

The oracle knows which moments a layout's streams sample (by the released rule) and what their tokens can show (by the
rule of `sight`). What it has seen it answers rightly; for the rest it gives the chance that its best guess among what
is left is right. So its accuracy is a ceiling, the same in every run, and tells a family that cannot tell layouts
apart before a model is trained.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pocket.layouts import Stream
from pocket2.bench import SCENES, Film, bench_film, bench_questions
from pocket2.claims import Marks, accuracy, load_claims
from pocket2.questions import FAMILIES, Question, a
from pocket2.sight import choices, shows_bubble, shows_corner, shows_thing
from pocket2.stories import BETWEEN, EDGE, SHORT_FRAMES
from pocket2.world import NAMES, Board, Bubble, Scene, frame_times

FORMS = ("open", "choice")


class Oracle:
    """A film through a layout."""

    def __init__(self, film: Film, streams: Sequence[Stream]) -> None:
        self.film, self.story = film, film.story
        times = frame_times(film.frames)
        self.looks = [(stream.how, [times[n] for n in stream.frames(film.frames)]) for stream in streams]

    def right(self, q: Question, choice: bool) -> float:
        """The chance that the question is answered rightly; `choice`: by letter."""
        return getattr(self, f"_{q.family}")(q, choice)

    def caught(self, bubble: Bubble) -> bool:
        """Whether a frame has the bubble, and a token of it shows it."""
        return any(
            bubble.begin <= time < bubble.until and shows_bubble(bubble, how)
            for how, times in self.looks
            for time in times
        )

    def _number(self, scene: Scene, colour: str, q: Question, choice: bool) -> float:
        """The number on the card of a colour of a scene."""
        [board] = scene.boards
        hows = {how for how, times in self.looks if any(scene.begin <= time < scene.until for time in times)}
        left = _fewest(board, hows)
        if left[colour]:
            return 1 / left[colour]
        known = {str(card.digit) for card in board.cards if left[card.colour] == 1}
        return 1 / len(set(q.options) - known) if choice else 1 / (10 - len(known))

    def _plate(self, q: Question, choice: bool) -> float:
        return self._number(self.story.scenes[0], _named(q.text, self.story.scenes[0]), q, choice)

    def _scene(self, q: Question, choice: bool) -> float:
        [scene] = [scene for scene in self.story.scenes if f"the {scene.place}," in q.text]
        return self._number(scene, _named(q.text, scene), q, choice)

    def _key(self, q: Question, choice: bool) -> float:
        [scene], [bubble] = self.story.scenes, self.story.bubbles
        if self.caught(bubble):
            return self._number(scene, bubble.colour, q, choice)
        [board] = scene.boards
        if any(_fewest(board, {how for how, times in self.looks if times}).values()):
            return 1 / len(board.cards)  # some number of the board, each as likely
        return 1 / len(q.options) if choice else 1 / 10

    def _brief(self, q: Question, choice: bool) -> float:
        if self.caught(self.story.bubbles[0]):
            return 1.0
        return 1 / len(q.options) if choice else 1 / (len(NAMES) - 1)  # the hopper is in no bubble

    def _order(self, q: Question, choice: bool) -> float:
        """One bubble alone still tells by its time which is likelier to come first."""
        seen = [bubble for bubble in self.story.bubbles if self.caught(bubble)]
        if len(seen) != 1:
            return 1.0 if seen else 1 / 2
        begin, until = (round(time * SHORT_FRAMES) for time in (seen[0].begin, seen[0].until))
        apart = until - begin + BETWEEN  # from the begin of one bubble to that of the other, at least
        before, after = (max(0, room + 1) for room in (begin - apart - EDGE, SHORT_FRAMES - EDGE - 1 - until - apart))
        return max(before, after) / (before + after)

    def _hop(self, q: Question, choice: bool) -> float:
        hopper = self.story.hopper
        assert hopper is not None, q.text
        for how, times in self.looks:
            for time in times:
                if hopper.begin <= time < hopper.until and shows_corner(how) and shows_thing(hopper.at(time), how):
                    return 1.0
        at_home = any(
            shows_corner(how) and shows_thing(hopper.at(time), how) for how, times in self.looks for time in times[:1]
        )
        return 1 / 3 if at_home else 1 / 4

    def _long(self, q: Question, choice: bool) -> float:
        seen = {
            thing.name
            for how, times in self.looks
            for time in times
            for thing in self.story.at(time).things
            if shows_thing(thing, how)
        }
        if choice:
            return 1.0 if q.choice_answer in seen else 1 / len(q.options)
        return float(("yes" if q.text[len("Is there ") : -1] in {a(name) for name in seen} else "no") == q.answer)


def _fewest(board: Board, hows: set[str]) -> dict[str, int]:
    """`choices` through the best of several pools."""
    found = [choices(board, how) for how in sorted(hows)]
    counts = {card.colour: [one[card.colour] for one in found if one[card.colour]] for card in board.cards}
    return {colour: min(some, default=0) for colour, some in counts.items()}


def _named(text: str, scene: Scene) -> str:
    """The colour of the scene's card that a question names."""
    [colour] = [card.colour for card in scene.boards[0].cards if f" {card.colour} card" in text]
    return colour


def oracle_marks(layouts: dict[str, tuple[Stream, ...]], seed: int, videos: int) -> Marks:
    """What the oracle gets on a bench of so many videos."""
    found: Marks = {layout: defaultdict(list) for layout in layouts}
    for index in range(videos):
        film, asked = bench_film(seed, index), bench_questions(seed, index)
        for layout, streams in layouts.items():
            oracle = Oracle(film, streams)
            for form, questions in zip(FORMS, asked, strict=True):
                for q in questions:
                    found[layout][q.family, form, film.kind].append(oracle.right(q, form == "choice"))
    return found


def markdown(marks: Marks) -> str:
    """Accuracy in % by layout and family, open / by letter; `long` and `scene` by kind of film, too."""
    columns: dict[str, tuple[str, str | None]]
    columns = {family: (family, None) for family in FAMILIES if family not in ("scene", "long")}
    columns |= {f"{family}, {kind}": (family, kind) for family in ("scene", "long") for kind in SCENES}
    lines = [["layout", *columns, "mean"], ["---"] * (len(columns) + 2)]
    for layout, cells in marks.items():
        shown = []
        for family, kind in columns.values():
            forms = [
                [
                    m
                    for (of, f, k), some in cells.items()
                    if (of, f) == (family, form) and kind in (None, k)
                    for m in some
                ]
                for form in FORMS
            ]
            shown.append(" / ".join(f"{100 * np.mean(form):.0f}" for form in forms))
        lines.append([layout, *shown, f"{accuracy(cells, FAMILIES):.1f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pocket2.oracle", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--videos", type=int, default=400)
    args = parser.parse_args()
    claims = load_claims()
    marks = oracle_marks(claims.layouts, args.seed, args.videos)
    print(markdown(marks), "", sep="\n")
    for claim in claims.claims:
        wanted = f"within {claim.points:g}" if claim.equal else f"at least {claim.points:g}"
        found = "holds" if claim.holds(marks) else "FAILS"
        print(f"{found}  {claim.lead(marks):+6.1f} ({wanted})  {claim.name}: {claim.first} against {claim.second}")


if __name__ == "__main__":
    main()
