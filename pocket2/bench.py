"""`python -m pocket2.bench --seed S --out DIR --videos N`: PocketBench 2, real video files and their questions, byte
for byte the same for a seed.

Four kinds of films take turns. What a model could use is independent of a film's number: dials, corners, letters and
which is named first come from blocks in random order, in which each value is equally frequent; all else is drawn
anew for each film. Most are H.264 in mp4; of the last three short films one is a webm (VP9), one an mp4 with a
variable frame rate and one a gif. Next in the data's way: `oracle` and the models.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pocket.bench import CHOICE_COLUMNS, OPEN_COLUMNS, write_csv, write_video
from pocket2.questions import CORNERS, FAMILIES, Question, ask
from pocket2.stories import BRIEF, LONG_FRAMES, SHORT_FRAMES, long_film, short_film
from pocket2.world import CANVAS, CARD_SIZES, Story, draw, frame_times

CYCLE = ("one bubble", "12 scenes", "two bubbles", "one bubble", "3 scenes", "two bubbles", "12 scenes", "one bubble")
SCENES = {"12 scenes": 12, "3 scenes": 3}
STORIES, QUESTIONS, BLOCKS = 7, 8, 9  # streams of random numbers
ROUNDS = 8  # of a block of answers: in a short one, a film would tell what the next does not answer
ENDS = (("first", True), ("first", False), ("last", True), ("last", False))  # asked for; is the right one named first?


@dataclass(frozen=True)
class Film:
    """A film's kind, its dials (`brief`: frames of a bubble, 0 where there is none) and its story."""

    kind: str
    size: int
    brief: int
    story: Story

    @property
    def frames(self) -> int:
        return LONG_FRAMES if self.kind in SCENES else SHORT_FRAMES

    @property
    def dial(self) -> str:
        """The dials in words, as the annotations give them."""
        brief = f", bubbles of {self.brief} frames" if self.brief else ""
        return f"{self.kind}, cards of size {self.size}{brief}"


def kind_and_rank(index: int) -> tuple[str, int]:
    """A film's kind, and how many of its kind come before it."""
    kind = CYCLE[index % len(CYCLE)]
    before = CYCLE[: index % len(CYCLE)].count(kind)
    return kind, index // len(CYCLE) * CYCLE.count(kind) + before


def in_turn(seed: int, what: str, values: int, rank: int, rounds: int = ROUNDS) -> int:
    """A number below `values`: among the ranks of a block of `rounds` * `values` each comes so many times, in random
    order."""
    block, place = divmod(rank, rounds * values)
    return _block(seed, what, rounds * values, block)[place] % values


@functools.lru_cache(maxsize=256)
def _block(seed: int, what: str, size: int, block: int) -> tuple[int, ...]:
    rng = np.random.default_rng([seed, BLOCKS, *what.encode(), block])
    return tuple(rng.permutation(size).tolist())


