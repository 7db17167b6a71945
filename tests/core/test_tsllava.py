"""TS-LLaVA against what its released code gave (tests/data/field/tsllava), and on the tiny checkpoint."""

import re

import field
import numpy as np
import pytest
import torch
from conftest import GRAND_PRIX
from einops import rearrange, reduce, repeat

from sfllava_bench.questions.tsllava import MAX_NEW_TOKENS, letter_prompt, mvbench_frames, videomme_prompt
from sfllava_core import SlowFast, SpecError, TSLLaVA, parse_spec
from sfllava_core.features import normalize, preprocess, resize_frames
from sfllava_core.methods.base import decode_method
from sfllava_core.methods.tsllava import spread, thumbnail, thumbnail_grid
from sfllava_core.prompts import PromptError, conversation_pieces, multiple_choice_prompt, open_ended_prompt

NAMES = (
    [f"{kind}{n}" for kind in "VXYZU" for n in (1, 2, 3)] + ["U4"] + [f"W{n}{a}" for n in (1, 2, 3, 4) for a in "ab"]
)
GREEDY = {"do_sample": False, "temperature": 0, "top_p": None, "num_beams": 1, "use_cache": True}


def fails(outputs: dict, call) -> bool:
    """Whether the released code fails here; then ours must refuse."""
    if "error" in outputs:
        with pytest.raises(ValueError):
            call()
    return "error" in outputs


def check_frames(inputs, outputs):
    method, total = TSLLaVA(inputs["num_frames"], thumbnails=1, cells=1), inputs["total_frames"]
    assert method.sample(total) == outputs["indices"]


def check_mvbench(inputs, outputs):
    bounds, first = inputs["bound_seconds"], inputs["first_idx"]
    got = mvbench_frames(inputs["max_frame"], inputs["num_frames"], inputs["fps"], bounds, first)
    assert got == outputs["indices"]


def check_thumbnail_frames(inputs, outputs):
    method = TSLLaVA(1000, cells=inputs["num_samples"])
    if not fails(outputs, lambda: method.thumbnail_frames(inputs["frames"])):
        assert method.thumbnail_frames(inputs["frames"]).tolist() == [outputs["indices"]]


def check_grid(inputs, outputs):
    assert thumbnail_grid(inputs["num_images"]) == (outputs["rows"], outputs["columns"])


def check_thumbnail(inputs, outputs):
    frames = rearrange(torch.from_numpy(inputs["frames"].astype(np.float32)), "n c h w -> n h w c")
    picture = rearrange(thumbnail(frames, inputs["final_h_w"]), "h w c -> c h w")
    torch.testing.assert_close(picture, torch.from_numpy(outputs["image"]), rtol=0, atol=2e-5)


def check_pixels(inputs, outputs):
    """From frames of any size to what the vision tower gets, made before normalising and not after."""
    frames = inputs["frames"]
    size = tuple(outputs["shape"][1:])
    views = TSLLaVA(len(frames), 576).arrange(frames, size)
    values = preprocess(views, size)
    assert list(values[-1].shape) == outputs["shape"]
    sampled = [(values[:-1, :, ::24, ::24], "frame_tensor_sampled"), (values[-1, :, ::8, ::8], "thumbnail_sampled")]
    for got, name in sampled:
        torch.testing.assert_close(got, torch.from_numpy(outputs[name]), rtol=0, atol=1e-6)
    assert float(values[-1].double().mean()) == pytest.approx(outputs["mean"], abs=1e-5)


def check_sampling(inputs, outputs):
    frames, patches = inputs.get("frames", 1), inputs.get("tokens_per_frame") or inputs["tokens"]
    total, method = frames * patches, TSLLaVA(frames, inputs["num_samples"], cells=1)
    if fails(outputs, lambda: method.token_counts(grid=(1, patches))):
        return
    got, expected = spread(total, inputs["num_samples"]).tolist(), list(outputs["indices"])
    for place, low, high in outputs["float_sensitive"]:  # the released code itself gives either, by the machine
        assert got[place] in (low, high)
        expected[place] = got[place]
    assert got == expected


