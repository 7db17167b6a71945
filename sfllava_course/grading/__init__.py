"""Students' notebooks, graded: every exercise of every copy is right, wrong or to do.

    grade.py        a folder of copies -> grades.csv and grades.html, some copies at a time
    submissions.py  which file is whose, and of which chapter
    marking.py      one copy, in a process of its own: its cells one after another, its answers judged
    kernel.py       the Jupyter kernel in which the copy runs
    sandbox.py      the box around that kernel: no network, limits, nothing left behind; enclosed.py is its first step
    inside.py       called in the kernel: an answer to some inputs        values.py   what may come out of it

What is trusted: the kit's own checks, which run outside of the box, on values. From the box come only numbers, texts,
lists and arrays, read by formats that run no code (JSON, NumPy's without pickles, safetensors). So whatever a copy
prints, and whatever it does to the kit's modules or to its calls of `check`, changes nothing: an exercise is right when
the function of its name, called on the check's inputs, gave the check's values.

What is not proven: that the student wrote the function, or that it does not call the library's own.
"""
