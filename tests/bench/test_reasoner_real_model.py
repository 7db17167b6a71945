"""The reasoner's transport against a real language model served locally. Its answers mean nothing."""

import torch

from sfllava_bench.answers.loop import run
from sfllava_bench.captions.llovi import STANDARD
from sfllava_bench.captions.reasoner import reason
from sfllava_bench.captions.replies import UNREAD
from sfllava_bench.captions.videotree import VideoTree
from sfllava_bench.scores.chat import Judge
from sfllava_core.video.folder import VideoFolder

from .test_judge_real_model import pytestmark, url  # noqa: F401
from .test_told_runs import experiments, films, tiny  # noqa: F401

OPTIONS = ["he cooks", "he sleeps", "he reads", "he swims", "he paints"]
CAPTIONS = [f"a man stirs pot {frame}" for frame in range(12)]


def test_a_real_model_reads_captions(url, tmp_path):  # noqa: F811
    features = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))

    def llovi(reasoner) -> dict:
        place, reply = STANDARD.answer(reasoner.asker(STANDARD.request), STANDARD.slots(CAPTIONS, "What?", OPTIONS, 12))
        return {"place": place, "reply": reply}

    def videotree(reasoner) -> dict:
        method = VideoTree()
        return method.run(reasoner.asker(method.request), features, CAPTIONS, "What?", OPTIONS)

    judge = Judge("smollm2-135m", url, concurrency=2, tries=3, first_wait_s=0.1, timeout_s=120)
    records, counts = reason({"l": llovi, "v": videotree}, judge, tmp_path / "r.jsonl", {})
    found = {record["key"]: record for record in records}
    assert counts.complete and found["l"]["place"] in (UNREAD, *range(5)) and found["l"]["reply"]
    assert "error" not in found["v"] or "frame relevance" in found["v"]["error"] or "relevance [" in found["v"]["error"]


def test_a_real_model_reads_captions_in_a_run(url, tiny, films, tmp_path):  # noqa: F811
    judge = Judge("smollm2-135m", url, concurrency=1, tries=3, first_wait_s=0.1, timeout_s=120)
    some = experiments(films, ["llovi", "videotree"], reasoner=judge, max_videos=1)
    outcomes = run(tiny, some, VideoFolder(films), tmp_path, progress=False)
    counts = [outcomes[one.id].counts(one.questions()) for one in some]
    assert all(found.complete and found.expected == 5 for found in counts) and counts[0].answered == 5
    assert all("SmolLM2" in record["served_model"] for record in outcomes[some[0].id].answers.values())
    failed = outcomes[some[1].id].failures.values()
    assert all("frame relevance" in one["error"] or "relevance [" in one["error"] for one in failed)
