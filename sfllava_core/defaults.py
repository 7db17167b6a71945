"""What is taken where nothing is said: the model and the film that come with this checkout, and their neighbours."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
POCKET = ROOT / "data" / "pocket"  # small, and trained: it answers questions about the films of PocketBench
POCKETBENCH = ROOT / "data" / "pocketbench"
TINY = ROOT / "data" / "tiny"  # random weights, for what needs a shape and no sense
CLIP = ROOT / "data" / "clips" / "grand_prix_1906.mp4"  # a real camera's film
DEFAULT_MODEL = POCKET
DEFAULT_VIDEO = POCKETBENCH / "videos" / "pocket_0010.mp4"
