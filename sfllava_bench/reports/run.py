"""A run: the folder of an experiment, and what is in it: what the model said, how that was judged, what came out."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sfllava_bench.answers.counts import Outcome, read_outcome
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.questions.records import Question
from sfllava_bench.reports.results import Results, read_results
from sfllava_bench.scores.judge import Judgements, judgements_file, read_judgements
from sfllava_bench.scores.scores import Metric, all_metrics


@dataclass(frozen=True, eq=False)
class Run:
    """A run's folder, in the state in which it is when each thing is first asked for; later changes are not seen.

    folder: with answers.jsonl and results.json in it, and judgements-....jsonl where a judge was asked.
    questions: of its experiment; answers and results can be looked at without, judgements and metric cannot.
    """

    folder: Path
    questions: list[Question] = field(default_factory=list)

    @classmethod
    def of(cls, experiment: Experiment, out: str | Path) -> "Run":
        """The run of an experiment, in out/<its id>.

        Raises:
            AnnotationError: its annotation files cannot be used.
        """
        return cls(Path(out) / experiment.id, experiment.questions())

    @property
    def id(self) -> str:
        """The folder's name, which is its experiment's."""
        return self.folder.name

    def __fspath__(self) -> str:
        """A run is a path: what takes a run's folder takes the run."""
        return str(self.folder)

    @property
    def answers_file(self) -> Path:
        return self.folder / "answers.jsonl"

    @property
    def results_file(self) -> Path:
        return self.folder / "results.json"

    @cached_property
    def answers(self) -> Outcome:
        """What the model said.

        Raises:
            JournalError: the file is not there or damaged.  CountsError: it does not add up.
        """
        return read_outcome(self.answers_file)

    @cached_property
    def results(self) -> Results:
        """All that the run has found.

        Raises:
            ResultsError: it has not come to results, or they cannot be read.
        """
        return read_results(self.results_file)

    @cached_property
    def judgements(self) -> Judgements | None:
        """By the judge that the results name; None where none was asked.

        Raises:
            ResultsError: as `results`.  JournalError: the file is not there or damaged.
        """
        if self.results.judge is None:
            return None
        file = judgements_file(self.folder, self.results.judge.settings)
        return read_judgements(file, self.questions, self.answers)

    @cached_property
    def metric(self) -> Metric:
        """Its first metric: the paper's, where it has one.

        Raises:
            ValueError: its questions were not given.
            ResultsError, JournalError: as above.
        """
        if not self.questions:
            raise ValueError(f"run {self.id}: give its questions, as Run.of(experiment, out) does")
        return all_metrics(self.questions, self.answers, self.judgements)[0]
