"""VideoTree as its released code gives it: clusters, the loop, trees in three readings, requests, replies; and ours."""

from itertools import product

import field
import numpy as np
import pytest
import torch

from sfllava_bench.captions.prompts import examples_block, prompts
from sfllava_bench.captions.replies import READERS, UNREAD, UnreadableReplyError, prediction
from sfllava_bench.captions.scoring import evaluate, evaluate_next
from sfllava_bench.captions.trees import READINGS, Chances, by_cluster, choose_frames, keyframes, kmeans
from sfllava_bench.captions.videotree import VideoTree, narration

SETTINGS = {
    "--init_cluster_num": ("first", int),
    "--max_cluster_num": ("most", int),
    "--default_adpative_rate": ("rate", int),
    "--iter_threshold": ("enough", int),
    "--prompt_type": ("prompt", str),
    "--model": ("model", str),
    "--temperature": ("temperature", float),
    "--fps": ("fps", float),
    "--num_words_in_sum": ("words", int),
}
FLAGS = {"--disable_eval", "--start_from_scratch", "--save_info"}
ELSE = {"--num_examples_to_run", "--tree_node_idx", "--fewshot_example_path", "--task", "--dataset", "--save_every"}


def inputs() -> dict:
    return field.whole("videotree")["inputs"]


def features_of(name: str) -> torch.Tensor:
    return torch.from_numpy(np.asarray(field.arrays("videotree")[name], dtype=np.float32))


def arguments(args: list[str]) -> tuple[dict[str, str], dict[str, object]]:
    """A released command's options, and those that are settings here; one that is not known fails the test."""
    found, left = {}, list(args)
    while left:
        name = left.pop(0)
        assert name in FLAGS | set(SETTINGS) | ELSE, f"{name} is not known to this test"
        found[name] = "" if name in FLAGS else left.pop(0)
    return found, {SETTINGS[name][0]: SETTINGS[name][1](one) for name, one in found.items() if name in SETTINGS}


def options_of(video: str) -> list[str]:
    return [inputs()["anno"][video][f"option {n}"] for n in range(5)]


def chances_of(case: dict) -> Chances:
    chances = Chances(case["np_seed"] if case.get("seed_argument") is None else case["seed_argument"])
    chances.refill.manual_seed(case["torch_seed"])
    return chances


def same_but_for_ties(ours: list[int], theirs: list[int], tied: dict[str, list[int]]) -> bool:
    """Whether keyframes are the same, those of a cluster whose members are as near as each other aside."""
    leader = {frame: min(frames) for frames in tied.values() for frame in frames}
    return sorted(leader.get(frame, frame) for frame in ours) == sorted(leader.get(frame, frame) for frame in theirs)


def check_kmeans(case):
    features = features_of(case["features"])
    if case.get("raises") or case.get("error"):
        with pytest.raises(ValueError, match=f"{case['num_clusters']} clusters of {len(features)} frames: give 2 to"):
            kmeans(features, case["num_clusters"], chances_of(case))
        return
    found = kmeans(features, case["num_clusters"], chances_of(case), case["iter_limit"])
    assert found.started == case["init_indices"]
    if not case.get("portable", True):  # float rounding decides: only that empty clusters are refilled can be checked
        assert bool(found.refilled) == bool(case["empty_cluster_refills"])
        return
    assert (found.rounds, found.refilled) == (case["distance_evaluations"], case["empty_cluster_refills"])
    assert found.ids.tolist() == case["cluster_ids"]
    centres = features_of(f"{case['name']}_centers")
    torch.testing.assert_close(found.centres, centres, rtol=0, atol=1e-5)
    nodes = keyframes(features, found)
    assert same_but_for_ties(list(nodes.values()), case["tree_node"], case["tied_keyframes"])
    for cluster, frames in case["keyframe_per_cluster"].items():
        expected = case["tied_keyframes"].get(cluster, frames)
        assert (nodes[int(cluster)] in expected) if expected else int(cluster) not in nodes


def variants(nodes: list[int], tied: dict[str, list[int]]):
    """Keyframes with each tied one replaced by its equals, in every combination."""
    equals = {frame: frames for frames in tied.values() for frame in frames}
    for some in product(*(equals.get(frame, [frame]) for frame in nodes)):
        yield sorted(some)


