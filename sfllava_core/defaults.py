"""What is taken where nothing is said: the model and the film that come with this checkout, and their neighbours."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
POCKET = ROOT / "data" / "pocket"  # small, and trained: it answers questions about the films of PocketBench
POCKETBENCH = ROOT / "data" / "pocketbench"
TINY = ROOT / "data" / "tiny"  # random weights, for what needs a shape and no sense
CLIP = ROOT / "data" / "clips" / "grand_prix_1906.mp4"  # a real camera's film
DEFAULT_MODEL = POCKET
DEFAULT_VIDEO = POCKETBENCH / "videos" / "pocket_0010.mp4"
COURSE = ROOT / "notebooks"
CLONE = (
    "models, films and notebooks come with a clone of the kit's repository, not with the installed package; "
    "run it in a clone, or give a model, a video or a notebook of your own"
)


def absent(path: str | Path) -> str:
    """Why one of the checkout's own files is not there, and the way out; "" if it is there, or is none of them.

    An installed package is the code alone.
    """
    path = Path(path)
    if path.exists() or not any(path.is_relative_to(own) for own in (ROOT / "data", COURSE)):
        return ""
    return f"{path} is not there: {CLONE}"


def required(path: str | Path) -> Path:
    """The path, if it is there or is none of the checkout's own.

    Raises:
        FileNotFoundError: a file of the checkout that is not there.
    """
    if reason := absent(path):
        raise FileNotFoundError(reason)
    return Path(path)