def check_tokens(inputs, outputs):
    """Through `arrange` and `visual_tokens`; a tower that averages 2 x 2 pixels, three channels at a time."""
    lattice = inputs["lattice"]  # (frames, channels, rows, columns): what the tower makes of each frame

    def tokens() -> torch.Tensor:
        method = TSLLaVA.released(inputs["method"], inputs["num_sampled_tokens"], len(lattice))
        parts = []
        for start in range(0, lattice.shape[1], 3):
            some = lattice[:, start : start + 3]
            some = np.pad(some, ((0, 0), (0, 3 - some.shape[1]), (0, 0), (0, 0)))
            pixels = repeat(some, "t c h w -> t (h a) (w b) c", a=2, b=2)
            views = torch.from_numpy(method.arrange(pixels, pixels.shape[1:3]))
            parts.append(method.visual_tokens(reduce(views, "t (h a) (w b) c -> t h w c", "mean", a=2, b=2)))
        found = torch.cat(parts, dim=1)[:, : lattice.shape[1]]
        assert len(found) == method.token_count() == len(method.token_frames(len(lattice), (24, 24)))
        return found

    if not fails(outputs, tokens):
        torch.testing.assert_close(tokens(), torch.from_numpy(outputs["tokens"]), rtol=0, atol=7.63e-5)


def prompt(mode: str, question: str, options: list[str] | None) -> str:
    style = "chatml" if "34b" in mode else "vicuna"
    version = mode.rsplit("_", 1)[1]
    if mode == "vicuna_v1":
        return "".join(conversation_pieces(question, "vicuna"))
    if mode.startswith("multiple_choice"):
        return "".join(TSLLaVA(choice=version).multiple_choice(question, options, style))
    return "".join(TSLLaVA(open=version).open_ended(question, style))


def check_prompt(inputs, outputs):
    question, options = inputs["question"], inputs.get("options")
    style = "chatml" if "34b" in inputs["conv_mode"] else "vicuna"
    if inputs.get("only_choice"):
        assert letter_prompt(question, options, style) == outputs["prompt"]
    else:
        assert prompt(inputs["conv_mode"], question, options) == outputs["prompt"]


def check_generation(inputs, outputs):
    """Settings of each script, and its prompt, made again of the question and the options that stand in it."""
    limit = next((limit for name, limit in MAX_NEW_TOKENS.items() if name in inputs["script"]), TSLLaVA.max_new_tokens)
    assert outputs["generation"] == {**GREEDY, "max_new_tokens": limit}
    text, style = outputs["prompt"], "chatml" if outputs["prompt"].startswith("<|im_start|>") else "vicuna"
    if choice := re.search(r"Question: (.*?)\nOptions:\n(.*)Only give", text, re.DOTALL):
        options = re.findall(r"^\([A-Z]\) (.*)$", choice[2], re.MULTILINE)
        again = [multiple_choice_prompt(choice[1], options, style)]
    elif listed := re.search(r"option\.\n(.*)\n\['(.*)'\]\n", text, re.DOTALL):
        again = [videomme_prompt(listed[1], listed[2].split("', '"), style, version) for version in (1, 2)]
    else:
        question = re.search(r"Question: (.*?) (?:\n|<\|im_end)|<image>\n(.*) ASSISTANT:", text, re.DOTALL)
        question = question[1] or question[2]
        again = [open_ended_prompt(question, style), "".join(conversation_pieces(question, style))]
    assert text in again


def check_parse(inputs, outputs):
    """Right for a to e only with five options; MLVU, with more, keeps the F."""
    if "error" in outputs:
        assert TSLLaVA().read_choice(inputs["pred"], ["x"] * 5) is None
        return
    five, six = (TSLLaVA().read_choice(inputs["pred"], ["x"] * count) for count in (5, 6))
    assert ([] if five is None else ["abcde"[five]]) == outputs["counted_right_for"]
    assert ("none" if six is None else "abcdef"[six]) == outputs["option"]
    assert ("none" if six is None else "ABCDEF"[six]) == outputs["mlvu_option"]


