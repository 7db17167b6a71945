"""What chapter 0 draws: the method as one picture, of both eyes."""

import numpy as np
import pytest

from sfllava_core import slow_only
from sfllava_core.video.frames import Frames
from sfllava_course.figures.start import plot_idea


def test_the_picture_of_the_idea_needs_both_eyes():
    frames = Frames(np.zeros((9, 24, 24, 3), dtype=np.uint8), list(range(9)), np.arange(9) / 25, 25.0, 9)
    with pytest.raises(ValueError, match="shows both eyes; give a spec with slow and fast"):
        plot_idea(frames, slow_only(4), "What?", "?", (12, 12))
