"""ActivityNet-QA: open-ended questions about people's activities."""

from sfllava_bench.questions.benchmarks.open_ended import OpenEnded


class ActivityNet(OpenEnded):
    """Its videos are stored with and without "v_" before their names; see `VideoFolder`."""

    name, title = "activitynet", "ActivityNet-QA"
    questions, videos = 8000, 800
    csv, json = {"": ("ActivityNet_QA.csv",)}, {"": ("test_q.json", "test_a.json")}
    types = ("motion", "spatial", "temporal", "yes/no", "colour", "object", "location", "number", "other")
    column, ablated = "anet", slice(0, 2)
