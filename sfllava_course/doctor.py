"""`sfllava doctor`: versions, device, decoders; what is missing, and how to get it; a checkpoint's tokenizer."""

import platform
import shutil
from importlib import metadata
from importlib.util import find_spec

from sfllava_core.defaults import CLONE, DEFAULT_MODEL, DEFAULT_VIDEO

REQUIRED = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pillow", "einops", "jaxtyping")
DECODERS = {"decord": "decord", "av": "av"}
NOTEBOOKS = ("jupyterlab", "ipykernel", "ipywidgets", "matplotlib", "papermill", "nbconvert")
OPTIONAL = {
    "bitsandbytes": "4-bit and 8-bit weights",
    "accelerate": "models spread over several GPUs, or loaded straight to one",
    "sentencepiece": "checkpoints without a tokenizer.json",
}


def version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def device_lines() -> list[str]:
    """What torch can compute on."""
    if find_spec("torch") is None:
        return []
    import torch

    if torch.cuda.is_available():
        cards = range(torch.cuda.device_count())
        return [describe_gpu(torch.cuda.get_device_properties(card)) for card in cards]
    if torch.backends.mps.is_available():
        return ["  ok       Apple GPU (mps)"]
    return [f"  ok       CPU only, {torch.get_num_threads()} threads: fine for the small models, not for 7B and 34B"]


def describe_gpu(card) -> str:
    return f"  ok       {card.name}, {card.total_memory / 2**30:.0f} GiB"


def report() -> tuple[list[str], bool]:
    """The report's lines, and whether all that is needed is there."""
    lines, healthy = [f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"], True

    def check(title: str, packages: tuple[str, ...], needed: bool) -> list[bool]:
        nonlocal healthy
        lines.append(title)
        found = [version(package) for package in packages]
        for package, number in zip(packages, found):
            state = f"  ok       {package} {number}" if number else f"  MISSING  {package}: pip install {package}"
            lines.append(state)
        healthy &= not needed or all(found)
        return [number is not None for number in found]

    check("core", REQUIRED, needed=True)
    if not any(check("decoders (one is enough; decord is the reference's)", tuple(DECODERS), needed=False)):
        healthy = False
    check("notebooks", NOTEBOOKS, needed=False)
    lines.append("optional")
    for package, use in OPTIONAL.items():
        lines.append(f"  {'ok     ' if version(package) else 'absent '}  {package} {version(package) or ''}: {use}")
    lines += ["device", *device_lines(), "embedded default"]
    for path in (DEFAULT_MODEL, DEFAULT_VIDEO):
        note = "" if path.exists() else f": {CLONE}"
        lines.append(f"  {'MISSING' if note else 'ok     '}  {path.parent.name}/{path.name}{note}")
        healthy &= path.exists()
    free = shutil.disk_usage(".").free / 2**30
    lines.append(f"disk\n  ok       {free:.0f} GiB free here (7B weights need 14, 34B weights 70)")
    return lines, healthy


def tokenizer_lines(model: str) -> tuple[list[str], bool]:
    """How a checkpoint's tokenizer cuts a prompt, and whether it is as in the released code. Raises ModelError."""
    from sfllava_core.checkpoints import load_config, load_tokenizer, prompt_style_of
    from sfllava_core.prompts import IMAGE, open_ended_prompt
    from sfllava_core.tokenizing import differences

    config, tokenizer = load_config(model), load_tokenizer(model)
    style = prompt_style_of(config, tokenizer)
    before, after = open_ended_prompt("What is it?", style).split(IMAGE)
    lines = [f"tokenizer of {model}, {style} prompts"]
    lines += [
        f"  before the video  {tokenizer(before).tokens()[-12:]}",
        f"  behind it         {tokenizer(after).tokens()[:6]}",
    ]
    lines.append(f"  the end           {tokenizer(after).tokens()[-12:]}")
    found = differences(tokenizer, style)
    return lines + [f"  DIFFERS  {one}" for one in found] + ["  ok       as the released code's"] * (
        not found
    ), not found


def main(model: str = "") -> int:
    """Print the report, and that on a checkpoint's tokenizer; exit code 1 where something is missing or wrong."""
    lines, healthy = report()
    right = True
    if model:
        more, right = tokenizer_lines(model)
        lines += more
    print("\n".join(lines))
    print("\nall that is needed is here" if healthy else "\nsomething needed is missing: see MISSING above")
    if not right:
        print("the tokenizer is not as the released code's: see DIFFERS above; answers may be others than the paper's")
    return 0 if healthy and right else 1