def check_breadth(case):
    given, settings = arguments(case["args"])
    method, chances, left = VideoTree("as_released", **settings), chances_of(case), list(case["iterations"])
    results = {one["name"]: one for one in case.get("width_res", [])}
    most = int(given.get("--num_examples_to_run", -1))
    videos = list(inputs()["captions"])[: None if most < 0 else most]
    asked = 0
    for video in videos:
        features, captions = features_of(f"loop_{video}"), inputs()["captions"][video]
        question, options = inputs()["anno"][video]["question"], options_of(video)
        rounds, requests = [], []

        def ask(messages, requests=requests):
            requests.append(messages)
            return left[len(requests) - 1]["reply"]

        def widen():
            return method.widen(ask, features, captions, question, options, chances)  # noqa: B023

        if case.get("raises"):
            with pytest.raises(UnreadableReplyError, match="no 'frame relevance"):
                widen()
        else:
            breadth = widen()
            rounds, expected = breadth.rounds, results[video]
            last = left[len(rounds) - 1]["tied_keyframes"]
            assert same_but_for_ties(breadth.nodes, expected["tree_node"], last)
            assert breadth.ids == expected["cluster_ids_x"]
            assert breadth.scores == case["records"][video]["pred"]
        for number, messages in enumerate(requests):
            expected = left[number]
            if rounds:
                assert len(rounds[number].centres) == expected["num_clusters"]
                assert rounds[number].started == expected["init_indices"]
                assert rounds[number].refilled == expected["refills"]
                assert rounds[number].ids.tolist() == expected["cluster_ids"]
            body = method.request(messages)
            assert (body["model"], body["temperature"]) == (expected["model"], expected["temperature"])
            assert [one["role"] for one in messages] == ["system", "user"]
            assert messages[0]["content"] == expected["system"]
            if messages[1]["content"] != expected["prompt"]:  # another of the keyframes that are as near as each other
                assert rounds, "a prompt differs where nothing can be tied"
                nodes = sorted(keyframes(features, rounds[number]).values())
                texts = (
                    narration(captions, some, "as_released") for some in variants(nodes, expected["tied_keyframes"])
                )
                assert any(f"Description: {text} \n" in expected["prompt"] for text in texts)
        asked += len(requests)
        del left[: len(requests)]
    assert not left and asked == case["requests"] == case["kmeans_calls"]


def without_empty(tree: object) -> object:
    """A tree as the goldens have it, with names as texts and without empty nodes."""
    if not isinstance(tree, dict):
        return list(tree)
    cut = {str(name): without_empty(below) for name, below in tree.items()}
    return {name: below for name, below in cut.items() if below not in ([], {})}


def check_depth(case):
    if not case.get("portable", True):
        return
    features, widths = features_of(case["features"]), (case["num_subclusters"], case["num_subsubclusters"])
    ids, nodes, scores = case["cluster_ids"], case.get("tree_node", []), case["relevance"]
    chosen, tree = choose_frames(features, ids, nodes, scores, "as_released", widths)
    assert chosen == case["selected"]
    assert without_empty(tree) == without_empty(case["tree"])
    if "selected_aligned" in case:
        aligned = by_cluster(scores, {ids[frame]: frame for frame in nodes})
        assert [aligned[cluster] for cluster in sorted(aligned)] == case["relevance_aligned"]
        chosen, tree = choose_frames(features, ids, nodes, scores, "aligned", widths)
        assert chosen == case["selected_aligned"]
        assert without_empty(tree) == without_empty(case["tree_aligned"])
    if "selected_paper_tree" in case:
        assert choose_frames(features, ids, nodes, scores, widths=widths)[0] == case["selected_paper_tree"]


def check_selection(case):
    assert narration(case["narration"], case["loc_pred"], "as_released") == case["text"]
    assert narration(case["narration"], case["loc_pred"], "aligned") == case["text"]


