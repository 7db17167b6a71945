"""No family can be answered from what should not be enough; and the guesser that says so finds planted shortcuts."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from pocket2 import stories
from pocket2.bench import bench_film
from pocket2.questions import CORNERS, a, corner
from pocket2.shortcuts import BLOCKED, CHOICE, KINDS, LESS, MARGIN, OPEN, enough, films, leaks
from pocket2.world import NAMES

PLANTED = 1200  # films of a planted shortcut
TURNED = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}


@pytest.fixture(scope="module", params=sorted(set(KINDS.values())))
def kind_and_films(request):
    """As many as the family with the most even chance needs; of 60 s, half as many, which have two questions each."""
    kind, cells = request.param, [BLOCKED[family] for family, of in KINDS.items() if of == request.param]
    return kind, list(films(2024, kind, 2 + max(enough(chance) for blocked in cells for chance in blocked.values())))


def test_less_than_the_film_is_at_chance(kind_and_films):
    kind, asked = kind_and_films
    families = [family for family, of in KINDS.items() if of == kind]
    found = {(family, *cell): above for family in families for cell, above in leaks(asked, family).items()}
    assert found and {cell: above for cell, above in found.items() if above > MARGIN} == {}


def test_every_family_blocks_texts_and_other_films_and_events_block_moments():
    for family, blocked in BLOCKED.items():
        given = {less for less, _ in blocked}
        assert given >= {"question alone", "options alone", "another film", "film's number"}, family
        assert (given == set(LESS)) == (family in ("brief", "order", "hop", "key")), family


@functools.cache
def drawn(kind):
    return tuple(films(5, kind, PLANTED))


def test_a_guesser_at_chance_is_seldom_above_the_margin():
    """Three standard errors, of the half that tests."""
    for chance in (1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 10):
        assert 3 * (chance * (1 - chance) / (enough(chance) / 2)) ** 0.5 <= MARGIN + 1e-9
    assert enough(1 / 14) == 2000 and enough(1 / 2) == 5000


def planted(kind, family, change):
    """Films whose questions of a family, open and by letter, are changed: `change(index, film, q) -> q`."""
    return [
        (index, film, tuple([change(index, film, q) if q.family == family else q for q in form] for form in questions))
        for index, film, questions in drawn(kind)
    ]


def answered(q, answer):
    """The question with another right answer, which takes the old one's place among the options."""
    options = list(q.options)
    if options and answer in options:
        options[options.index(answer)] = q.choice_answer
    options = [
        answer if option == q.choice_answer and place == q.options.index(q.choice_answer) else option
        for place, option in enumerate(options)
    ]
    return replace(q, answer=answer, choice_answer=answer, options=tuple(options))


def finds(asked, family, less, form):
    return leaks(asked, family, [(less, form)])[less, form] > MARGIN


@pytest.mark.parametrize("form", [OPEN, CHOICE])
@pytest.mark.parametrize("less", ["one moment", "first and last frame"])
def test_home_tells_the_visit(less, form):
    def opposite(index, film, q):
        return answered(q, " ".join(TURNED[word] for word in corner(*film.story.hopper.home).split()))

    assert finds(planted("one bubble", "hop", opposite), "hop", less, form)


def test_a_visit_to_any_free_cell_is_told_by_what_stands_about(monkeypatch):
    """As the world was drawn at first: no other cells were kept free, so a crowded quarter was visited less."""

    def apart(rng, cells, visited):
        quarter = lambda cell: (cell[0] // 2, cell[1] // 2)  # noqa: E731
        home = cells.pop()
        away = next(cell for cell in cells if quarter(cell) != quarter(home))
        cells.remove(away)
        return home, away

    monkeypatch.setattr(stories, "_apart", apart)
    bench_film.cache_clear()
    try:
        asked = list(films(5, "one bubble", 4000))
    finally:
        bench_film.cache_clear()
    assert finds(asked, "hop", "one moment", OPEN)


def test_the_first_card_is_always_the_one_with_the_bubbles_colour():
    def first(index, film, q):
        return answered(q, str(film.story.scenes[0].boards[0].cards[0].digit))

    assert finds(planted("one bubble", "key", first), "key", "one moment", OPEN)


def test_what_stands_about_is_never_in_the_bubble():
    """As the questions were asked at first: two of the options stand about, and the answer does not."""

    def excluded(index, film, q):
        rng, cast = np.random.default_rng(index), [thing.name for thing in film.story.scenes[0].things]
        absent = [str(name) for name in rng.permutation([n for n in NAMES if n not in cast])]
        options = [a(name) for name in rng.permutation([*cast[:2], *absent[: 5 - len(cast[:2])]])]
        return replace(q, answer=a(absent[0]), choice_answer=a(absent[0]), options=tuple(options))

    assert finds(planted("one bubble", "brief", excluded), "brief", "one moment", CHOICE)


@pytest.mark.parametrize("less", ["film's number", "another film"])
def test_numbers_follow_the_films_number(less):
    def turned(index, film, q):
        return answered(q, str(index % 10))

    assert finds(planted("one bubble", "plate", turned), "plate", less, OPEN)


def test_a_film_goes_on_where_the_last_ended():
    def onwards(index, film, q):
        return answered(q, CORNERS[index // 2 % 4])

    assert finds(planted("one bubble", "hop", onwards), "hop", "another film", CHOICE)


def test_the_right_bubble_is_named_first():
    def first(index, film, q):
        head, pair = q.text.split(", ")
        [other] = [name for name in pair.removesuffix("?").split(" or ") if name != f"the {q.answer}"]
        text = f"{head}, the {q.answer} or {other}?"
        return replace(q, text=text, choice_text=text)

    assert finds(planted("two bubbles", "order", first), "order", "question alone", OPEN)


def test_some_things_are_always_there():
    def always(index, film, q):
        return replace(q, answer="yes" if any(name in q.text for name in NAMES[:8]) else "no")

    assert finds(planted("12 scenes", "long", always), "long", "question alone", OPEN)


@pytest.mark.parametrize("family, kind", [("plate", "one bubble"), ("long", "12 scenes")])
def test_the_right_option_is_the_first(family, kind):
    def first(index, film, q):
        options = sorted(q.options, key=lambda option: option != q.choice_answer)
        return replace(q, options=tuple(options))

    assert finds(planted(kind, family, first), family, "options alone", CHOICE)


def test_the_right_option_is_the_longest():
    def longest(index, film, q):
        name = max(q.options, key=len)
        return replace(q, choice_answer=name)

    assert finds(planted("one bubble", "brief", longest), "brief", "options alone", CHOICE)
