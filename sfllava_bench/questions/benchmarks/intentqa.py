"""IntentQA: choices about what people in everyday videos are after."""

from sfllava_bench.questions.benchmarks.multiple_choice import MultipleChoice


class IntentQA(MultipleChoice):
    """Five options."""

    name, title = "intentqa", "IntentQA"
    questions, videos = 2044, 524
    csv, json = {"": ("IntentQA.csv",)}, {"": ("val_qa.json",)}
    column = "intentqa"
