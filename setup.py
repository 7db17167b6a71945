"""All but this stands in pyproject.toml: a wheel carries `data/` inside `sfllava_core`, so that the embedded model and
films are there without a clone (`sfllava_core/defaults.py` finds them)."""

from pathlib import Path
from shutil import copytree

from setuptools import setup
from setuptools.command.build_py import build_py


class WithData(build_py):
    """Packages, then their data; an editable install reads it from the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            copytree("data", Path(self.build_lib) / "sfllava_core" / "data", dirs_exist_ok=True)


setup(cmdclass={"build_py": WithData})
