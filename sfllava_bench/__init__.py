"""The benchmarks around the method: from annotation files and videos to a report that can be trusted to the row.

    questions/ -> answers/ -> scores/ -> reports/        and runs/, which goes the whole way

An `Experiment` (answers/experiment.py) is method, questions, model and prompt options; `run` (answers/loop.py) answers
a list of them video by video, each video decoded and encoded once for all. The paper's rows (runs/experiments.py) and
PocketBench's layouts (answers/layouts.py) are experiments with a name; notebook 08 shows it all.
"""
