"""From a model's words to the option it chose."""

import re

LETTERS = "abcde"
RULES = ("reference", "strict", "first_letter")
STRICT = re.compile(r"\s*\(?([A-Ea-e])(?:[).:,]|\s*$)")


def parse_choice(
    text: object, rule: str = "reference", letters: str = LETTERS, *, capitals_only: bool = False
) -> str | None:
    """The option letter "a" to "e" that an answer names, or None where the rule reads none.

    rule="reference" reads as the released evaluation does, faults included, so that numbers compare: a first character
    a-e of either case counts ("A man is ..." is option a), but where the text from "answer is" on (or else the whole
    text) holds "A:" or "A)" it is a, else "B:" or "B)" is b, and so on. Unlike there, an empty answer is None and no
    crash.

    rule="first_letter" takes that first character, whatever follows.

    rule="strict" takes a letter that stands alone at the start: "B", "(b)", "B) the dog", "C: jumping", "D.".

    Args:
        letters: those of the first two rules; "abcdef" is TS-LLaVA's and KTV's reading.
        capitals_only: a first character counts as a capital only, as IG-VLM reads.

    Raises:
        ValueError: an unknown rule.

    >>> parse_choice("A man is running"), parse_choice("A man is running", rule="strict")
    ('a', None)
    """
    if rule not in RULES:
        raise ValueError(f"rule={rule!r}: choose 'first_letter', 'reference' or 'strict'")
    if not isinstance(text, str) or not text:
        return None
    if rule == "strict":
        match = STRICT.match(text)
        return match[1].lower() if match else None
    tail = text[text.index("answer is") :] if "answer is " in text else text
    for letter in letters if rule == "reference" else "":
        if f"{letter.upper()}:" in tail or f"{letter.upper()})" in tail:
            return letter
    first = letters.upper() if capitals_only else letters + letters.upper()
    return text[0].lower() if text[0] in first else None
