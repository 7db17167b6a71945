"""NExT-QA: choices about causes, times and descriptions in everyday videos."""

from sfllava_bench.questions.benchmarks.multiple_choice import MultipleChoice


class NExTQA(MultipleChoice):
    """Five options; answer_number says which, since two may be equal. Its types are letters: CW, TN, DO ..."""

    name, title = "nextqa", "NExT-QA"
    questions, videos = 4996, 570
    csv, json = {"": ("NExT_QA.csv",)}, {"": ("val_qa.json",)}
    column = "nextqa"
