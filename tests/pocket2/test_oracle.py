"""The rule of what tokens can show, the oracle that answers by it, and the claims that it must fulfil."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from pocket.layouts import Stream
from pocket2.bench import bench_film, bench_questions
from pocket2.claims import FILE, accuracy, load_claims, stream
from pocket2.oracle import Oracle, markdown, oracle_marks
from pocket2.sight import choices, cover, pool, shows, shows_corner
from pocket2.stories import short_film
from pocket2.world import CARD_SIZES, Board, Card, frame_times

CLAIMS = load_claims()
POOLS = ("none", "max 1x2", "max 2x2", "mean 2x2", "to 4x4", "to 2x2", "to 1x1")
PAPER = FILE.parents[1] / "data" / "paper" / "paper_results.yaml"


@pytest.fixture(scope="module")
def marks():
    return oracle_marks(CLAIMS.layouts, 2024, 240)


def cards(left, top, size, count=4):
    colours = ("red", "green", "blue", "white")
    return Board(left, top, size, tuple(Card(colour, digit) for colour, digit in zip(colours[:count], (3, 5, 6, 8))))


def test_cover_is_area():
    for box in ((0, 0, 192, 192), (5, 9, 37, 40), (150, 3, 192, 8)):
        area = (box[2] - box[0]) * (box[3] - box[1])
        assert cover(*box).sum() * 16 * 16 == pytest.approx(area)
        for how in ("none", "mean 2x2", "to 4x4", "to 2x2", "to 1x1"):
            assert pool(cover(*box), how).mean() * 192 * 192 == pytest.approx(area)
    assert pool(cover(0, 0, 16, 16), "max 1x2").shape == (12, 6) and pool(cover(0, 0, 16, 16), "max 1x2")[0, 0] == 1


@pytest.mark.parametrize("how", ["mean", "to 5x5", "max 2x5", "sum 2x2", ""])
def test_an_unknown_pool_is_told(how):
    with pytest.raises(ValueError, match="pooling"):
        pool(np.zeros((12, 12)), how)


def test_a_sum_of_four_cards_does_not_say_which_number_is_whose():
    board = cards(8, 6, 2)
    assert set(choices(board, "none").values()) == {1}
    assert set(choices(board, "to 2x2").values()) == {0}
    assert set(choices(cards(2, 2, 0), "to 4x4").values()) == {4}
    assert set(choices(cards(2, 2, 0, count=1), "to 4x4").values()) == {1}
    pair = choices(cards(32, 6, 0, count=2), "max 1x2")
    assert pair == {"red": 2, "green": 2} and choices(cards(16, 6, 0, count=2), "max 1x2") == {"red": 1, "green": 1}


def test_finer_grids_and_larger_cards_read_no_less():
    """On average over where a board may lie."""
    rng, read = np.random.default_rng(0), {}
    stories = [short_film(rng, size=size) for size in range(len(CARD_SIZES)) for _ in range(60)]
    for how in POOLS:
        found = [choices(story.scenes[0].boards[0], how) for story in stories]
        read[how] = np.array([[k == 1 for k in one.values()] for one in found]).reshape(3, -1).mean(1)
    for finer, coarser in (("none", "max 1x2"), ("max 1x2", "max 2x2"), ("max 2x2", "to 4x4"), ("to 4x4", "to 2x2")):
        assert (read[finer] >= read[coarser]).all() and read[finer].mean() >= read[coarser].mean(), (finer, coarser)
    assert read["max 1x2"][0] < read["max 1x2"][2] and read["max 2x2"][0] < read["max 2x2"][2]
    assert (read["none"] == 1).all()


def test_things_show_through_every_grid_and_places_through_quarters():
    for how in POOLS:
        for x in range(22, 171, 7):
            assert shows(x, 97, 42, how) and shows(x, 97, 36, how)
        assert shows_corner(how) == (how != "to 1x1")
    assert not shows(96, 96, 10, "to 2x2")


def test_more_frames_never_hurt_the_oracle():
    """Frames that hold all that fewer hold: an answer's chance does not fall, but for a yes that is never wrong."""
    for index in range(24):
        film, asked = bench_film(5, index), bench_questions(5, index)
        few, many = Stream(50, "none", 10), Stream(50, "none")
        for form, questions in enumerate(asked):
            for q in questions:
                less, more = (Oracle(film, [one]).right(q, form == 1) for one in (few, many))
                assert less <= more or (q.family == "order" and more >= 1 / 2), q


def test_an_oracle_that_sees_all_is_always_right_and_one_that_sees_little_guesses():
    for index in range(16):
        film = bench_film(5, index)
        for form, questions in enumerate(bench_questions(5, index)):
            for q in questions:
                assert Oracle(film, [Stream(1500, "none")]).right(q, form == 1) == 1
                blurred = Oracle(film, [])
                blurred.looks = [("to 1x1", frame_times(film.frames)[:1])]  # before any event
                assert q.family == "long" or blurred.right(q, form == 1) <= (1 / 2 if q.family == "order" else 1 / 4)


