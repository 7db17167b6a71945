"""Pieces as the released code's: of whatever tokenizer.json, of a tokenizer.model alone; and what differs is named."""

import json
import logging
import re
import shutil

import pytest
from conftest import GOLDENS, TINY
from sentencepiece import SentencePieceProcessor
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from sfllava_core import ModelError, VideoLLM, multiple_choice_prompt, open_ended_prompt
from sfllava_core.checkpoints import load_tokenizer, stop_ids
from sfllava_core.prompts import IMAGE_TOKEN, tokenize_prompt
from sfllava_core.tokenizing import IM_END, IM_START, SPACE, differences

CASES = json.loads((GOLDENS / "prompt_token_ids.json").read_text())["cases"]
PREPEND = {  # as transformers 4 wrote the tokenizers of SentencePiece, and the hub has them still
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": SPACE},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
    ],
}
CHAT = "<|im_start|>system\n Answer. <|im_end|>\n<|im_start|>user\n <image>\nWhat? <|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture()
def folder(tmp_path):
    return shutil.copytree(TINY, tmp_path / "tiny")


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def as_the_hubs(folder, chatml: bool, bos: bool = True):
    """tokenizer.json in transformers 4's format; with ChatML's marks, as 34B has them."""

    def change(content):
        content.update(normalizer=PREPEND, pre_tokenizer=None)
        first, next_id = content["added_tokens"][0], max(token["id"] for token in content["added_tokens"]) + 1
        marks = [IM_START, IM_END] if chatml else []
        content["added_tokens"] += [{**first, "id": next_id + n, "content": mark} for n, mark in enumerate(marks)]
        if not bos:
            content["post_processor"] = None

    edit(folder / "tokenizer.json", change)
    return folder


def slow_ids(tokenizer, prompt: str) -> list[int]:
    """As Yi's slow tokenizer: SentencePiece without a space mark in front, on each text between special tokens."""
    model = ModelProto.FromString((TINY / "tokenizer.model").read_bytes())
    model.normalizer_spec.add_dummy_prefix = False
    pieces = SentencePieceProcessor(model_proto=model.SerializeToString())
    vocabulary = tokenizer.get_vocab()
    special = {IM_START: vocabulary[IM_START], IM_END: vocabulary[IM_END], "<image>": IMAGE_TOKEN}
    texts = re.split(f"({'|'.join(map(re.escape, special))})", prompt)
    return [one for text in texts for one in ([special[text]] if text in special else pieces.encode(text))]


@pytest.mark.parametrize(
    "prompt",
    [
        CHAT,
        open_ended_prompt("What is  it, <a> é \N{GRINNING FACE}?", "chatml"),
        multiple_choice_prompt("Which\none?", ["a cat", " two"], "chatml"),
    ],
)
def test_chatmls_pieces_are_those_of_slow_sentencepiece(folder, prompt):
    tokenizer = load_tokenizer(as_the_hubs(folder, chatml=True, bos=False))
    assert tokenize_prompt(prompt, tokenizer) == slow_ids(tokenizer, prompt)


def test_behind_a_chatml_turn_the_line_break_is_one_piece(folder):
    """34B: [7, 144], and not [7, 59568, 144]."""
    tokenizer = load_tokenizer(as_the_hubs(folder, chatml=True, bos=False))
    assert tokenizer(f"{IM_END}\n").tokens() == [IM_END, "<0x0A>"]
    assert differences(tokenizer, "chatml") == []


@pytest.mark.parametrize("source", ["as it is", "the hub's", "a tokenizer.model alone"])
def test_vicunas_pieces_are_the_released_codes(folder, source):
    if source == "the hub's":
        as_the_hubs(folder, chatml=False)
    elif source == "a tokenizer.model alone":
        (folder / "tokenizer.json").unlink()
    tokenizer = load_tokenizer(folder)
    assert [tokenize_prompt(case["prompt"], tokenizer) for case in CASES] == [case["input_ids"] for case in CASES]
    assert differences(tokenizer, "vicuna") == []


def test_a_tokenizer_model_alone_begins_as_its_settings_say(folder):
    (folder / "tokenizer.json").unlink()
    edit(folder / "tokenizer_config.json", lambda content: content.update(add_bos_token=False))
    tokenizer = load_tokenizer(folder)
    assert tokenizer("USER").input_ids[0] != tokenizer.bos_token_id
    (found,) = differences(tokenizer, "vicuna")
    assert found.startswith("a prompt has 0 beginning-of-sequence tokens")


def no_prefix(content):
    content["pre_tokenizer"]["prepend_scheme"] = "never"


def no_bos(content):
    content["post_processor"] = None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_prefix, r"the video is followed by \['<0x0A>', 'T'\]; the released code has"),
        (no_bos, "a prompt has 0 beginning-of-sequence tokens; the released code's has 1"),
    ],
)
def test_loading_warns_of_pieces_that_differ(folder, caplog, change, message):
    edit(folder / "tokenizer.json", change)
    with caplog.at_level(logging.WARNING):
        VideoLLM.from_pretrained(folder, device="cpu")
    assert caplog.text.count("its tokenizer is not as the released code's") == 1
    (found,) = differences(load_tokenizer(folder), "vicuna")
    assert found in caplog.text and re.match(message, found)


def test_loading_says_nothing_of_a_tokenizer_that_is_right(caplog):
    with caplog.at_level(logging.WARNING):
        VideoLLM.from_pretrained(TINY, device="cpu")
    assert "tokenizer" not in caplog.text


def test_chatml_without_its_marks_and_with_a_first_token_is_named():
    first, second = differences(load_tokenizer(TINY), "chatml")
    assert first == "a prompt has 1 beginning-of-sequence tokens; the released code's has none"
    assert second.startswith("<|im_end|> and a line break are [")


def test_a_chatml_answer_stops_at_the_end_of_its_turn_too(folder, llm):
    """Whatever the generation settings name: here `</s>` alone, as 34B's may name `<|endoftext|>`."""
    tokenizer = load_tokenizer(as_the_hubs(folder, chatml=True))
    end = tokenizer.convert_tokens_to_ids(IM_END)
    assert stop_ids(llm.model, tokenizer, "chatml") == {2, end}
    assert stop_ids(llm.model, tokenizer, "vicuna") == {2}


def test_neither_file_is_named_too(folder):
    for file in folder.glob("tokenizer.*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"it has no tokenizer\.json"):
        load_tokenizer(folder)
