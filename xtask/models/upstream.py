"""The pinned upstream files: finds them, checks them, and says what to do. Standard library only."""

import hashlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

# The largest pinned file has 4 MB. A larger one is another file, and is not read to its end.
FILE_BYTES_MAX = 128 << 20


class ModelsError(Exception):
    """Something that the caller can set right. The text names the file and says what to do."""


@dataclass(frozen=True)
class Upstream:
    """Facts about a file that others published."""

    name: str
    bytes: int
    sha256: str
    repository: str
    commit: str
    path: str
    licence: str
    note: str = ""

    def origin(self):
        return f"{self.repository} at commit {self.commit[:12]}, path {self.path}"


@dataclass(frozen=True)
class Conversion:
    """A network that is built from upstream files, with the shape of its ends."""

    name: str
    kind: str
    sources: tuple
    producer: str
    rebuilt_sha256: str
    input: dict
    output: dict


@dataclass
class Sources:
    """The data file as a whole."""

    upstream: dict = field(default_factory=dict)
    conversions: dict = field(default_factory=dict)


def read_sources(path):
    """Reads the data file. Unknown keys and sources that are not pinned are refused."""
    data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    sources = Sources()
    try:
        for entry in data.pop("upstream"):
            sources.upstream[entry["name"]] = Upstream(**entry)
        for entry in data.pop("conversion"):
            entry["sources"] = tuple(entry.pop("from"))
            sources.conversions[entry["name"]] = Conversion(**entry)
    except (KeyError, TypeError) as error:
        raise ModelsError(f"{path}: an entry is not understood ({error}). Do: correct it") from error
    if data:
        raise ModelsError(f"{path}: `{'`, `'.join(data)}` is not known. Do: remove it")
    for conversion in sources.conversions.values():
        for name in conversion.sources:
            if name not in sources.upstream:
                raise ModelsError(f"{path}: `{name}` is not pinned. Do: add it as [[upstream]]")
    return sources


def sha256_of(path):
    """The SHA-256 of a file in lower-case hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(folders, *names):
    """The first of the names in the first of the folders, or None."""
    for folder in folders:
        for name in names:
            path = Path(folder) / name
            if path.is_file():
                return path
    return None


def problem_of(path, size, sha256):
    """What is wrong with a file, or None. The size comes first: it is cheap, and tells a file that was cut off."""
    found = path.stat().st_size
    if found != size:
        cut = "it is cut off or another file" if found < size else "it is another file"
        return f"`{path}` has {found} bytes instead of {size}: {cut}"
    if size > FILE_BYTES_MAX:
        return f"`{path}` has {size} bytes, more than any network we know"
    found = sha256_of(path)
    if found != sha256:
        return f"`{path}` was altered: its SHA-256 is {found} instead of {sha256}"
    return None


def check(upstream, folders):
    """Finds and checks every file. All problems come in one error. Gives the paths by name, and says what it does."""
    paths, problems = {}, []
    for file in upstream:
        path = find(folders, file.name, PurePosixPath(file.path).name)
        if path is None:
            problems.append(f"`{file.name}` is missing. Do: get it from {file.origin()}")
            continue
        problem = problem_of(path, file.bytes, file.sha256)
        if problem:
            problems.append(f"{problem}. Do: get it again from {file.origin()}")
            continue
        paths[file.name] = path
        print(f"  {file.name}: {file.bytes} bytes, SHA-256 as pinned ({file.licence}, {file.repository})", flush=True)
    if problems:
        looked = ", ".join(f"`{folder}`" for folder in folders)
        raise ModelsError("\n  ".join([f"{len(problems)} upstream file(s) cannot be used, in {looked}:", *problems]))
    return paths