def test_the_guess_from_one_bubble_is_as_good_as_it_says():
    """Of many films of which one bubble is caught: how often the likelier order is the true one."""
    said, true = [], []
    for seed in range(3000):
        story = short_film(np.random.default_rng(seed), 2, 0, 4)
        film = replace(bench_film(5, 2), story=story)
        oracle = Oracle(film, [Stream(12, "none")])
        caught = [bubble for bubble in story.bubbles if oracle.caught(bubble)]
        if len(caught) == 1:
            said.append(oracle.right(bench_questions(5, 2)[0][1], False))
            true.append((caught[0].begin + caught[0].until < 1) == (caught[0] is story.bubbles[0]))
    assert len(said) > 500 and abs(np.mean(said) - np.mean(true)) < 0.05


def test_streams_are_read_as_they_are_written():
    assert stream("8 of 50 max 1x2") == Stream(50, "max 1x2", 8) and stream("50 to 2x2") == Stream(50, "to 2x2")
    with pytest.raises(ValueError, match="8 by 50"):
        stream("8 by 50 max 1x2")


@pytest.mark.parametrize("claim", CLAIMS.claims, ids=lambda claim: claim.name)
def test_the_oracle_fulfils_the_claim(claim, marks):
    assert claim.holds(marks), f"{claim.lead(marks):+.1f} points"
    assert not claim.equal or claim.points <= 5


def test_claims_can_fail(marks):
    """Turned round, those that set layouts apart fail; and a blind layout equals none that sees."""
    for claim in CLAIMS.claims:
        turned = replace(claim, first=claim.second, second=claim.first)
        assert turned.holds(marks) == claim.equal, claim.name
    equal = next(claim for claim in CLAIMS.claims if claim.equal)
    assert not replace(equal, first="blind").holds(marks | {"blind": {c: [0.0] for c in marks[equal.first]}})


def test_the_papers_eleven_changes_are_claimed_or_the_reason_is_told():
    mapped = {claim.change for claim in CLAIMS.claims if claim.change}
    assert len(mapped) == 8 and len(mapped | CLAIMS.unmapped.keys()) == 11
    assert sum(claim.resolved() for claim in CLAIMS.claims if claim.change) == 4


def test_the_papers_numbers_are_the_papers():
    paper = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    by_change = {claim.change: claim for claim in CLAIMS.claims if claim.change}
    slow, fast = (
        {row: (cell[2], cell[0]) for row, cell in paper[table]["7b"].items() if cell}
        for table in ("table5_slow_pooling", "table6_fast_pooling")
    )
    prompts = {row: (cell[2], cell[0]) for row, cell in paper["table7_prompts"]["7b"].items()}
    text = paper["slow_and_fast_text"]
    closed = {of: tuple(row.values())[::-1] for of, row in text["no_slow_vs_slowfast_7b"].items()}
    single = {of: tuple(row.values())[::-1] for of, row in text["no_fast_vs_slowfast"]["7b"].items()}
    rows, open_rows = paper["table2_multiple_choice"]["7b"], paper["table1_open_ended"]["7b"]
    both = {row: (rows[row]["egoschema"], open_rows[row]["anet"][0]) for row in ("SF-LLaVA", "IG-VLM")}
    expected = {
        "slow not pooled": (slow["10x24x24"], slow["10x12x24"]),
        "slow pooled both ways": (slow["10x12x24"], slow["10x12x12"]),
        "half the slow frames": (slow["10x12x24"], slow["5x12x24"]),
        "fast eye closed, equal tokens": (single["default"], single["slow_only_12"]),
        "slow eye closed, equal tokens": (closed["slow8_fast50"], closed["fast_only_200"]),
        "image grid": (both["SF-LLaVA"], both["IG-VLM"]),
        "fast grid twice as fine": (fast["50x8x8"], fast["50x4x4"]),
        "fast: one token a frame": (fast["50x1x1"], fast["50x4x4"]),
    }
    assert expected.keys() == by_change.keys()
    for change, numbers in expected.items():
        claim = by_change[change]
        assert tuple(zip(claim.egoschema, claim.anet)) == numbers, change
    for entry in yaml.safe_load(FILE.read_text(encoding="utf-8"))["unmapped"]:
        row = prompts[entry["change"].replace(" ", "_")]
        assert tuple(zip(entry["paper"]["egoschema"], entry["paper"]["anet"])) == (row, prompts["all"])


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("family: plate", "family: plates", "no family plates"),
        ("below: fast 50x4", "below: fast 50x5", "fast 50x5"),
        ("points: 50", "points: 0", "points 0"),
        ("by: grid", "by: luck", "luck"),
        ("films: 12 scenes", "films: 13 scenes", "13 scenes"),
        ("below: fast 50x4", "equal: [slow 8x72]", "above and below"),
        ("paper: {where: table 5, ego", "paper: {ego", "where"),
        ("change: slow not pooled", "change: slow pooled both ways", "changed twice"),
        ("name: order needs the fast eye", "name: detail needs the slow eye", "two claims"),
        ("points: 50", "pints: 50", "points missing"),
    ],
)
def test_a_fault_in_the_file_is_named(tmp_path, old, new, told):
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "claims.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        load_claims(file)


def test_families_count_the_same_and_forms_too(marks):
    cells = {("plate", "open", "one bubble"): [1.0] * 9 + [0.0], ("plate", "choice", "one bubble"): [0.5]}
    assert accuracy(cells, ["plate"]) == pytest.approx(70)
    with pytest.raises(KeyError, match="hop"):
        accuracy(cells, ["hop"])
    table = markdown(marks).splitlines()
    assert len(table) == 2 + len(CLAIMS.layouts) and len({line.count("|") for line in table}) == 1
