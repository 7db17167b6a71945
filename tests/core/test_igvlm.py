"""IG-VLM against what its released code gives, and against transformers' own any-resolution reading."""

from itertools import product

import field
import numpy as np
import pytest
import torch
from conftest import GRAND_PRIX, TINY
from transformers import LlavaNextForConditionalGeneration
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.modeling_llava_next import unpad_image

from sfllava_core import IgVlm, PromptError, SpecError, VideoError, VideoLLM, parse_spec, token_budget
from sfllava_core.budget.arithmetic import MODEL_SHAPES
from sfllava_core.methods.base import Seen, decode_method
from sfllava_core.methods.igvlm import PINPOINTS, after_assistant, best_tiles, grid_picture, padded, released_total

STYLES = {"7b": "vicuna", "13b": "vicuna", "34b": "chatml"}


def of_size(size: str) -> IgVlm:
    return IgVlm(vicuna="13b" if size == "13b" else "7b")


def frames(inputs, outputs):
    method = IgVlm(inputs["frame_fixed_number"])
    if "error" in outputs:
        with pytest.raises(ValueError, match="needs at least"):
            method.sample(inputs["total_frames"])
        return
    chosen = method.sample(inputs["total_frames"])
    # Where a container says more than there is, the released code gets those that are there; here the total is true.
    assert [index for index in chosen if index < inputs["decoded_frames"]] == outputs["indices"]


def frames_of_a_file(inputs, outputs):
    """Both readings: the released total, mostly one too many, makes its frames; the true one makes ours."""
    coded, fps = inputs["coded_frames"], inputs["fps"]
    start, end = map(float, inputs["ts"].split("-")) if inputs["ts"] else (0.0, None)
    total = released_total(coded, fps, start, end)
    assert total == outputs["total_frames_used"]
    first = int(start * fps)
    there = coded if end is None else len(np.arange(0, end - start, 1 / fps))  # of the cut file
    assert [first + n for n in IgVlm().sample(total) if n < there] == outputs["source_frame_numbers"]
    if end is None and coded // 6 == total // 6:
        assert IgVlm().sample(coded) == outputs["source_frame_numbers"]


def grid(inputs, outputs):
    picture = grid_picture(inputs["frames"])
    np.testing.assert_array_equal(picture, outputs["image"])
    columns = picture.shape[1] // inputs["frames"].shape[2]
    rows = picture.shape[0] // inputs["frames"].shape[1]
    assert (columns, rows) == (outputs["columns"], outputs["rows"])


def grid_gpt4v(inputs, outputs):
    """The released path to GPT-4V swaps red and blue of the same picture; this kit does not offer it."""
    np.testing.assert_array_equal(grid_picture(inputs["frames"])[..., ::-1], outputs["image"])


def resolution(inputs, outputs):
    width, height = inputs["grid_image_w_h"]
    assert [[c * 336, r * 336] for c, r in PINPOINTS] == inputs["pinpoints_w_h"]
    assert list(IgVlm().picture_size(inputs["video_w_h"][::-1])) == [height, width]
    assert list(best_tiles((height, width), (336, 336))) == outputs["tiles_w_h"]
    assert [side * 336 for side in outputs["tiles_w_h"]] == outputs["best_resolution_w_h"]


def tokens(inputs, outputs):
    method, (width, height) = IgVlm(), inputs["video_w_h"]
    assert sum(method.token_counts_for((height, width)).values()) == outputs["num_tokens"]
    if "tile_features" not in inputs:
        return
    features, newline = (torch.from_numpy(inputs[name]).float() / 64 for name in ("tile_features", "image_newline"))
    seen = Seen(features.unflatten(1, (24, 24)), newline, (height, width), (336, 336))
    expected = torch.from_numpy(outputs["tokens"]).float() / 64
    torch.testing.assert_close(method.tokens_of(seen), expected, atol=0, rtol=0)


def pixels(inputs, outputs):
    views = IgVlm().arrange(inputs["frames"], (336, 336))
    assert len(views) == outputs["views"]
    np.testing.assert_array_equal(views.transpose(0, 3, 1, 2)[:, :, ::16, ::16], outputs["sampled_pixels"])
    np.testing.assert_allclose(views.mean(axis=(1, 2, 3)), outputs["view_means"], rtol=1e-12)


def prompt(inputs, outputs):
    method, style = of_size(inputs["llm_size"]), STYLES[inputs["llm_size"]]
    if inputs["task"].startswith("multiple_choice"):
        pieces = method.multiple_choice(inputs["question"], inputs["options"], style)
    else:
        pieces = method.open_ended(inputs["question"], style)
    assert "".join(pieces) == outputs["prompt"]
    if "STAR" not in inputs["task"]:  # its prompts stand in a disabled block, without model or frames
        assert method.num_frames == outputs["frames"]
        assert outputs["model"].split("/")[1] in method.published["checkpoint"].split(", ")


