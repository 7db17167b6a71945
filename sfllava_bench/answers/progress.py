"""How far a run is: a bar on the terminal or in Lab, or a line in a file for whoever runs the notebook headlessly."""

import os
import time
from collections import Counter
from pathlib import Path

from tqdm.auto import tqdm

from sfllava_bench.answers.journal import Record

PROGRESS_FILE = "SFLLAVA_PROGRESS"  # names the file that the line goes to, in place of a bar
EVERY_S = 0.3


class Progress:
    """Counts videos done, questions a second and time left. Use it with `with`.

    left: questions that are still to be answered, by video.  before: questions that were answered before.
    """

    def __init__(self, left: Counter[str], before: int, shown: bool = True):
        self.left, self.videos, self.questions = left.copy(), len(left), left.total()
        self.answered = 0
        self.file = os.environ.get(PROGRESS_FILE)
        self.start, self.told = time.monotonic(), 0.0
        hidden = not shown or self.file is not None or not left
        self.bar = tqdm(total=before + self.questions, initial=before, disable=hidden, unit="q")

    def __enter__(self) -> "Progress":
        self.tell()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self.file:
            Path(self.file).unlink(missing_ok=True)

    def add(self, records: list[Record]) -> None:
        """Count the questions among these records as done."""
        done = Counter(record["video"] for record in records if "key" in record)
        self.answered += done.total()
        for video, count in done.items():  # one video's work, however many there are
            self.left[video] -= count
            if self.left[video] <= 0:
                del self.left[video]
        self.bar.set_description(f"{self.videos - len(self.left)}/{self.videos} videos", refresh=False)
        self.bar.update(done.total())
        if time.monotonic() - self.told > EVERY_S:
            self.tell()

    def tell(self) -> None:
        """Write the line, so that whoever reads finds a whole one."""
        self.told = time.monotonic()
        if self.file and self.questions:
            new = Path(f"{self.file}.new")
            new.write_text(str(self), encoding="utf-8")
            new.replace(self.file)

    def __str__(self) -> str:
        """ "23 of 80 videos, 74 questions/s, 01:45 left"."""
        left = self.questions - self.answered
        rate = self.answered / max(time.monotonic() - self.start, 1e-9)
        time_left = f", {rate:.3g} questions/s, {tqdm.format_interval(left / rate)} left" if rate else ""
        return f"{self.videos - len(self.left)} of {self.videos} videos{time_left}"
