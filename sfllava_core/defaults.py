"""What is taken where nothing is said: the model and the film that come with the kit, and their neighbours."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKOUT = (ROOT / "pyproject.toml").is_file()
DATA = (ROOT if CHECKOUT else Path(__file__).parent) / "data"  # a wheel carries it inside this package
POCKET = DATA / "pocket"  # small, and trained: it answers questions about the films of PocketBench
POCKETBENCH = DATA / "pocketbench"
TINY = DATA / "tiny"  # random weights, for what needs a shape and no sense
CLIP = DATA / "clips" / "grand_prix_1906.mp4"  # a real camera's film
DEFAULT_MODEL = POCKET
DEFAULT_VIDEO = POCKETBENCH / "videos" / "pocket_0010.mp4"
COURSE = ROOT / "notebooks"
WORK = ROOT if CHECKOUT else Path.cwd()  # where notebooks run and `runs/` is written: never beside installed packages
CLONE = (
    "notebooks come with a clone of the kit's repository, models and films with a clone or a whole install of the "
    "package; run it in a clone, install anew, or give a model, a video or a notebook of your own"
)


def absent(path: str | Path) -> str:
    """Why one of the kit's own files is not there, and the way out; "" if it is there, or is none of them."""
    path = Path(path)
    if path.exists() or not any(path.is_relative_to(own) for own in (DATA, COURSE)):
        return ""
    return f"{path} is not there: {CLONE}"


def required(path: str | Path) -> Path:
    """The path, if it is there or is none of the kit's own.

    Raises:
        FileNotFoundError: a file of the kit that is not there.
    """
    if reason := absent(path):
        raise FileNotFoundError(reason)
    return Path(path)