CHECKS = {
    "frame_indices": check_frames,
    "mvbench_indices": check_mvbench,
    "thumbnail_frames": check_thumbnail_frames,
    "grid_shape": check_grid,
    "thumbnail": check_thumbnail,
    "thumbnail_pixels": check_pixels,
    "token_sampling": check_sampling,
    "aggregation": check_tokens,
    "prompt": check_prompt,
    "generation": check_generation,
    "parse": check_parse,
}


@field.each("tsllava", CHECKS)
def test_it_equals_the_released_code(check, inputs, outputs):
    check(inputs, outputs)


@pytest.mark.parametrize("name", NAMES)
def test_each_order_is_a_value_with_a_text_form(name):
    method = TSLLaVA.released(name)
    assert parse_spec(str(method)) == method == parse_spec(f"tsllava-{name}")
    assert decode_method(method.to_json()) == method
    assert re.fullmatch(r"[\w-]+", str(method))


def test_the_names_stand_for_what_the_rules_say():
    texts = {
        "V2": "tsllava50-sampled2880-thumbs1x6", "Y1": "tsllava50-thumbs1x4-sampled2880", "X3": "tsllava50-thumbs1x8",
        "Z2": "tsllava50-thumbsallx6", "U2": "tsllava50-sampled2880-thumbs3x4",
        "W4a": "tsllava50-thumbs3x6-sampled1728",
        "W1b": "tsllava50-thumbs2x4-sampled2304",
    }  # fmt: skip
    assert {name: str(TSLLaVA.released(name)) for name in texts} == texts
    assert parse_spec("tsllava") == TSLLaVA()
    assert TSLLaVA().token_counts() == {"sampled": 2880, "thumbnails": 576}
    assert list(TSLLaVA.released("Y2").token_counts()) == ["thumbnails", "sampled"]
    assert TSLLaVA.released("Z2").token_count() == 8 * 576, "the last 2 of 50 frames are dropped"
    prompted = TSLLaVA(choice="v5", open="v2")
    assert parse_spec(str(prompted)) == prompted and str(prompted).endswith("-thumbs1x6-v5-v2")


@pytest.mark.parametrize("name", ["V2", "W3a", "X1", "Z3"])
def test_a_video_is_watched_and_asked(llm, name):
    """Tokens by plain steps: Pillow, normalising, then a thumbnail of the normalised frames, as released."""
    method = TSLLaVA.released(name, 1000, num_frames=18)
    video = llm.watch(GRAND_PRIX, method)
    values = normalize(torch.from_numpy(resize_frames(video.frames.pixels, llm.image_size)))
    shown = [values[cells] for cells in method.thumbnail_frames(18)]
    small = [
        rearrange(thumbnail(rearrange(some, "n c h w -> n h w c"), (336, 336)), "h w c -> c h w") for some in shown
    ]
    thumbs = llm.backbone.encode(torch.stack(small)).flatten(0, 2)
    frames = llm.backbone.encode(values).flatten(0, 2)
    sampled = frames[spread(len(frames), method.sampled_tokens)]
    expected = {"V": [sampled, thumbs], "W": [thumbs, sampled], "X": [thumbs], "Z": [thumbs]}[name[0]]
    torch.testing.assert_close(video.tokens, torch.cat(expected), rtol=1e-4, atol=1e-4)
    assert len(video.tokens) == method.token_count(grid=llm.grid)
    assert isinstance(video.ask("What is there?", max_new_tokens=3), str)
    assert video.choose("Which?", ["a cat", "a dog", "a fox"]).letter in "ABC"
    generated = video.choose("Which?", ["a cat"] * 6, by="generation", max_new_tokens=3)
    assert generated.letter in {None, *"ABCDEF"}


