"""PocketBench 2: the same seed gives the same bytes, the files hold what was drawn, and nothing is lopsided."""

import csv
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from pocket.layouts import read_video
from pocket2.bench import CYCLE, Film, bench_film, bench_questions, kind_and_rank, pictures, video_files, write_bench
from pocket2.questions import CORNERS, FAMILIES, corner
from pocket2.stories import BRIEF
from pocket2.world import draw, frame_times, shrink
from sfllava_bench.questions.annotations import load_annotations

VIDEOS, RUN = 5, 240  # films that are written; films that are counted


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    write_bench(3, folder, VIDEOS, progress=False)
    return folder


def test_regenerated_byte_for_byte(bench, tmp_path):
    write_bench(3, tmp_path, VIDEOS, progress=False)
    files = sorted(p.relative_to(bench) for p in bench.rglob("*") if p.is_file())
    assert len(files) == VIDEOS + 2
    for file in files:
        assert (bench / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_another_seed_is_another_bench():
    assert all(bench_film(3, index).story != bench_film(4, index).story for index in range(8))


def test_formats_are_those_of_a_short_film():
    files = video_files(80)
    assert Counter(name.split(".")[1] for name, _ in files) == {"mp4": 78, "webm": 1, "gif": 1}
    special = [index for index, (name, variable) in enumerate(files) if variable or not name.endswith("mp4")]
    assert len(special) == 3 and all(bench_film(3, index).frames == 150 for index in special)


def test_files_of_all_formats_hold_what_the_story_says(bench, tmp_path):
    """Decoded frames are the drawn ones, and nearer to their own moment than to one with another bubble or scene."""
    write_bench(3, tmp_path, 8, progress=False)
    suffixes = set()
    for index, file in enumerate(sorted((tmp_path / "videos").iterdir())):
        film = bench_film(3, index)
        if film.kind == "12 scenes" or (file.suffix == ".mp4" and index % 8 == 3):
            continue  # long to decode, or another of the same
        frames, times = read_video(file), frame_times(film.frames)
        assert len(frames) == film.frames, file
        suffixes.add(file.suffix)
        events = [*film.story.bubbles, *([film.story.hopper] if film.story.hopper else [])]
        numbers = [0, film.frames // 2, film.frames - 1, *(round(event.begin * film.frames) for event in events)]
        for number in numbers:
            drawn = shrink(draw(film.story, times[number])).astype(float)
            assert np.abs(frames[number] - drawn).mean() < 6, (file, number)
        for event in events:  # the frame before does not show it
            begin = round(event.begin * film.frames)
            with_it, before = (shrink(draw(film.story, times[n])).astype(float) for n in (begin, begin - 1))
            for number, near, far in ((begin, with_it, before), (begin - 1, before, with_it)):
                changed = np.abs(near - far).max(-1) > 40
                own, other = (np.abs(frames[number] - of)[changed].mean() for of in (near, far))
                assert own < other / 2, (file, number)
    assert suffixes == {".mp4", ".webm", ".gif"}


def test_pictures_change_only_where_the_story_does():
    film = bench_film(3, 0)
    kept = list(pictures(film))
    for number in range(0, 150, 7):
        assert (np.asarray(kept[number]) == np.asarray(draw(film.story, frame_times(150)[number]))).all()
    kept[0].paste(Image.new("RGB", (9, 9)))
    assert (np.asarray(kept[1]) == np.asarray(draw(film.story, frame_times(150)[1]))).all()


def test_the_kit_reads_it_and_each_question_is_asked_once(bench):
    questions = load_annotations("pocketbench", bench)
    with (bench / "PocketBench_MC.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) < len(questions) == sum(len(form) for i in range(VIDEOS) for form in bench_questions(3, i))
    assert {q.group for q in questions} == set(FAMILIES)
    assert all(row["dial"] == bench_film(3, int(row["video_name"][-4:])).dial for row in rows)
    hops = [row for row in rows if row["family"] == "hop"]
    assert hops and all(row["a4"] == "" for row in hops)
    seen = [(i, form, q.text) for i in range(RUN) for form in (0, 1) for q in bench_questions(3, i)[form]]
    choices = [key for key in seen if key[1] == 1 and "can be seen" not in key[2]]
    opens = [key for key in seen if key[1] == 0]
    assert len(set(choices)) == len(choices) and len(set(opens)) == len(opens)


def films() -> dict[str, list[Film]]:
    found = defaultdict(list)
    for index in range(RUN):
        film = bench_film(11, index)
        found[film.kind].append(film)
    return found


def test_kinds_and_dials_are_equally_frequent():
    assert {kind: len(of) for kind, of in films().items()} == {kind: 30 * CYCLE.count(kind) for kind in CYCLE}
    for kind, of in films().items():
        sizes = Counter(film.size for film in of)
        assert len(sizes) == 3 and len(set(sizes.values())) == 1, kind
        assert {film.brief for film in of} == ({0} if "scenes" in kind else set(BRIEF))
        if "scenes" not in kind:
            briefs = Counter(film.brief for film in of)
            assert max(briefs.values()) - min(briefs.values()) <= 1, kind
    for film in films()["one bubble"]:
        [bubble] = film.story.bubbles
        assert round((bubble.until - bubble.begin) * 150) == film.brief


def test_answers_are_balanced():
    order, letters, corners, yes = Counter(), defaultdict(Counter), Counter(), Counter()
    for index in range(RUN):
        film, (open_ended, choices) = bench_film(11, index), bench_questions(11, index)
        if film.story.hopper:
            corners[film.kind, corner(*film.story.hopper.visit)] += 1
        for q in open_ended:
            if q.family == "order":
                order[q.text.split()[3], q.text.split(", ")[1].startswith(f"the {q.answer} ")] += 1
            if q.family == "long":
                yes[q.answer] += 1
        for q in choices:
            assert len(set(q.options)) == len(q.options) == (4 if q.family == "hop" else 5)
            letters[film.kind, q.family][q.options.index(q.choice_answer)] += 1
    assert len(order) == 4 and max(order.values()) - min(order.values()) <= 4
    assert len(set(yes.values())) == 1 and len(yes) == 2
    assert len(corners) == 2 * len(CORNERS) and max(corners.values()) - min(corners.values()) <= 0.5 * max(
        corners.values()
    )
    for cell, counts in letters.items():
        expected = sum(counts.values()) / (4 if cell[1] == "hop" else 5)
        assert max(abs(count - expected) for count in counts.values()) <= 8, cell


def test_answers_are_true_of_the_story():
    for index in range(RUN):
        film = bench_film(11, index)
        story, (open_ended, choices) = film.story, bench_questions(11, index)
        for q, answer, text in [(q, q.answer, q.text) for q in open_ended] + [
            (q, q.choice_answer, q.choice_text) for q in choices
        ]:
            words = text.rstrip("?").replace(",", "").split()
            if q.family in ("plate", "scene", "key"):
                [scene] = [s for s in story.scenes if q.family != "scene" or s.place == words[2]]
                colour = story.bubbles[0].colour if q.family == "key" else words[-2]
                assert [str(c.digit) for c in scene.boards[0].cards if c.colour == colour] == [answer]
            elif q.family == "brief":
                assert answer.split()[-1] == story.bubbles[0].name
            elif q.family == "order":
                one, two = sorted(story.bubbles, key=lambda bubble: bubble.begin)
                assert one.until < two.begin and answer == (one if words[3] == "first" else two).name
            elif q.family == "hop":
                assert answer == corner(*story.hopper.visit) != corner(*story.hopper.home)
            else:
                cast = {thing.name for scene in story.scenes for thing in scene.things}
                if answer in ("yes", "no"):
                    assert (words[-1] in cast) == (answer == "yes")
                else:
                    assert {option.split()[-1] for option in q.options} & cast == {answer.split()[-1]}


def test_ranks_count_the_films_of_a_kind():
    seen = Counter()
    for index in range(40):
        kind, rank = kind_and_rank(index)
        assert rank == seen[kind] and kind == CYCLE[index % 8]
        seen[kind] += 1
