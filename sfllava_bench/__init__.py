"""The benchmarks around the method: from annotation files and videos to a report that can be trusted to the row.

    annotations.py -> videos.py, preflight.py -> runner.py -> scoring.py, judge.py -> stats.py -> report.py
    (rows of files)   (files that open)          (answers)    (right or wrong)         (how sure)   (results.json, HTML)

`reproduce.py` goes the whole way for one row of the paper's tables; `runs.py` holds the list of them, as data.
`layouts.py` looks at a film once for many specs, `pocketbench.py` makes a table of them; notebook 08 shows it all.
"""
