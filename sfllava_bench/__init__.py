"""The benchmarks around the method: from annotation files and videos to a report that can be trusted to the row.

    questions/ -> answers/ -> scores/ -> reports/        and runs/, which goes the whole way
    (rows of      (what the    (right or  (results.json,
     files)        model said)  wrong)     HTML, tables)

An `Experiment` (answers/experiment.py) is method, questions, model and prompt options; `run` (answers/loop.py) answers
a list of them video by video, each video decoded and encoded once for all. The paper's rows (runs/experiments.py) and
PocketBench's layouts (answers/layouts.py) are experiments with a name. A `Run` (reports/run.py) is an experiment's
folder: answers, judgements, results. Notebook 08 shows it all.

Importing the package loads nothing heavy; each name below is imported from its module when first used.
"""

from typing import TYPE_CHECKING

from sfllava_core.exports import lazy

if TYPE_CHECKING:
    from sfllava_bench.answers.counts import Counts, CountsError, Outcome, read_outcome
    from sfllava_bench.answers.experiment import Experiment, ExperimentError
    from sfllava_bench.answers.journal import JournalError
    from sfllava_bench.answers.loop import run
    from sfllava_bench.answers.video_model import VideoModel
    from sfllava_bench.questions.annotations import load_annotations
    from sfllava_bench.questions.benchmarks.base import BENCHMARKS, Benchmark
    from sfllava_bench.questions.records import Question
    from sfllava_bench.questions.tables import AnnotationError
    from sfllava_bench.reports.report import write_report
    from sfllava_bench.reports.results import Results, ResultsError, make_results, read_results, write_results
    from sfllava_bench.reports.run import Run
    from sfllava_bench.reports.tables import load_answers, load_judgements, load_results
    from sfllava_bench.runs.catalogue import paper_experiments
    from sfllava_bench.runs.experiments import make_experiment, make_experiments
    from sfllava_bench.runs.reproduce import reproduce, rescore
    from sfllava_bench.runs.sweeps import sweep
    from sfllava_bench.scores.chat import Judge, JudgeError
    from sfllava_bench.scores.judge import Judgements, judge_answers, read_judgements
    from sfllava_bench.scores.scores import Metric, all_metrics
    from sfllava_bench.scores.stats import Interval, Paired, clustered_interval, paired_comparison
else:
    __getattr__, __dir__ = lazy(__name__, __file__)

__all__ = [
    "BENCHMARKS", "AnnotationError", "Benchmark", "Counts", "CountsError", "Experiment", "ExperimentError",
    "Interval", "JournalError", "Judge", "JudgeError", "Judgements", "Metric", "Outcome", "Paired", "Question",
    "Results", "ResultsError", "Run", "VideoModel", "all_metrics", "clustered_interval", "judge_answers",
    "load_annotations", "load_answers", "load_judgements", "load_results", "make_experiment",
    "make_experiments", "make_results", "paired_comparison", "paper_experiments", "read_judgements",
    "read_outcome", "read_results", "reproduce", "rescore", "run", "sweep", "write_report", "write_results",
]  # fmt: skip
