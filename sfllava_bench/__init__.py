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

from sfllava_core.exports import lazy

HOMES = {
    "questions.records": ("Question",),
    "questions.annotations": ("load_annotations",),
    "questions.benchmarks.base": ("BENCHMARKS", "Benchmark"),
    "questions.tables": ("AnnotationError",),
    "answers.experiment": ("Experiment", "ExperimentError"),
    "answers.loop": ("run",),
    "answers.video_model": ("VideoModel",),
    "answers.counts": ("Counts", "CountsError", "Outcome", "read_outcome"),
    "answers.journal": ("JournalError",),
    "scores.chat": ("Judge", "JudgeError"),
    "scores.judge": ("Judgements", "judge_answers", "read_judgements"),
    "scores.scores": ("Metric", "all_metrics"),
    "scores.stats": ("Interval", "Paired", "clustered_interval", "paired_comparison"),
    "reports.results": ("Results", "ResultsError", "make_results", "read_results", "write_results"),
    "reports.report": ("write_report",),
    "reports.run": ("Run",),
    "reports.tables": ("load_answers", "load_judgements", "load_results"),
    "runs.catalogue": ("paper_experiments",),
    "runs.experiments": ("make_experiment", "make_experiments"),
    "runs.reproduce": ("reproduce", "rescore"),
    "runs.sweeps": ("sweep",),
}
__all__ = sorted(name for names in HOMES.values() for name in names)
__getattr__, __dir__ = lazy(__name__, HOMES)