def test_frames_larger_and_smaller_than_the_tower_give_the_same_as_decoded_small(llm):
    """What is shared by several methods keeps its size; a method that resizes itself sees the same."""
    large = llm.watch(GRAND_PRIX, "tsllava8-sampled100-thumbs1x6", resize="torch")
    small = llm.watch(GRAND_PRIX, "tsllava8-sampled100-thumbs1x6")
    assert large.frames.pixels.shape[1:3] != llm.image_size == small.frames.pixels.shape[1:3]
    torch.testing.assert_close(large.tokens, small.tokens, rtol=1e-5, atol=1e-5)


def test_owners_of_tokens():
    method = TSLLaVA(6, 12, cells=6)
    owners = method.token_frames(6, (3, 4)).tolist()
    assert owners[:12] == (spread(72, 12) // 12).tolist()
    assert owners[12:] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], "3 x 2 frames on 3 x 4 patches"
    assert set(method.token_frames(6, (4, 4)).tolist()[12:]) == {-1}, "4 rows do not keep 3 rows of frames apart"


def test_another_grid_takes_its_share_of_tokens():
    assert str(TSLLaVA().scaled((12, 12))) == "tsllava50-sampled720-thumbs1x6"
    assert str(TSLLaVA().scaled((27, 27))) == "tsllava50-sampled3645-thumbs1x6"
    assert TSLLaVA.released("X2").scaled((12, 12)) == TSLLaVA.released("X2")
    assert TSLLaVA().scaled((24, 24)) == TSLLaVA()


SIX = np.zeros((6, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TSLLaVA().sample(5), "5 frames for tsllava50-.*: its thumbnails show 6 frames"),
        (lambda: TSLLaVA(5), "5 frames for .*its thumbnails show 6 frames"),
        (lambda: TSLLaVA().arrange(SIX[:3], (336, 336)), "3 frames for"),
        (lambda: TSLLaVA(6, 576, cells=5).arrange(SIX, (336, 336)), "5 x 1 frames do not fill a picture of 336 x 336"),
        (lambda: TSLLaVA().token_count(6, (12, 12)), "6 frames of 12 x 12 patches have only 864 tokens"),
        (lambda: TSLLaVA().visual_tokens(torch.zeros(5, 24, 24, 8)), "4 frames of 24 x 24 patches have only 2304"),
        (lambda: TSLLaVA.released("X2").visual_tokens(torch.zeros(7, 24, 24, 8)), "7 views for"),
        (lambda: TSLLaVA(thumbnails=None), "thumbnails of all frames stand alone"),
        (lambda: TSLLaVA(thumbnails=0), "thumbnails=0: give a whole number"),
        (lambda: TSLLaVA(choice="v6"), "choice='v6': choose one of v4, v5"),
        (lambda: TSLLaVA.released("V2z"), "method 'V2z'"),
        (lambda: parse_spec("tsllava-U2a"), "method 'U2a'"),
        (lambda: parse_spec("tsllava50-thumbs1"), "is not understood"),
        (lambda: parse_spec("tsllava50-sampled2-thumbs1x6-sampled3"), "is not understood"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(SpecError, match=message):
        call()


def test_a_short_video_is_refused_by_name(llm, golden_frames):
    with pytest.raises(SpecError, match="its thumbnails show 6 frames"):
        llm.watch_frames(golden_frames[:4], "tsllava")


def test_floating_views_are_of_the_towers_size():
    with pytest.raises(ValueError, match="only uint8 is resized"):
        preprocess(np.zeros((1, 10, 10, 3), dtype=np.float32), (12, 12))


def test_defaults_ask_as_slowfast_does():
    ours, papers = TSLLaVA(), SlowFast()
    for style in ("vicuna", "chatml", "mistral"):
        assert ours.open_ended("why?", style) == papers.open_ended("why?", style)
        assert ours.multiple_choice("why?", ["a", "b"], style) == papers.multiple_choice("why?", ["a", "b"], style)
    with pytest.raises(PromptError, match="for 'vicuna' and 'chatml' only"):
        letter_prompt("why?", ["a", "b"], "mistral")