@functools.lru_cache(maxsize=256)
def bench_film(seed: int, index: int) -> Film:
    """Film `index`."""
    kind, rank = kind_and_rank(index)
    size = in_turn(seed, f"{kind} size", len(CARD_SIZES), rank, rounds=1)
    if kind in SCENES:
        return Film(kind, size, 0, long_film(np.random.default_rng([seed, STORIES, index]), SCENES[kind], size))
    brief = BRIEF[in_turn(seed, f"{kind} brief", len(BRIEF), rank, rounds=1)]
    visited = in_turn(seed, f"{kind} corner", len(CORNERS), rank)
    rng = np.random.default_rng([seed, STORIES, index])
    return Film(
        kind, size, brief, short_film(rng, 1 + (kind == "two bubbles"), size, brief, (visited % 2, visited // 2))
    )


@functools.lru_cache(maxsize=2)
def _times(frames: int) -> tuple[float, ...]:
    return tuple(frame_times(frames))


def bench_questions(seed: int, index: int) -> tuple[list[Question], list[Question]]:
    """The open and the multiple-choice questions of film `index`."""
    film, rng = bench_film(seed, index), np.random.default_rng([seed, QUESTIONS, index])
    asked = ask(rng, film.story, _times(film.frames))
    some = lambda family, count: [asked[family][int(i)] for i in rng.permutation(len(asked[family]))[:count]]  # noqa: E731
    rank = kind_and_rank(index)[1]
    if film.kind in SCENES:
        pair = 2 * int(rng.integers(len(asked["long"]) // 2))  # a yes and a no, the one or the other first
        open_ended = [*some("scene", 2), *asked["long"][pair : pair + 2][:: int(rng.choice([1, -1]))]]
        choices = [*some("scene", 2), *some("long", 1)]
    elif film.kind == "two bubbles":
        turn = in_turn(seed, "ends", len(ENDS), rank)
        open_ended = [
            *some("plate", 1),
            *(_order(asked["order"], *ENDS[end]) for end in (turn, 3 - turn)),
            *asked["hop"],
        ]
        choices = [*some("plate", 1), _order(asked["order"], *ENDS[in_turn(seed, "end", 4, rank)]), *asked["hop"]]
    else:
        open_ended = [*some("plate", 1), *asked["brief"], *asked["hop"], *asked["key"]]
        choices = [*some("plate", 1), *asked["brief"], *asked["hop"], *asked["key"]]
    per_film: dict[str, int] = {}
    for number, q in enumerate(choices):
        place = per_film[q.family] = per_film.get(q.family, -1) + 1
        choices[number] = _lettered(q, in_turn(seed, f"{film.kind} {q.family} {place} letter", len(q.options), rank))
    return open_ended, choices


def _order(questions: list[Question], end: str, right_first: bool) -> Question:
    """Of the two order questions the one after `end`, with the right bubble named first or second."""
    [q] = [q for q in questions if f" {end}," in q.text]
    head, pair = q.text.split(", ")
    one, two = pair.removesuffix("?").split(" or ")
    if (one == f"the {q.answer}") != right_first:
        one, two = two, one
    text = f"{head}, {one} or {two}?"
    return replace(q, text=text, choice_text=text)


def _lettered(q: Question, place: int) -> Question:
    """The question with its right option at `place`."""
    rest = [option for option in q.options if option != q.choice_answer]
    return replace(q, options=(*rest[:place], q.choice_answer, *rest[place:]))


def pictures(film: Film) -> Iterator[Image.Image]:
    """Every frame of a film, drawn anew where something changes."""
    last, picture = None, Image.new("RGB", (0, 0))
    for time in frame_times(film.frames):
        moment = film.story.at(time)
        if moment != last:
            last, picture = moment, draw(film.story, time)
        yield picture.copy()


def video_files(videos: int) -> list[tuple[str, bool]]:
    """(file name, variable frame rate) of each of `videos` films."""
    short = [index for index in range(videos) if kind_and_rank(index)[0] not in SCENES]
    special = dict(zip(short[-3:], [(".webm", False), (".mp4", True), (".gif", False)])) if len(short) > 3 else {}
    found = [special.get(index, (".mp4", False)) for index in range(videos)]
    return [(f"pocket_{index:04d}{suffix}", variable) for index, (suffix, variable) in enumerate(found)]


def write_bench(seed: int, out: Path, videos: int, progress: bool = True) -> None:
    """Write `videos` videos and both annotation files to `out`."""
    (out / "videos").mkdir(parents=True, exist_ok=True)
    open_rows, choice_rows = list[list](), list[list]()
    for index, (name, variable) in enumerate(
        tqdm(video_files(videos), "PocketBench", disable=not progress, mininterval=5)
    ):
        film, stem = bench_film(seed, index), name.split(".")[0]
        write_video(out / "videos" / name, pictures(film), variable)
        open_ended, choices = bench_questions(seed, index)
        for number, q in enumerate(open_ended):
            kind = (f"{stem}_o{number}", FAMILIES.index(q.family), q.family, film.dial)
            open_rows.append([len(open_rows), stem, q.answer, q.text, stem, *kind])
        for number, q in enumerate(choices):
            size, right = (film.frames, CANVAS, CANVAS), q.options.index(q.choice_answer)
            options = [*q.options, *[""] * (5 - len(q.options))]  # hop has four
            asked = (
                q.choice_text,
                right,
                f"{stem}_c{number}",
                q.family,
                *options,
                q.choice_answer,
                q.family,
                film.dial,
            )
            choice_rows.append([len(choice_rows), stem, *size, *asked])
    write_csv(out / "PocketBench_QA.csv", [*OPEN_COLUMNS, "dial"], open_rows)
    write_csv(out / "PocketBench_MC.csv", [*CHOICE_COLUMNS, "dial"], choice_rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pocket2.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--videos", type=int, default=80)
    args = parser.parse_args()
    write_bench(args.seed, args.out, args.videos)


if __name__ == "__main__":
    main()
