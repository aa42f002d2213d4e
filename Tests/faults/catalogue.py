"""The planted faults: mistakes that the tests have to notice. Every TOML file here lists those of
one kind.
"""

import tomllib
import zlib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Fault:
    """A place of a source file, and what a mistake makes of it."""

    number: int  # by which the native build knows it, whatever else is listed
    kind: str
    name: str
    file: str
    was: str  # occurs once in the file
    becomes: str
    tests: tuple[str, ...]  # the suites that may notice it first
    form: str = "expression"  # or "statement"; of no matter in Python
    unnoticed: str = ""  # why no test can notice it

    @property
    def is_native(self):
        return not self.file.endswith(".py")


def faults():
    """All faults, in the order of the files that list them."""
    found = []
    for path in sorted(HERE.glob("*.toml")):
        listed = tomllib.loads(path.read_text())
        for entry in listed["fault"]:
            entry["tests"] = tuple(entry["tests"])
            number = zlib.crc32(f"{listed['kind']}: {entry['name']}".encode()) % 10**8 + 1
            found.append(Fault(number, listed["kind"], **entry))
    return found


def problems(root=ROOT):
    """Sentences on the entries that do not fit the sources."""
    found, taken, numbers = [], {}, set()
    for fault in faults():
        text = (root / fault.file).read_text()
        count = text.count(fault.was)
        if count != 1:
            found.append(f"{fault.name!r}: `was` occurs {count} times in {fault.file}")
            continue
        if fault.was == fault.becomes or fault.form not in ("expression", "statement"):
            found.append(f"{fault.name!r} changes nothing, or has no form")
        if fault.number in numbers:
            found.append(f"{fault.name!r} is listed twice, or needs another name")
        numbers.add(fault.number)
        begin = text.index(fault.was)
        end = begin + len(fault.was)
        for name, first, last in taken.get(fault.file, []):
            # Those of Python are planted one at a time.
            if fault.is_native and begin < last and first < end:
                found.append(f"{fault.name!r} and {name!r} are in the same place")
        taken.setdefault(fault.file, []).append((fault.name, begin, end))
    return found
