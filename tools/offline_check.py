"""The offline pack, tried for real: the commands of INSTRUCTOR.md as they stand, the second half with no network.

    make offline-check      half a gigabyte of wheels, a second virtual environment, minutes

The first block of "Thirty laptops without a network" is run here, the second in a network of its own with nothing in
it but loopback, by another user than root (who may not start JupyterLab), and without pip's configuration: the wheels
are all that there is. What each block has run is shown; the last command serves, so it has to come up and is ended.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTION = "Thirty laptops without a network"
PACK = "slowfast-llava-course"
NO_NETWORK = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
              "sh", "-c",
              'ip link set lo up; exec unshare --user --map-user=1000 --map-group=1000 bash -c "$0"']  # fmt: skip
SERVED = """
({last} > lab.log 2>&1 &)
for second in $(seq 120); do grep -q "is running at" lab.log && break; sleep 1; done
grep -A1 "is running at" lab.log
"""


def section(name: str = SECTION) -> str:
    """A section of INSTRUCTOR.md, without its title."""
    (found,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", (ROOT / "INSTRUCTOR.md").read_text(), re.M | re.S)
    return found.strip()


def blocks() -> list[str]:
    """The section's commands: with a network, and without."""
    with_network, without = re.findall(r"^```sh\n(.*?)^```", section(), re.M | re.S)
    return [with_network, without]


def main() -> None:
    with_network, without = blocks()
    *first, last = without.strip().splitlines()
    shutil.rmtree(ROOT / PACK, ignore_errors=True)
    try:
        run(["bash", "-c", f"set -ex\n{with_network}"], ROOT, os.environ)
        wheels = list((ROOT / PACK / "wheels").iterdir())
        print(f"{len(wheels)} wheels, {sum(wheel.stat().st_size for wheel in wheels) / 1e6:,.0f} MB")
        if cuda := [wheel.name for wheel in wheels if wheel.name.startswith("nvidia")]:
            sys.exit(f"{len(cuda)} wheels of CUDA came along: take torch's build for CPUs (INSTRUCTOR.md says how)")
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHONPATH"))}
        commands = "set -ex\n" + "\n".join(first) + SERVED.format(last=last)
        home = {"HOME": str(ROOT / PACK), "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
        run([*NO_NETWORK, commands], ROOT / PACK, {**bare, **home})
    finally:
        shutil.rmtree(ROOT / PACK, ignore_errors=True)
    print("the offline pack installs, runs chapter 0 and opens JupyterLab with no network")


def run(words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Run, shown, within an hour; ends this script where it fails."""
    if code := subprocess.run(words, cwd=folder, env=dict(environment), timeout=3600).returncode:
        sys.exit(f"a command failed with code {code}")


if __name__ == "__main__":
    main()
