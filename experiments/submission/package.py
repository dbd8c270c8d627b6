"""Reading a zip file that may be damaged or hostile: only the files of a challenge package, and never too much of them.

Conventions: nothing is unpacked to disk. A member's size is known, and limited, before it is read; what the package
should not hold is named and not read. Limits are generous: the official set's table takes 15 MB.
"""

import re
import stat
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError, counted
from experiments.submission.layout import (
    EDITIONS,
    LABEL_WORDS,
    META,
    OUTPUT,
    REPORT,
    SYSTEMS,
    TASK,
    Edition,
    meta_path,
    output_path,
    report_path,
    team_of,
)

PACKAGE_BYTES = 256 << 20
BYTES = {OUTPUT: 64 << 20, META: 256 << 10, REPORT: 16 << 20}  # uncompressed, by the name's ending
MEMBERS = 100
ENCRYPTED = 0x1  # bit of a member's flags
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass
class Package:
    """What was found.

    Attributes:
        systems: label to its files by ending (META and those of the tables), as far as they could be read.
        report: the technical report; None if it could not be read.
        defects: of the zip, its layout and names, in words.
    """

    systems: dict[str, dict[str, bytes]] = field(default_factory=dict)
    report: bytes | None = None
    defects: list[str] = field(default_factory=list)


def read_package(path: Path, edition: Edition) -> Package:
    """Read what belongs to the package of a year, and say what does not.

    Raises:
        UserError: there is no such file.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file: name the package: scenelet validate FILE.zip")
    package = Package()
    if (size := path.stat().st_size) > PACKAGE_BYTES:
        package.defects.append(f"it has {size} bytes, more than {PACKAGE_BYTES}; it is not looked into")
        return package
    try:
        with zipfile.ZipFile(path) as archive:
            _read(archive, package, edition)
    except Exception as error:  # zipfile raises whatever a wild offset or size leads to
        package.defects.append(f"it is no zip file, or a damaged one ({str(error) or type(error).__name__})")
    return package


def _read(archive: zipfile.ZipFile, package: Package, edition: Edition) -> None:
    members = archive.infolist()
    if len(members) > MEMBERS:
        package.defects.append(f"it has {len(members):,} members, more than {MEMBERS}; it is not looked into")
        return
    wrong = {id(member): _defects_of(member) for member in members}
    package.defects += [defect for found in wrong.values() for defect in found]
    files = [member for member in members if not member.is_dir()]
    counts = Counter(member.filename for member in files)
    package.defects += [f"{name!r} is there {count} times" for name, count in counts.items() if count > 1]
    by_name = {member.filename: member for member in files if not wrong[id(member)]}

    labels = sorted({name.split("/")[1] for name in counts if name.startswith(f"{TASK}/") and name.count("/") > 1})
    team_by_label = {label: team for label in labels if (team := team_of(label)) is not None}
    for label in labels:
        if label not in team_by_label:
            package.defects.append(f"{label!r} is no label of a system: it must be {LABEL_WORDS}")
    labels, teams = list(team_by_label), sorted(set(team_by_label.values()))
    if not 1 <= len(labels) <= SYSTEMS:
        package.defects.append(
            f"it holds {counted(len(labels), 'system')} in folders {TASK}/LABEL; 1 to {SYSTEMS} are allowed"
        )
    if len(teams) > 1:
        package.defects.append(f"its labels are of several teams: {', '.join(teams)}")

    wanted = {output_path(label, ending): ending for label in labels for ending in edition.outputs}
    wanted |= {meta_path(label): META for label in labels}
    wanted |= {report_path(team): REPORT for team in teams[:1]}
    package.defects += [f"{name} is missing" for name in sorted(wanted.keys() - counts.keys())]
    for name in sorted(counts.keys() - wanted.keys()):
        year = next((other.year for other in EDITIONS.values() if name.endswith(other.outputs)), edition.year)
        hint = (
            "" if year == edition.year else f" of {edition.year}; tables of {year} are called so (submit.year={year})"
        )
        package.defects.append(f"{name!r} does not belong into a package{hint}")
    package.systems = {label: {} for label in labels}
    for name in sorted(wanted.keys() & by_name.keys()):
        if (data := _content(archive, by_name[name], wanted[name], package.defects)) is None:
            continue
        if wanted[name] == REPORT:
            package.report = data
        else:
            package.systems[name.split("/")[1]][wanted[name]] = data


def _defects_of(member: zipfile.ZipInfo) -> list[str]:
    """What is wrong with a member before it is read."""
    name, mode = member.filename, member.external_attr >> 16
    found = []
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        found.append("has an absolute path")
    if ".." in re.split(r"[/\\]", name):
        found.append("leads out of the package")
    if "\\" in name or member.orig_filename != name or not name.isprintable():
        found.append("has characters in its name that no file should have")
    if stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        found.append("is a link or a device, no file")
    if member.flag_bits & ENCRYPTED:
        found.append("is encrypted")
    if member.compress_type not in METHODS:
        found.append(f"is compressed by method {member.compress_type}; only stored and deflated members are read")
    limit = next((size for ending, size in BYTES.items() if name.endswith(ending)), BYTES[OUTPUT])
    if member.file_size > limit:
        found.append(f"has {member.file_size} bytes uncompressed, more than {limit}")
    return [f"{name!r} {defect}" for defect in found]


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, kind: str, defects: list[str]) -> bytes | None:
    """A member's bytes, at most as many as its checked size; None if they cannot be read."""
    try:
        with archive.open(member) as file:
            return file.read(BYTES.get(kind, BYTES[OUTPUT]) + 1)
    except Exception as error:  # zipfile and zlib raise whatever damaged bytes lead to
        defects.append(f"{member.filename!r} is damaged ({str(error) or type(error).__name__})")
        return None
