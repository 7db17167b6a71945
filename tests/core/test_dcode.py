"""D-CoDe on a model: frames by the tower's own CLS or by what is handed in, tokens of chosen frames, its text form."""

from dataclasses import replace

import pytest
import torch
from conftest import GRAND_PRIX
from einops import rearrange

from sfllava_core import ModelError, PromptError, SpecError, parse_spec
from sfllava_core.features import preprocess
from sfllava_core.methods.base import Seen, decode_method
from sfllava_core.methods.dcode import MERGES, RELEASED, DCoDe, choose_frames, merge_tokens

SMALL = DCoDe(num_frames=6, kept=4, uniform=0.6, top_k=40, threshold=0.95)


def at_angles(*degrees: float) -> torch.Tensor:
    """Two-dimensional tokens in these directions, each a little shorter than the one before."""
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1) * torch.linspace(2, 1, len(degrees))[:, None]


def test_a_chain_loses_tokens_as_released_and_none_without_it():
    tokens = at_angles(0, 30, 60)
    _, chained = merge_tokens(tokens, 3, 0.8)
    merged, places = merge_tokens(tokens, 3, 0.8, chained=False)
    assert chained.tolist() == [0] and places.tolist() == [0, 2]
    torch.testing.assert_close(merged, torch.stack([tokens[:2].mean(dim=0), tokens[2]]))


@pytest.mark.parametrize("merge", MERGES)
def test_without_chains_each_token_is_near_one_that_is_kept(merge):
    """Every chosen token stands for itself or is like the original of a kept one, which the released merge breaks."""
    tokens = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))

    def alone(chained: bool) -> int:
        kept = tokens[merge_tokens(tokens, 150, 0.9, merge, chained)[1]]
        largest = tokens[tokens.norm(dim=-1).topk(150).indices]
        return int((torch.cosine_similarity(largest[:, None], kept[None], dim=-1).amax(dim=1) < 0.9).sum())

    assert alone(chained=False) == 0 < alone(chained=True)


def test_weights_are_the_norms_before_merging():
    tokens = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    assert merge_tokens(tokens, 3, 0.8, "weighted_mean")[0].tolist() == [[2.5, 0.0], [0.0, 2.0]]
    assert merge_tokens(tokens, 3, 0.8, "max")[0].tolist() == [[3.0, 0.0], [0.0, 2.0]]


def test_half_precision_is_merged_in_single_and_given_back():
    merged, _ = merge_tokens(torch.randn(9, 4).half(), 5, 0.8)
    assert merged.dtype == torch.float16


def test_embeddings_are_transformers_pooled_output(llm, golden_frames):
    seen = llm.look(golden_frames[:3], DCoDe())
    pixel_values = preprocess(golden_frames[:3], llm.image_size)
    with torch.inference_mode():
        expected = llm.model.model.vision_tower(pixel_values).pooler_output
    torch.testing.assert_close(seen.more["embeddings"], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.features, llm.encode(golden_frames[:3]), rtol=0, atol=0)


def test_a_video_through_it(llm):
    video = llm.watch(GRAND_PRIX, SMALL)
    seen = llm.look(video.frames.pixels, SMALL)
    frames = choose_frames(seen.more["embeddings"], 4, 0.6)
    expected = [merge_tokens(rearrange(seen.features[frame], "h w d -> (h w) d"), 40, 0.95)[0] for frame in frames]
    torch.testing.assert_close(video.tokens, torch.cat(expected), rtol=0, atol=0)
    assert 4 <= len(video.tokens) <= SMALL.token_count(grid=llm.grid) == 160
    said, prompt = video.ask("What is there?", max_new_tokens=40), SMALL.open_ended("What is there?", "vicuna")
    (own,) = video.generate([prompt], max_new_tokens=40, no_repeat_ngram_size=5)
    assert said == own.text and SMALL.no_repeat_ngram_size == 5
    asked = "".join(SMALL.multiple_choice("Which?", ["a cat", "a dog"], "vicuna"))
    assert "from a video.  \nQuestion: Which?\nOptions:\n(A) a cat\n" in asked
    choice = video.choose("Which?", ["a cat", "a dog"], by="generation", max_new_tokens=3)
    assert choice.text == video.generate([asked], max_new_tokens=3)[0].text
    # all of the chosen frames' tokens where none is like another
    apart = replace(SMALL, threshold=1.5)
    assert len(llm.watch_frames(video.frames, apart).tokens) == apart.token_count(grid=llm.grid)


def test_embeddings_can_be_handed_in(llm):
    features = torch.arange(4.0)[:, None, None, None].expand(4, *llm.grid, llm.dim) + 1
    method = DCoDe(4, 2, 0.5, top_k=1)
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [1.0, 0.2]])  # the third is least like the first
    tokens = llm.watch_features(features, method, more={"embeddings": apart}).tokens
    assert tokens[:, 0].tolist() == [1, 3]
    assert torch.equal(method.tokens_of(Seen(features, more={"embeddings": apart})), tokens)
    for more in (None, {"embeddings": apart[:3]}):
        with pytest.raises(SpecError, match=r"needs an embedding for each of 4 frames.*more="):
            llm.watch_features(features, method, more=more)


@pytest.mark.parametrize(
    "method",
    [DCoDe(), SMALL, DCoDe(threshold=-1e-05, merge="weighted_mean", chained=False), *map(DCoDe.released, RELEASED)],
)
def test_its_texts_are_read_back(method):
    assert parse_spec(str(method)) == method == decode_method(method.to_json())


def test_released_settings_have_names():
    found = {name: parse_spec(f"dcode_{name}").token_count() for name in RELEASED}
    assert found == {"egoschema": 4320, "nextqa": 6480, "intentqa": 5760, "open": 7200}  # rules, section 3
    assert DCoDe().scaled((12, 12)).top_k == 72
    assert DCoDe().token_frames(50, (24, 24)).tolist() == [-1] * 4320


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DCoDe(kept=0), "DCoDe kept=0"),
        (lambda: DCoDe(top_k=0), "DCoDe top_k=0"),
        (lambda: DCoDe(uniform=1.2), "uniform=1.2: give a share from 0 to 1"),
        (lambda: DCoDe(kept=2, uniform=0.4), "uniform=0.4 of 2 frames is none"),
        (lambda: DCoDe(threshold=float("nan")), "threshold=nan: give a cosine"),
        (lambda: DCoDe(merge="median"), "merge='median': choose one of mean, max, weighted_mean"),
        (lambda: DCoDe.released("msvd"), "'msvd': choose one of egoschema"),
        (lambda: parse_spec("dcode_50to15_uhalf_k288_t0.8_mean"), "'half' and '0.8' are to be numbers"),
        (lambda: parse_spec("dcode_msvd"), "is not understood"),
        (lambda: DCoDe().visual_tokens(torch.zeros(2, 3, 3, 4)), "needs an embedding for each of 2 frames"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(SpecError, match=message):
        make()


def test_no_choice_prompt_was_released_for_another_style():
    with pytest.raises(PromptError, match=r"'chatml'.*'vicuna'"):
        DCoDe().multiple_choice("Which?", ["a", "b"], "chatml")


def test_a_family_that_has_no_such_thing_says_so(llm, golden_frames, monkeypatch):
    monkeypatch.setattr(DCoDe, "wants", ("embeddings", "dreams"))
    with pytest.raises(ModelError, match="wants dreams: this family gives patches, cls_scores, embeddings"):
        llm.watch_frames(golden_frames[:6], SMALL)
