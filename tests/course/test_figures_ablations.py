"""Chapter 6's numbers: families count the same, leads are differences of accuracies, verdicts follow the intervals."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sfllava_bench.questions.records import OPEN_ENDED, Question
from sfllava_bench.scores.stats import Interval
from sfllava_course.figures import ablations as figures_ablations

FAMILIES = ["detail", "brief"]


@pytest.fixture()
def answers():
    """Two layouts' marks on 12 films with two detail questions and one brief one each, and what they are about."""
    rng = np.random.default_rng(0)
    about = {
        f"{film}_{place}": Question(
            "pocketbench", f"{film}_{place}", f"film{film}", ("?",), "", OPEN_ENDED, group=family
        )
        for film in range(12)
        for place, family in enumerate(("detail", "detail", "brief"))
    }
    good, poor = ({key: float(rng.random() < share) for key in about} for share in (0.9, 0.4))
    return good, poor, about


@pytest.fixture(autouse=True)
def figures_closed():
    yield
    plt.close("all")


def test_families_count_the_same_however_many_questions_they_have(answers):
    good, _, about = answers
    alone = [figures_ablations.accuracy(good, about, [family]).value for family in FAMILIES]
    assert figures_ablations.accuracy(good, about, FAMILIES).value == pytest.approx(np.mean(alone))
    assert len({round(value, 6) for value in alone}) == 2, "else the test would say nothing"


@pytest.mark.parametrize("families", [FAMILIES, ["brief"]])
def test_a_lead_is_the_difference_of_the_accuracies(answers, families):
    good, poor, about = answers
    found = figures_ablations.lead(good, poor, about, families).difference
    one, two = (figures_ablations.accuracy(marks, about, families).value for marks in (good, poor))
    assert found.value == pytest.approx(one - two)
    assert found.low < found.value < found.high


def test_a_lead_over_itself_is_nothing(answers):
    good, _, about = answers
    found = figures_ablations.lead(good, good, about, FAMILIES).difference
    assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("paper", "ours", "verdict"),
    [
        (-9.0, (-19, -24, -14), "same way"),
        (6.0, (-4, -9, -1), "other way"),
        (6.0, (-4, -11, 2), "cannot tell"),
        (-7.8, (0, 0, 0), "cannot tell"),
        (-0.1, (-18, -25, -11), "paper near zero"),
    ],
)
def test_what_carries_over(paper, ours, verdict):
    assert figures_ablations.carries_over(paper, 2.2, Interval(*ours, 100, 20)) == verdict


def test_published_rows_are_those_of_the_paper():
    """Tables 4 to 7 of arXiv:2407.15841v2, 7B."""
    published = figures_ablations.published
    assert published("table5_slow_pooling", ["10x24x24"]) == {"10x24x24": {"ActivityNet-QA": 54.0, "EgoSchema": 53.2}}
    assert published("table6_fast_pooling", ["50x1x1"])["50x1x1"]["EgoSchema"] == 47.1
    assert published("table7_prompts", ["no_input_data"])["no_input_data"]["ActivityNet-QA"] == 52.6
    assert published("table4_fast_only", [225])["225 frames"] == {"ActivityNet-QA": 50.0, "EgoSchema": 38.2}


def test_layouts_are_drawn_a_panel_for_each_family_with_what_guessing_gives(answers):
    good, poor, about = answers
    figure = figures_ablations.plot_layouts({"both eyes": good, "slow alone": poor}, about, FAMILIES)
    assert [axis.get_title() for axis in figure.axes] == FAMILIES
    for axis, family in zip(figure.axes, FAMILIES):
        assert [list(line.get_xdata()) for line in axis.lines if line.get_linestyle() == ":"] == [
            [figures_ablations.CHANCE[family]] * 2
        ]
