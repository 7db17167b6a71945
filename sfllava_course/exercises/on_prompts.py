"""Exercises of chapter 5: from a prompt to a sequence, and what two questions share."""

from collections.abc import Callable
from functools import cache

import torch

from sfllava_core.defaults import TINY
from sfllava_core.prompts import IMAGE, IMAGE_TOKEN, multiple_choice_prompt, open_ended_prompt, tokenize_prompt
from sfllava_course.exercises.judging import Wrong, expect_number, expect_tensor, random_features


@cache
def tokenizer():
    """The real SentencePiece tokenizer of the tiny checkpoint."""
    from sfllava_core.checkpoints import load_tokenizer

    return load_tokenizer(TINY)


def check_tokenize(answer: Callable) -> str:
    """tokenize(prompt, tokenizer): ids of each piece around `<image>`, one BOS, -200 for the video."""
    tools = tokenizer()
    for prompt in (open_ended_prompt("What is on the road?"), multiple_choice_prompt("Who wins?", ["red", "blue"])):
        wanted = tokenize_prompt(prompt, tools)
        got = answer(prompt, tools)
        if not isinstance(got, list):
            raise Wrong(f"give a list of token ids back, not {type(got).__name__}")
        if got == wanted:
            continue
        for hint, mistake in tokenize_mistakes(prompt, tools).items():
            if got == mistake:
                raise Wrong(hint)
        place = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        around = slice(max(place - 2, 0), place + 3)
        raise Wrong(f"the ids differ from place {place} on: yours {got[around]}, wanted {wanted[around]}")
    return "Piece by piece, as the model's makers did it."


def tokenize_mistakes(prompt: str, tools) -> dict[str, list[int]]:
    """What the usual misunderstandings give."""
    before, after = (tools(piece).input_ids for piece in prompt.split(IMAGE))
    stripped = [tools(piece.strip()).input_ids for piece in prompt.split(IMAGE)]
    bare = tools(prompt.split(IMAGE)[1], add_special_tokens=False).input_ids
    return {
        "a second beginning-of-sequence token (id 1) stands behind the video: keep only the first": [
            *before, IMAGE_TOKEN, *after],
        "the place of the video is missing: put IMAGE_TOKEN (-200) between the pieces": [*before, *bare],
        "the prompt was tokenised as one text: cut it at `<image>` first": tools(prompt).input_ids,
        "spaces at the edges matter: do not strip the pieces": [*stripped[0], IMAGE_TOKEN, *stripped[1][1:]],
        "the beginning-of-sequence token in front is lost": [*before[1:], IMAGE_TOKEN, *bare],
    }  # fmt: skip


def check_assemble(answer: Callable) -> str:
    """assemble(ids, embed, visual): embeddings of the text, with all visual tokens where IMAGE_TOKEN stands."""
    table, visual = random_features(300, 4), random_features(5, 4, seed=1)

    def embed(ids: list[int]) -> torch.Tensor:
        """Rows of a table; as with any tensor, a negative number counts from its end."""
        return table[torch.tensor(ids, dtype=torch.long)]

    for ids in ([1, 20, 30, IMAGE_TOKEN, 40, 50], [1, IMAGE_TOKEN, 7, 8, 9]):
        place = ids.index(IMAGE_TOKEN)
        before, after = embed(ids[:place]), embed(ids[place + 1 :])
        mistakes = {
            "a row of no word is in it: -200 is no id, and the table gave its 200th row from the end": torch.cat(
                [before, visual, embed(ids[place:])]
            ),
            "the placeholder's row is still there, in front: it makes room": torch.cat(
                [embed(ids[: place + 1]), visual, after]
            ),
            "the visual tokens go where the placeholder is, not to the front": torch.cat([visual, before, after]),
            "the visual tokens go where the placeholder is, not to the end": torch.cat([before, after, visual]),
            "the text behind the video is lost: the question is there!": torch.cat([before, visual]),
            "the text before the video is lost": torch.cat([visual, after]),
        }
        wanted = torch.cat([before, visual, after])
        expect_tensor(answer(list(ids), embed, visual), wanted, wanted, mistakes, "rows differ: see the grids")
    return "One placeholder out, all visual tokens in."


def check_shared_length(answer: Callable) -> str:
    """shared_length(prompts): how many ids all prompts begin with."""
    cases = (
        [[1, 5, 7, 7, 2, 2], [1, 5, 7, 9, 2, 2], [1, 5, 8, 7, 2, 2]],
        [[4, 4, 4], [4, 4, 4, 4], [4, 4, 4, 5]],
        [[3, 2, 1], [2, 2, 1]],
        [[6, 1, 2]],
    )
    for prompts in cases:
        columns = [len(set(column)) == 1 for column in zip(*prompts)]
        wanted = columns.index(False) if False in columns else len(columns)
        pair = [a == b for a, b in zip(prompts[0], prompts[-1])]
        two = [a == b for a, b in zip(prompts[0], prompts[min(1, len(prompts) - 1)])]
        mistakes = {
            "this counts equal places anywhere: stop at the first difference": sum(columns),
            "this is the shortest prompt's length: compare the ids": len(columns),
            "all prompts count, not only the first two": two.index(False) if False in two else len(two),
            "all prompts count, not only the first and the last": pair.index(False) if False in pair else len(pair),
            "this counts ids that occur in all prompts: their places matter": len(set.intersection(*map(set, prompts))),
        }
        expect_number(answer(prompts), wanted, f"{prompts}", mistakes)
    return "Everything up to there is computed once for all questions."
