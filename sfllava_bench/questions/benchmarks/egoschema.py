"""EgoSchema: choices about three minutes seen through the wearer's own camera."""

from sfllava_bench.questions.benchmarks.multiple_choice import MultipleChoice


class EgoSchema(MultipleChoice):
    """The subset whose answers are public, one question a video; five options."""

    name, title = "egoschema", "EgoSchema (subset)"
    questions, videos = 500, 500
    csv, json = {"": ("EgoSchema.csv",)}, {"": ("val_qa.json",)}
    column, ablated = "egoschema", slice(2, 3)
