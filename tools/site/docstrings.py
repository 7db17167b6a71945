"""The house's docstrings as Sphinx reads them: plain text becomes reStructuredText, nothing else changes.

In a docstring, lines such as `name: what it is` are a list, and what stands indented beside no such line is a drawing
or code. Napoleon reads the sections (Args, Returns, Raises) afterwards.
"""

import re

NAME = r"\*{0,2}\w+"
ENTRY = re.compile(rf'{NAME}(, {NAME})*( "[\w-]+"( or "[\w-]+")*)?: (?=\S)')
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Note|Example|Examples):")
MARKUP = re.compile(r"`[^`]*`|(?<=\w)_(?!\w)|[*|\\]")


def as_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring, their common indentation taken off, as reStructuredText."""
    made, sections = [], False
    for block in blocks(lines):
        sections = sections or bool(SECTION.fullmatch(block[0].strip()))
        if block[0].lstrip().startswith(">>>"):
            made += block
        elif sections:
            made += map(escaped, block)
        elif block[0].startswith(" "):  # a drawing
            made += ["::", "", *(f"  {line}" for line in block)]
        else:
            made += listed(block)
        made.append("")
    return made


def blocks(lines: list[str]) -> list[list[str]]:
    """What stands between empty lines; a section begins a block too."""
    found, before = [], ""
    for line in lines:
        if line.strip() and (not before.strip() or SECTION.fullmatch(line.strip())):
            found.append([line])
        elif line.strip():
            found[-1].append(line)
        before = line
    return found


def listed(block: list[str]) -> list[str]:
    """A paragraph; if its lines are entries, with their further lines indented, a list of them."""
    firsts = [line for line in block if not line.startswith(" ")]
    if len(firsts) < len(block) and not all(ENTRY.match(line) for line in firsts):  # an introduction, then entries
        split = next(place for place, line in enumerate(block) if line.startswith(" "))
        depth = len(block[split]) - len(block[split].lstrip())
        return [*map(escaped, block[:split]), "", *listed([line[depth:] for line in block[split:]])]
    if not all(ENTRY.match(line) for line in firsts):
        return [escaped(line) for line in block]
    made = []
    for line in block:
        if line.startswith(" "):
            made.append(f"  {escaped(line.strip())}")
        else:
            name, text = line.split(": ", maxsplit=1)
            made.append(f"- **{escaped(name)}**: {escaped(text)}")
    return made


def escaped(line: str) -> str:
    """Characters that are markup there stand for themselves; what is between backticks is code as it is."""
    return MARKUP.sub(lambda found: found[0] if found[0].startswith("`") else f"\\{found[0]}", line)


def setup(app) -> dict:
    def read(app, what, name, thing, options, lines) -> None:
        lines[:] = as_rst(lines)

    app.connect("autodoc-process-docstring", read, priority=400)  # before Napoleon
    return {"parallel_read_safe": True}
