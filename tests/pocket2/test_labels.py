"""What the tower learns: patch labels say what a picture shows, and where."""

import numpy as np
import pytest

from pocket2.stories import still
from pocket2.tower import CARDS, GRID, WORDS, patch_labels
from pocket2.world import Board, Bubble, Card, Hopper, Scene, Story, Thing, draw, shrink


def story(things=(), boards=(), hopper=None, bubbles=()):
    return Story((Scene("snow", 7, 0.0, 1.01, tuple(things), tuple(boards)),), hopper, tuple(bubbles))


def patches(shown, word, time=0.0):
    """(row, column) of the patches that are labelled with a word."""
    return set(map(tuple, np.argwhere(patch_labels(shown, time)[0][..., WORDS.index(word)]).tolist()))


def changed(one, other, time=0.0):
    """The patches in which two stories' pictures differ by more than a shade, on average."""
    pictures = [shrink(draw(shown, time)).astype(float) for shown in (one, other)]
    difference = np.abs(pictures[0] - pictures[1]).max(-1).reshape(GRID, 8, GRID, 8).mean((1, 3))
    return set(map(tuple, np.argwhere(difference > 12).tolist()))


def test_a_card_is_where_it_is_drawn():
    """Four cards of 26 x 30 pixels from (32, 48): of 13 x 15 in the shrunk picture, the first from (16, 24), the last
    from (29, 39)."""
    board = Board(32, 48, 2, (Card("red", 3), Card("blue", 8), Card("green", 1), Card("white", 5)))
    shown = story(boards=[board])
    assert patches(shown, "red card") == patches(shown, "3") == {(row, column) for row in (3, 4) for column in (2, 3)}
    assert patches(shown, "white card") == patches(shown, "5") == {(5, 4), (6, 4)}
    cards = patch_labels(shown)[1]
    assert cards[3, 2, CARDS.index(("red", 3))] == 1 and cards[3, 2].sum() == 1
    assert not patches(shown, "yellow card") and not patches(shown, "4")
    covered = set().union(*(patches(shown, f"{colour} card") for colour in ("red", "blue", "green", "white")))
    assert covered <= changed(shown, story())


def test_a_bubble_is_there_for_its_moment_and_its_thing_is_no_thing_that_stands():
    bubble = Bubble("cat", "red", 120, 72, 0.4, 0.5)  # its centre is the corner of four patches, about (36, 60)
    shown = story(bubbles=[bubble])
    for time in (0.39, 0.5):
        assert not patches(shown, "red bubble", time) and not patches(shown, "bubbled cat", time)
        assert not changed(shown, story(), time)
    ring, inside = patches(shown, "red bubble", 0.45), patches(shown, "bubbled cat", 0.45)
    assert {(4, 7), (3, 6), (5, 8), (4, 6)} <= inside <= ring <= changed(shown, story(), 0.45)
    assert not patches(shown, "cat", 0.45) and not patches(shown, "green bubble", 0.45)


def test_a_thing_and_a_hopper_are_where_they_stand():
    hopper = Hopper("duck" if "duck" in WORDS else WORDS[0], (40, 40), (150, 150), 0.4, 0.5)
    shown = story([Thing("tree", 24, 168)], hopper=hopper)
    assert {row for row, _ in patches(shown, "tree")} <= {9, 10, 11} and (10, 1) in patches(shown, "tree")
    at_home, away = patches(shown, hopper.name, 0.3), patches(shown, hopper.name, 0.45)
    assert (2, 2) in at_home and (9, 9) in away and not at_home & away
    assert at_home | away <= changed(shown, story([Thing("tree", 24, 168)]), 0.3) | changed(
        shown, story([Thing("tree", 24, 168)]), 0.45
    )


def test_the_place_fills_the_picture_and_no_other_does():
    labels = patch_labels(story())[0]
    assert labels.sum() == GRID * GRID == labels[..., WORDS.index("snow")].sum()


@pytest.mark.parametrize("seed", range(3))
def test_cards_of_a_still_picture_have_patches(seed):
    """The smallest, little more than a patch, may lie across four and have none; none has a patch that is not there."""
    shown = still(np.random.default_rng(seed))
    found = {CARDS[number] for number in np.flatnonzero(patch_labels(shown)[1].any((0, 1)))}
    boards = shown.scenes[0].boards
    assert found <= {(card.colour, card.digit) for board in boards for card in board.cards}
    assert found >= {(card.colour, card.digit) for board in boards if board.size for card in board.cards}
    assert found
