"""`python -m pocket.bench --seed S --out DIR --videos N`: PocketBench, real video files and their questions, byte
for byte the same for a seed.

Most are H.264 in mp4; where there are four or more, the last three are a webm (VP9), an mp4 with a variable frame
rate and a gif. Annotations are written as IG-VLM writes them, with a `family` column. Next in the data's way:
`evaluate`, or sfllava_core, reads them.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from tqdm import tqdm

from pocket.questions import FAMILIES, Question, ask
from pocket.stories import DIRECTIONS, tell
from pocket.world import CANVAS, FRAMES_PER_SECOND, VIDEO_FRAMES, Story, draw, frame_times

OPEN_COLUMNS = ["", "video_id", "answer", "question", "video_name", "question_id", "question_type", "family"]
CHOICE_COLUMNS = [
    "",
    "video_name",
    "frame_count",
    "width",
    "height",
    "question",
    "answer_number",
    "question_id",
    "question_type",
    "a0",
    "a1",
    "a2",
    "a3",
    "a4",
    "answer",
    "family",
]
CODECS = {
    "mp4": ("libx264", {"crf": "18", "preset": "medium", "threads": "1"}),
    "webm": ("libvpx-vp9", {"crf": "24", "b": "0", "threads": "1", "cpu-used": "4"}),
}


def bench_story(seed: int, index: int) -> Story:
    """The story of video `index`; the five movements take turns, and so do the digits on each card."""
    story = tell(np.random.default_rng([seed, 7, index]), list(DIRECTIONS)[index % len(DIRECTIONS)])
    [board] = story.boards
    turned = [(index + 3 * place) % 10 for place in range(len(board.cards))]  # four different ones
    cards = tuple(replace(card, digit=digit) for card, digit in zip(board.cards, turned, strict=True))
    return replace(story, boards=(replace(board, cards=cards),))


def bench_questions(seed: int, index: int) -> tuple[list[Question], list[Question]]:
    """The open and the multiple-choice questions of video `index`, balanced over a run of videos: yes and no, first
    and last, the letters."""
    rng = np.random.default_rng([seed, 8, index])
    asked = ask(rng, bench_story(seed, index), frame_times())
    cards = [(index // 10 + place) % len(asked["detail"]) for place in range(3)]  # every digit as often as any other
    half, presence = index % 2, 2 * int(rng.integers(len(asked["presence"]) // 2))
    open_ended = [
        asked["detail"][cards[0]],
        asked["detail"][cards[1]],
        asked["brief"][0],
        asked["order"][half],
        asked["presence"][presence],
        asked["presence"][presence + 1],
        asked["motion"][0],
    ]
    other = (presence + 2) % len(asked["presence"])
    choices = [
        asked["detail"][cards[2]],
        asked["brief"][0],
        asked["order"][1 - half],
        asked["presence"][other],
        asked["motion"][0],
    ]
    return _order_balanced(open_ended, index), [
        _lettered(q, (index + index // 5 + place) % 5) for place, q in enumerate(choices)
    ]


def _order_balanced(questions: list[Question], index: int) -> list[Question]:
    """Name the right thing first in every other order question (of first and of last ones alike)."""
    right_first = (index // 2) % 2 == 0
    balanced = []
    for q in questions:
        if q.family == "order":
            head, things = q.text.split(", ")
            one, two = things.removesuffix("?").split(" or ")
            if (one == q.answer) != right_first:
                one, two = two, one
            q = Question(q.family, f"{head}, {one} or {two}?", q.answer)
        balanced.append(q)
    return balanced


def _lettered(q: Question, place: int) -> Question:
    """The question with its right option at `place`."""
    rest = [option for option in q.options if option != q.choice_answer]
    return Question(
        q.family, q.text, q.answer, q.choice_text, (*rest[:place], q.choice_answer, *rest[place:]), q.choice_answer
    )


def write_video(file: Path, pictures: Iterable[Image.Image], variable: bool = False) -> None:
    """Write pictures as a video of the file's extension; `variable` lets frames last 1, 2 or 3 ticks of 1/50 s in
    turn."""
    if file.suffix == ".gif":
        first, *rest = (_flickering(p, i).quantize(128, dither=Image.Dither.NONE) for i, p in enumerate(pictures))
        first.save(file, save_all=True, append_images=rest, duration=1000 // FRAMES_PER_SECOND, loop=0)
        return
    codec, options = CODECS[file.suffix[1:]]
    with av.open(str(file), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=FRAMES_PER_SECOND, options=options | {"flags": "+bitexact"})
        assert isinstance(stream, av.VideoStream), codec
        stream.width = stream.height = CANVAS
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 2 * FRAMES_PER_SECOND)
        at = 0
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = at, Fraction(1, 2 * FRAMES_PER_SECOND)
            at += 1 + index % 3 if variable else 2
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _flickering(picture: Image.Image, index: int) -> Image.Image:
    """One corner pixel black and white in turn: Pillow merges equal frames of a gif, and the bubble would be one
    frame instead of five."""
    picture.putpixel((0, 0), (255 * (index % 2),) * 3)
    return picture


def video_file(index: int, videos: int) -> tuple[str, bool]:
    """(file name, variable frame rate) of video `index` of `videos`."""
    special = (
        {videos - 3: (".webm", False), videos - 2: (".mp4", True), videos - 1: (".gif", False)} if videos >= 4 else {}
    )
    suffix, variable = special.get(index, (".mp4", False))
    return f"pocket_{index:04d}{suffix}", variable


def write_bench(seed: int, out: Path, videos: int, progress: bool = True) -> None:
    """Write `videos` videos and both annotation files to `out`."""
    (out / "videos").mkdir(parents=True, exist_ok=True)
    open_rows, choice_rows = list[list](), list[list]()
    for index in tqdm(range(videos), desc="PocketBench", disable=not progress, mininterval=5):
        story, (name, variable) = bench_story(seed, index), video_file(index, videos)
        write_video(out / "videos" / name, (draw(story, t) for t in frame_times()), variable)
        stem = name.split(".")[0]
        open_ended, choices = bench_questions(seed, index)
        for number, q in enumerate(open_ended):
            open_rows.append(
                [len(open_rows), stem, q.answer, q.text, stem, f"{stem}_o{number}", FAMILIES.index(q.family), q.family]
            )
        for number, q in enumerate(choices):
            size, right = (VIDEO_FRAMES, CANVAS, CANVAS), q.options.index(q.choice_answer)
            asked = (q.choice_text, right, f"{stem}_c{number}", q.family, *q.options, q.choice_answer, q.family)
            choice_rows.append([len(choice_rows), stem, *size, *asked])
    write_csv(out / "PocketBench_QA.csv", OPEN_COLUMNS, open_rows)
    write_csv(out / "PocketBench_MC.csv", CHOICE_COLUMNS, choice_rows)


def write_csv(file: Path, columns: list[str], rows: list[list]) -> None:
    """Write a table whose bytes are the same on every system."""
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pocket.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--videos", type=int, default=80)
    args = parser.parse_args()
    write_bench(args.seed, args.out, args.videos)


if __name__ == "__main__":
    main()