def check_answering(case):
    given, settings = arguments(case["args"])
    method = VideoTree("as_released", **settings)
    places = field.whole("videotree")["answering_inputs"]["loc"] if "--tree_node_idx" in given else {}
    most = int(given.get("--num_examples_to_run", -1))
    videos = list(inputs()["captions"])[: None if most < 0 else most]
    block = None
    if "--fewshot_example_path" in given:
        told = [{"video": video, "question": one["question"], "options": [one[str(n)] for n in range(5)],
                 "answer": one["truth"]} for video, one in inputs()["fewshot"].items()]  # fmt: skip
        block = examples_block(told, inputs()["captions"])
    if case.get("raises"):  # the released code wants a file of frames; without frames all captions are told here
        assert not case["requests"], "a run that dies half-way is not known to this test"
        captions = inputs()["captions"]["vid-a"]
        assert narration(captions, None, "as_released") == ". ".join(captions)
        return
    found = {}
    for video, expected, reply in zip(videos, case["requests"], case["replies"], strict=True):
        captions, question = inputs()["captions"][video], inputs()["anno"][video]["question"]
        slots = method.slots(captions, places.get(video), question, options_of(video),
                             inputs()["durations"][video], block)  # fmt: skip
        messages = method.template.messages(slots)
        assert [one["content"] for one in messages] == [expected["system"], expected["user"]]
        assert (len(messages), method.temperature) == (expected["n_messages"], expected["temperature"])
        if reply == "BadRequestError":
            found[video] = None
        elif not case["records"]:
            continue
        elif case["records"][video]["pred"] is None:
            with pytest.raises(UnreadableReplyError):
                method.read(reply)
            found[video] = None
        else:
            found[video] = method.read(reply)  # of two stages the released code asks and reads the first alone
    assert found == {video: one["pred"] for video, one in case["records"].items()}
    if case.get("stats") and "num_total" in case["stats"]:
        check_stats(case["stats"], [(place, case["records"][video]["truth"]) for video, place in found.items()])


def check_stats(stats: dict, pairs: list[tuple]) -> None:
    counted = evaluate(pairs)
    assert (counted.total, counted.readable, counted.correct) == (
        stats["num_total"], stats["num_valids"], stats["num_corrects"])  # fmt: skip
    assert counted.accuracy == pytest.approx(stats["acc"])


def check_flat(case):
    check_stats(case["stats"], [tuple(pair) for pair in case["pairs"]])


def check_next(case):
    types = dict(zip(case["preds"], case["types"]))
    pairs = {uid: (one["pred"], one["truth"]) for uid, one in case["preds"].items()}
    assert evaluate_next(pairs, types) == pytest.approx(case["stats"])


def reader_check(name: str):
    def check(case):
        def read(reply):
            return prediction(reply, fallback=0) if name == "prediction" else READERS[name](reply)

        if case.get("raises") is None:
            assert read(case["in"]) == case["out"]
        elif name == "prediction":  # a crash there, no answer here
            assert prediction(case["in"]) == UNREAD
        elif name in ("first_letter", "letter_after_anchor"):
            assert read(case["in"]) == UNREAD
        elif name == "intervals" and case["raises"] == "ValueError":  # LLoVi's later rule: [0, 1] where it is no number
            if case["in"].count(",") < 2:
                assert [0, 1] in read(case["in"])
                return
            with pytest.raises(UnreadableReplyError):
                read(case["in"])
        else:
            with pytest.raises(UnreadableReplyError):
                read(case["in"])

    return check


def check_templates(case):
    ours = prompts("videotree")
    assert set(ours) == set(case)
    for name, one in case.items():
        assert (ours[name].system, list(ours[name].stages)) == (one["head"], one["stages"])


def check_defaults(case):
    ours = VideoTree()
    for name, (mine, kind) in SETTINGS.items():
        assert getattr(ours, mine) == kind(case[name.removeprefix("--")])


CHECKS = {
    "kmeans": check_kmeans,
    "breadth_loop": check_breadth,
    "depth": check_depth,
    "narration_selection": check_selection,
    "answering": check_answering,
    "templates": check_templates,
    "argument_defaults": check_defaults,
    "parse-update_relevance_response": reader_check("relevance"),
    "parse-update_pred_response": reader_check("prediction"),
    "parse-first_char_as_answer": reader_check("first_letter"),
    "parse-first_char_after_anchor": reader_check("letter_after_anchor"),
    "parse-get_intervals_as_list": reader_check("intervals"),
    "eval_egoschema": check_flat,
    "eval_next": check_next,
}


@field.each_of_groups("videotree", CHECKS, ("meta", "inputs", "answering_inputs", "published_results_facts"))
def test_as_released(check, case):
    check(case)


CAPTIONS = [f"caption {frame}" for frame in range(40)]


