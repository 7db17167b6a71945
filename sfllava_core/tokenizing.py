"""A tokenizer's pieces as in the released code, whatever a checkpoint's files and the library's version make of them.

The released code takes SentencePiece itself. In its place transformers takes a tokenizer.json, or makes one, and then
the pieces differ where a text begins and behind special tokens: Vicuna's SentencePiece puts a space mark in front of
each text, so that one stands by itself between the video and the line break behind it; Yi's (34B, ChatML) never does.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tokenizers import pre_tokenizers, processors

from sfllava_core.prompts import IMAGE_TOKEN, open_ended_prompt, tokenize_prompt

SPACE, LINE_BREAK = "\N{LOWER ONE EIGHTH BLOCK}", "<0x0A>"  # as SentencePiece writes them
IM_START, IM_END = "<|im_start|>", "<|im_end|>"  # around a turn of ChatML


def mended(tokenizer):
    """The tokenizer; one of SentencePiece's with ChatML's marks loses the space mark that transformers 4's format adds.

    So `<|im_end|>` and a line break are two pieces, not three.
    """
    words = tokenizer.get_vocab()
    if {SPACE, LINE_BREAK, IM_START, IM_END} <= words.keys():
        mark_spaces(tokenizer, "never")
    return tokenizer


def from_sentencepiece(tokenizer, model: Path, begins: bool):
    """A tokenizer that transformers made of a tokenizer.model, with what it leaves out.

    Args:
        begins: whether a text begins with the beginning-of-sequence token.
    """
    pieces = import_module("sentencepiece").SentencePieceProcessor(model_file=str(model))
    marked = pieces.encode("\n", out_type=str)[0] == SPACE
    mark_spaces(tokenizer, "first" if marked else "never")
    if begins:
        first = tokenizer.bos_token
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, tokenizer.bos_token_id)]
        )
    return tokenizer


def missing_packages() -> list[str]:
    """What has to be installed to read a tokenizer.model."""
    return [
        package
        for package, name in (("sentencepiece", "sentencepiece"), ("protobuf", "google.protobuf"))
        if absent(name)
    ]


def absent(name: str) -> bool:
    try:
        return find_spec(name) is None
    except ModuleNotFoundError:  # of its parent
        return True


def mark_spaces(tokenizer, where: str) -> None:
    """Spaces become space marks; another one goes in front of a text ("first") or does not ("never")."""
    backend = tokenizer.backend_tokenizer
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=where, split=False)


def differences(tokenizer, style: str) -> list[str]:
    """In what a prompt's pieces differ from the released code's, a sentence each; empty where they do not.

    Vicuna: one beginning-of-sequence token, and a lone space mark behind the video. ChatML: no such token, `<|im_end|>`
    one piece, the line break behind it another one. A tokenizer that marks no spaces is none of SentencePiece's: of it
    only the rest is asked.
    """
    ids = tokenize_prompt(open_ended_prompt("What is it?", style), tokenizer)
    words, bos = tokenizer.get_vocab(), tokenizer.bos_token_id
    begun, wanted = ids.count(bos) if bos is not None else 0, int(style != "chatml")
    found = []
    if begun != wanted or (wanted and ids[0] != bos):
        found.append(f"a prompt has {begun} beginning-of-sequence tokens; the released code's has {wanted or 'none'}")
    behind = tokenizer.convert_ids_to_tokens(ids[ids.index(IMAGE_TOKEN) + 1 :][:2])
    if style == "vicuna" and SPACE in words and behind != [SPACE, LINE_BREAK]:
        found.append(f"the video is followed by {behind}; the released code has {[SPACE, LINE_BREAK]} there")
    if style == "chatml":
        end = tokenizer.convert_ids_to_tokens(tokenizer(f"{IM_END}\n", add_special_tokens=False).input_ids)
        if len(end) != 2 or end[0] != IM_END:
            found.append(f"{IM_END} and a line break are {end}; the released code has {[IM_END, LINE_BREAK]} there")
    return found