def parse(inputs, outputs):
    options = inputs["options"]
    place = IgVlm().read_choice(inputs["pred"], options)
    if "error" in outputs:  # the released code crashes
        assert place is None
        return
    assert ("None" if place is None else options[place]) == outputs["predicted_answer"]
    answer = options[int(inputs["answer_index"])] if "answer_index" in inputs else inputs["answer"]
    assert (place is not None and options[place] == answer) == outputs["is_correct"]


def extract(inputs, outputs):
    assert after_assistant(inputs["decoded_text"]) == outputs["answer"]


CHECKS = {
    "frame_indices": frames,
    "frame_indices_real_file": frames_of_a_file,
    "grid": grid,
    "grid_gpt4v": grid_gpt4v,
    "anyres_resolution": resolution,
    "anyres_tokens": tokens,
    "anyres_pixels": pixels,
    "prompt": prompt,
    "parse": parse,
    "extract": extract,
}


@field.each("igvlm", CHECKS)
def test_igvlm_equals_the_released_code(check, inputs, outputs):
    check(inputs, outputs)


# The frames' shapes of real videos, small and large, upright and wide.
SHAPES = [
    (480, 640),
    (640, 480),
    (720, 1280),
    (1280, 720),
    (281, 500),
    (36, 64),
    (48, 36),
    (33, 97),
    (240, 320),
    (9, 7),
]


@pytest.fixture(scope="module")
def llm() -> VideoLLM:
    return VideoLLM.from_pretrained(TINY, device="cpu")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_views_and_tokens_equal_transformers(llm, rng, shape):
    """Its Pillow processor makes the pictures, its model the tokens; it takes pinpoints as (height, width)."""
    taken = rng.integers(0, 256, (6, *shape, 3), dtype=np.uint8)
    pinpoints = [[336 * rows, 336 * columns] for columns, rows in PINPOINTS]
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, image_grid_pinpoints=pinpoints
    )
    inputs = processor(grid_picture(taken), return_tensors="pt")
    model = LlavaNextForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32).eval()
    model.config.image_grid_pinpoints = model.model.config.image_grid_pinpoints = pinpoints
    with torch.inference_mode():
        features = model.get_image_features(inputs["pixel_values"], inputs["image_sizes"]).pooler_output
    video = llm.watch_frames(taken, IgVlm())
    torch.testing.assert_close(video.tokens, features[0], atol=1e-5, rtol=1e-5)
    assert len(video.tokens) == sum(IgVlm().token_counts_for(shape).values())


def test_no_shape_makes_more_tokens_than_are_priced():
    """And one makes as many: the picture of 3 : 2 frames is a square."""
    method = IgVlm()
    sides = (1, 2, 9, 64, 100, 112, 168, 224, 240, 333, 336, 480, 720, 1080)
    most = max(sum(method.token_counts_for(shape).values()) for shape in product(sides, sides))
    assert most == method.token_count() == sum(method.token_counts_for((224, 336)).values()) == 576 + 48 * 49
    assert sum(method.token_counts_for((480, 640)).values()) == 2640  # as IG-VLM's rules say of its usual video
    budget = token_budget(method, MODEL_SHAPES["7b"])
    assert budget.pathway_tokens == {"whole": 576, "tiles": 2352}
    assert budget.vision_flops == MODEL_SHAPES["7b"].vision_flops(5)


def test_transformers_crops_otherwise_where_a_quotient_is_not_exact():
    """352 x 132 frames: 396 * (48 / 704) is 26.999..., of which the released code keeps 26 and transformers 27."""
    differ = []
    for height, width in product(range(100, 400, 4), range(100, 400, 4)):
        rows, columns = unpad_image(torch.empty(1, 48, 48), (3 * height, 2 * width)).shape[1:]
        above, left = padded((48, 48), (3 * height, 2 * width))
        differ += [(height, width)] if (rows, columns) != (48 - 2 * above, 48 - 2 * left) else []
    assert differ == [(132, 352)]


