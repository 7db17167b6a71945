"""A tokenizer in the hub's form with the published ids, of the tiny checkpoint's pieces: not the real vocabulary."""

import json
from pathlib import Path

from sfllava_core.defaults import TINY, required
from sfllava_core.tokenizing import IM_END, IM_START, SPACE

BYTES = 256
# As transformers 4 wrote SentencePiece's tokenizers, and the hub has them still.
NORMALIZER = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": SPACE},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
    ],
}
# Ids of the special pieces, the first byte's and the first word's, and how many pieces there are before what was added.
LAYOUTS: dict[str, tuple[dict[str, int], int, int, int]] = {
    "7b": ({"<unk>": 0, "<s>": 1, "</s>": 2, "<image>": 32000, "<pad>": 32001}, 3, 259, 32000),
    "34b": (
        {
            "<unk>": 0, "<s>": 1, "</s>": 2, IM_START: 6, IM_END: 7,
            "<|startoftext|>": 64000, "<|endoftext|>": 64001, "<image>": 64002, "<pad>": 64003,
        },
        134, 390, 64000,
    ),
}  # fmt: skip


def write_tokenizer(size: str, folder: Path) -> None:
    """tokenizer.json of a "7b" (Vicuna) or "34b" (Yi with ChatML's marks), into the folder.

    Bytes and special pieces have the published ids (34B's line break is 144); the tiny checkpoint's words come behind
    them, and pieces that no text gives fill it up to the published length.
    """
    special, first_byte, first_word, length = LAYOUTS[size]
    content = json.loads(required(TINY / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = sorted(content["model"]["vocab"], key=content["model"]["vocab"].__getitem__)
    bytes_and_words = pieces[3:]
    places = [*range(first_byte, first_byte + BYTES), *range(first_word, first_word + len(bytes_and_words) - BYTES)]
    vocabulary = {piece: place for piece, place in special.items() if place < length}
    vocabulary |= dict(zip(bytes_and_words, places))
    taken = set(vocabulary.values())
    vocabulary |= {f"<unused_{place}>": place for place in range(length) if place not in taken}
    content["model"]["vocab"] = dict(sorted(vocabulary.items(), key=lambda one: one[1]))
    one = content["added_tokens"][0]
    content["added_tokens"] = [{**one, "id": place, "content": piece} for piece, place in special.items()]
    content.update(normalizer=NORMALIZER, pre_tokenizer=None)
    if size == "34b":
        content["post_processor"] = None  # no text begins with a token of its own
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
