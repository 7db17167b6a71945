"""TGIF-FrameQA: open-ended questions about animated GIFs."""

from sfllava_bench.questions.benchmarks.open_ended import OpenEnded


class TGIF(OpenEnded):
    """Its question_ids repeat; its video_id, which names a question in truth, does not. The JSON files lack it."""

    name, title = "tgif", "TGIF-FrameQA"
    questions, videos = 13691, 7132
    csv, json = {"": ("TGIF_FrameQA.csv",)}, {"": ("val_q.json", "val_a.json")}
    key = "video_id"
    types = ("object", "number", "colour", "location")
    column = "tgif"
