"""Numbers that the peers' released codes gave: a folder a model, with cases by group and tiny checkpoints."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import field
import numpy as np
import pytest
import torch

from sfllava_core.answering.sharing import encode_prompt

META = "meta"  # says where the cases are from
OWN = Path(__file__).parent / "data" / "field"  # for tests that need one certain case, whatever others are to be run


def checkpoint(peer: str, name: str = "checkpoint") -> Path:
    """A tiny checkpoint's folder: beside the cases that are to be run, or the project's own copy."""
    found = field.FIELD / peer / name
    return found if found.is_dir() else OWN / peer / name


@cache
def content(peer: str, root: Path = field.FIELD) -> dict[str, object]:
    """All groups of a model, by name."""
    return json.loads((root / peer / "cases.json").read_text())


@cache
def arrays(peer: str, root: Path) -> dict[str, np.ndarray]:
    with np.load(root / peer / "arrays.npz") as stored:
        return dict(stored)


def array(peer: str, name: str, root: Path = field.FIELD) -> np.ndarray:
    """A stored array; small types stay as they are stored."""
    return arrays(peer, root)[name]


def each(peer: str, checks: dict[str, Callable]):
    """Parametrise a test by the cases of a model; a group that no check is for fails it loudly.

    A group that is a list of objects is a case for each of them, any other group is one case.

    Use: @peer_cases.each("pllava", CHECKS)
         def test_pllava(check, case): check(case)
    """

    def unknown(case) -> None:
        pytest.fail("no check is written for this group")

    found = []
    for group, stored in content(peer).items():
        if group == META:
            continue
        cases = stored if isinstance(stored, list) and all(isinstance(one, dict) for one in stored) else [stored]
        for number, case in enumerate(cases):
            name = case.get("name", number) if isinstance(case, dict) else number
            found.append(pytest.param(checks.get(group, unknown), case, id=f"{group}-{name}"))
    return pytest.mark.parametrize(("check", "case"), found)


def rows(stored: torch.Tensor, how: str) -> torch.Tensor:
    """The part of an array that was kept: "all", "[::4]", "[::8, :64]"."""
    if how == "all":
        return stored
    parts = [slice(*(int(n) if n else None for n in one.strip().split(":"))) for one in how.strip("[]").split(",")]
    return stored[tuple(parts)]


def close(ours: torch.Tensor, stored: np.ndarray, within: float = 1e-4) -> None:
    """Equal within a tolerance."""
    torch.testing.assert_close(ours, torch.from_numpy(stored), rtol=0, atol=within)


def check_answer(llm, video, prompt: str, ids: list[int], place: int, case: dict, peer: str) -> None:
    """A case's prompt ids, logits of all places, and all tokens, over the shared prefix and the plain way.

    ids: of the prompt, with one for the video at `place`.
    """
    encoded = encode_prompt(prompt, llm.tokenizer)
    assert (list(encoded.before), list(encoded.after)) == (ids[:place], ids[place + 1 :])
    with torch.inference_mode():
        embeddings = video.sharing.embeddings(encoded.before, encoded.after)[None]
        logits = llm.backbone.head(llm.language_model(inputs_embeds=embeddings).last_hidden_state)[0]
    assert len(logits) == case["sequence_length"]
    close(rows(logits, case["logits_rows"]), array(peer, f"{case['name']}_logits_rows"))
    assert logits[-1].topk(5).indices.tolist() == case["top5_ids"]
    for share in (True, False):
        first = video.next_token_logits([prompt], share_prefix=share)[0]
        close(first, array(peer, f"{case['name']}_last_logits"))
        said = video.generate([prompt], max_new_tokens=len(case["generated_ids"]), share_prefix=share)[0]
        assert said.token_ids == case["generated_ids"]
        assert said.prompt_tokens == case["sequence_length"]


def told_by_transformers(model, ids: list[int], place: int, tokens: int, new_tokens: int, **inputs) -> list[int]:
    """New ids of transformers' own greedy `generate`: the proof of everything that is shared and built here.

    ids: of the prompt, with one for the video at `place`, which is repeated for each of its `tokens`.
    """
    whole = torch.tensor([[*ids[:place], *[ids[place]] * tokens, *ids[place + 1 :]]])
    settings = {"do_sample": False, "max_new_tokens": new_tokens, "eos_token_id": 2, "pad_token_id": 0}
    with torch.inference_mode():
        said = model.generate(input_ids=whole, attention_mask=torch.ones_like(whole), **settings, **inputs)
    return said[0, whole.shape[1] :].tolist()


def picture(height: int, width: int, t: int) -> np.ndarray:
    """The picture of the cases' formula, uint8 (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    drawn = [7 * x + 13 * y + 31 * colour + 5 * t for colour in range(3)]
    drawn[1] = np.clip(128 + 100 * np.sin(x / 9 + t) * np.cos(y / 11), 0, 255).astype(int)
    return (np.stack(drawn, axis=-1) % 256).astype(np.uint8)


def lora_frames() -> np.ndarray:
    """The 16 frames of PLLaVA's runs."""
    return np.stack([picture(96, 128, t) for t in range(16)])
