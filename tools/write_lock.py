"""Print the installed packages of this environment as a lock: names and versions, no addresses.

`make lock` runs it in a fresh environment. Packages that have no wheel everywhere keep the marker of pyproject.toml.
"""

from importlib import metadata

MARKERS = {"decord": '; platform_system != "Darwin"'}
SKIPPED = {"sfllava-core", "pip"}


def main() -> None:
    found = {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    print("# Made by `make lock` for Python 3.11. torch is installed first, by itself.")
    for name in sorted(found):
        if name not in SKIPPED:
            public = found[name].split("+")[0]  # torch's local build tag is not a version that an index knows
            print(f"{name}=={public}{MARKERS.get(name, '')}")


if __name__ == "__main__":
    main()
