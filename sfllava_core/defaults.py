"""What is taken where nothing is said: the model and the clip that come with this checkout."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = ROOT / "data" / "tiny"
DEFAULT_MODEL = TINY
DEFAULT_VIDEO = ROOT / "data" / "clips" / "grand_prix_1906.mp4"