def test_a_video_is_watched_asked_and_read(llm):
    video = llm.watch(GRAND_PRIX, "igvlm")
    step = video.frames.total // 6
    assert video.frames.indices == [0, step, 2 * step, 3 * step, 4 * step, 5 * step]
    assert len(video.tokens) == sum(IgVlm().token_counts_for(video.frames.pixels.shape[1:3]).values())
    pieces = IgVlm().open_ended("What is there", "vicuna")
    assert video.ask("What is there", max_new_tokens=5) == video.generate([pieces], max_new_tokens=5)[0].text
    assert video.choose("Which?", ["a cat", "a dog"]).letter in "AB"
    chosen = video.choose("Which?", ["a cat", "a dog"], by="generation", max_new_tokens=4)
    assert chosen.text and chosen.letter in ("A", "B", None)


def test_the_token_limit_and_what_is_shared(llm):
    assert IgVlm.max_new_tokens == 512 and IgVlm.own_features
    asked = ["What is there?", "Who?"]
    shared = {IgVlm().open_ended(question, "chatml")[0] for question in asked}
    assert len(shared) == 1 and IgVlm().multiple_choice("Who?", ["a", "b"], "chatml")[0] not in shared


@pytest.mark.parametrize(
    "method",
    [IgVlm(), IgVlm(9), IgVlm(vicuna="13b"), IgVlm(4, ((2, 2), (1, 2)), "13b"), IgVlm(pinpoints=((1, 1),))],
    ids=str,
)
def test_texts_are_read_back(method):
    assert parse_spec(str(method)) == method == decode_method(method.to_json())
    assert hash(decode_method(method.to_json())) == hash(method)
    assert str(method) == "".join(c for c in str(method) if c.isalnum() or c in "_-")


def test_other_numbers_of_options_are_worded_after_the_published_ones():
    text = "".join(IgVlm(vicuna="13b").multiple_choice("who", ["x", "y", "z"], "vicuna"))
    assert text.endswith(
        "who?\n A:x. B:y. C:z. \n Select the correct answer from the options(A,B,C). \nASSISTANT: \nAnswer:"
    )
    assert " D:x. E: x. F:x. Select" in "".join(IgVlm().multiple_choice("who", ["x"] * 6, "chatml"))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda llm: IgVlm(0), SpecError, "num_frames=0: give a whole number of at least 1"),
        (lambda llm: parse_spec("igvlm100000"), SpecError, "num_frames=100000: give a whole number of at most 1024"),
        (lambda llm: parse_spec("igvlm6_tiles2x99"), SpecError, "tiles=99: give a whole number of at most 32"),
        (lambda llm: IgVlm(pinpoints=()), SpecError, "0 pairs .* give 1 to 32"),
        (lambda llm: IgVlm(pinpoints=((1, 2, 3),)), SpecError, "give pairs"),
        (lambda llm: parse_spec("igvlm6_70b"), SpecError, "vicuna='70b': choose one of 7b, 13b"),
        (lambda llm: IgVlm().sample(5), ValueError, "5 frames: igvlm6 needs at least 6"),
        (lambda llm: IgVlm().open_ended("why?", "mistral"), PromptError, "no prompt in style 'mistral'"),
        (lambda llm: IgVlm().open_ended("<image>?", "vicuna"), PromptError, "literal <image>"),
        (lambda llm: IgVlm().multiple_choice("why?", ["<image>"], "vicuna"), PromptError, "option A .* literal"),
        (lambda llm: IgVlm().multiple_choice("why?", [], "vicuna"), PromptError, "0 options"),
        (lambda llm: llm.watch_frames(np.zeros((5, 8, 8, 3), np.uint8), IgVlm()), SpecError, "5 frames for igvlm6"),
        (lambda llm: llm.watch_features(torch.zeros(5, 24, 24, 64), IgVlm()), SpecError, "watch frames"),
        (lambda llm: IgVlm().visual_tokens(torch.zeros(5, 24, 24, 2)), SpecError, "watch frames"),
        (
            lambda llm: IgVlm().tokens_of(Seen(torch.zeros(5, 24, 24, 2), None, (8, 8), (336, 336))),
            SpecError,
            "newline",
        ),
        (
            lambda llm: IgVlm().tokens_of(Seen(torch.zeros(5, 24, 24, 2), torch.zeros(2), (8, 8), (336, 336))),
            SpecError,
            "5 views for igvlm6: it needs 1 whole and 2 tiles",
        ),
    ],
)
def test_what_does_not_fit_is_refused(llm, make, kind, message):
    with pytest.raises(kind, match=message):
        make(llm)


def test_a_video_that_is_too_short_is_named(llm, tmp_path):
    from PIL import Image

    for number in range(5):
        Image.new("RGB", (16, 16)).save(tmp_path / f"{number}.png")
    with pytest.raises(VideoError, match="5 frames: igvlm6 needs at least 6"):
        llm.watch(tmp_path, IgVlm())
