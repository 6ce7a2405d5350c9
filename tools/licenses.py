"""The licenses of the packages in a lock, read from what is installed: `python -m tools.licenses` writes the table.

A license that is not in ALLOWED is an error that names the package: read it before you use the package.
"""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from tools import rooms
from tools.marks import markdown_table

LOCK, PAGE = "requirements/dev.lock", "requirements/licenses.md"
HEAD = """\
# Licenses

The licenses of the packages in `dev.lock`, by their own metadata, written by `python -m tools.licenses`. The wheel of
this project contains none of them. NVIDIA's packages come with PyTorch, for `cpu` and `gpu` only. `gpu.lock` has more
of these; run the tool where they are installed to list them.

"""
# All may be used and redistributed. MPL and LGPL ask for the sources of changes to the package itself; NVIDIA's may be
# passed on as they are.
ALLOWED = re.compile(r"Apache|MIT|BSD|ISC|PSF|Python|MPL|Mozilla|LGPL-2\.1|BSL-1|0BSD|Unlicense|CC0|HPND|NVIDIA")
# Packages whose metadata name no license or one in words of their own, by what their own license file says.
READ = {
    "axe-playwright-python": "MIT", "cuda-toolkit": "NVIDIA", "huey": "MIT", "oss-harmony": "Apache-2.0",
    "intel-openmp": "Intel EULA for Developer Tools", "ptyprocess": "ISC", "setuptools": "MIT", "skops": "MIT",
}  # fmt: skip
MAX_WORDS = 60  # characters: a longer field is a license's whole text
ADDRESS = re.compile(r"\s*\(?https?://[^\s)]*\)?")


def locked(lock: str) -> list[str]:
    """The names of the packages in a lock's text."""
    return re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)


def license_of(package: Distribution) -> str:
    """The license that a package's metadata name, else the one that was read; empty if none is known."""
    classifiers = package.metadata.get_all("Classifier") or []
    classifiers = [text.split(" :: ")[-1] for text in classifiers if "License ::" in text]
    stated = _field(package, "License-Expression") or _field(package, "License").split("\n")[0][:MAX_WORDS]
    stated = ADDRESS.sub("", stated)
    return READ.get(package.name, stated if is_allowed(stated) else " / ".join(classifiers))


def _field(package: Distribution, name: str) -> str:
    return next(iter(package.metadata.get_all(name) or ()), "")


def is_allowed(license: str) -> bool:
    """Whether a license, or each part of an expression, is one that may be used."""
    return all(ALLOWED.search(part) for part in re.split(r" (?:AND|OR) | / ", license))


def table(names: Iterable[str]) -> str:
    """The page's text: a row for each package that is installed. Raises ValueError for a license that is not known."""
    rows, unknown = list[list[str]](), list[str]()
    for name in names:
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of another platform
        license = license_of(package)
        rows.append([name, license])
        if name not in READ and not is_allowed(license):
            unknown.append(f"{name} ({license or 'none named'})")
    if unknown:
        raise ValueError(f"licenses to be read: {', '.join(unknown)}; then add them to tools/licenses.py")
    return HEAD + markdown_table(["package", "license"], rows) + "\n"


def main() -> int:
    """Write the page."""
    page = table(locked((rooms.ROOT / LOCK).read_text(encoding="utf-8")))
    (rooms.ROOT / PAGE).write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