def scripted(*replies: str):
    """A language model that says these, one after another, and what it was asked."""
    asked, left = [], list(replies)

    def ask(messages):
        asked.append(messages[-1]["content"])
        return left.pop(0)

    return ask, asked


def grouped(groups: int = 10, each: int = 4) -> torch.Tensor:
    """Frames in groups that point in directions of their own."""
    generator = torch.Generator().manual_seed(0)
    return torch.eye(groups).repeat_interleave(each, dim=0) * 5 + 0.1 * torch.randn(
        groups * each, groups, generator=generator
    )


def told(*scores: int) -> str:
    return f"prediction: B\nexplanation: x\nconfidence: 9\nframe relevance: {list(scores)}"


def test_our_reading_tells_each_frame_by_its_own_caption():
    assert narration(CAPTIONS, [0, 3]) == "narration caption 0. caption 3"
    assert narration(CAPTIONS, [0, 3], "as_released") == "narration ", "captions without markers vanish there"
    marked = [f"#C {one}" for one in CAPTIONS]
    assert narration(marked, [0, 3], "aligned") == "narration #C caption 2. "
    with pytest.raises(ValueError, match=r"frames \[40\] of 40 captions"):
        narration(CAPTIONS, [1, 40])
    with pytest.raises(ValueError, match="one ready text of captions"):
        narration("#C a. #C b", [1])


def test_clusters_double_until_enough_keyframes_are_relevant():
    ask, asked = scripted(told(*[1] * 8), told(*[3] * 4 + [1] * 12))
    breadth = VideoTree().widen(ask, grouped(), CAPTIONS, "q", list("abcde"))
    assert [len(one.centres) for one in breadth.rounds] == [8, 16] and len(breadth.nodes) == 16
    assert asked[1].count("caption ") == 16
    ask, _ = scripted(*[told(1)] * 3)
    assert len(VideoTree().widen(ask, grouped(), CAPTIONS, "q", list("abcde")).rounds[-1].centres) == 32


def test_a_short_video_has_no_more_clusters_than_frames_in_our_reading():
    ask, _ = scripted(told(*[1] * 5))
    assert VideoTree().widen(ask, grouped(5, 1), CAPTIONS, "q", list("abcde")).nodes == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="8 clusters of 5 frames: give 2 to 5"):
        VideoTree("as_released").widen(ask, grouped(5, 1), CAPTIONS, "q", list("abcde"))


def test_the_readings_differ_in_which_cluster_a_score_is_for():
    """Three clusters numbered against time; the reply finds the first keyframe alone irrelevant."""
    ids, features = [2] * 8 + [1] * 8 + [0] * 8, grouped(6, 4)
    scores, nodes = [1, 3, 3], [4, 12, 20]
    chosen = {name: choose_frames(features, ids, nodes, scores, name)[0] for name in READINGS}
    assert sum(frame >= 16 for frame in chosen["as_released"]) == 1, "the score went to the last cluster's number"
    assert sum(frame < 8 for frame in chosen["aligned"]) == sum(frame < 8 for frame in chosen["as_described"]) == 1
    assert chosen["as_described"] == sorted(set(chosen["as_described"]))


def test_a_reply_without_an_answer_is_none_in_our_reading_and_option_a_as_released():
    assert VideoTree().read("I cannot tell.") == UNREAD
    assert VideoTree("as_released").read("I cannot tell.") == VideoTree("aligned").read("") == 0
    ask, asked = scripted("prediction: C")
    method = VideoTree()
    slots = method.slots(CAPTIONS, [1, 2], "q", list("abcde"))
    assert method.answer(ask, slots) == (2, "prediction: C") and "narration caption 1. caption 2 \n" in asked[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VideoTree("released"), "reading 'released': choose one of as_released, aligned, as_described"),
        (lambda: VideoTree(prompt="cap"), "videotree has no prompt 'cap'"),
        (lambda: VideoTree(first=1), "first=1, rate=2"),
        (lambda: choose_frames(grouped(), [0], [0], [1]), "cluster numbers of 1 frames, features of 40"),
        (lambda: choose_frames(grouped(1), [0] * 4, [0], [4]), r"relevance \[4\]: scores are 1, 2 or 3"),
        (lambda: choose_frames(grouped(1), [0] * 4, [0], [1], "x"), "reading 'x': choose one of"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
