"""The manifests of the packs: reads them, and writes the one of a rebuilt pack. Standard library only.

The manifest is copied line by line, so that its comments stay. Only sizes, hashes and origins of rebuilt files change.
"""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from upstream import ModelsError

# Follows the origin of a file that was rebuilt with other bytes than those published.
REBUILT = ", rebuilt by `cargo xtask models`"

_LINE = re.compile(r'^(name|bytes|sha256|source) = (".*"|\d+)(\s*#.*)?$')


@dataclass(frozen=True)
class Manifest:
    """A manifest as text, and its files by name."""

    path: Path
    text: str
    name: str
    files: dict


def read_manifest(path):
    """Reads a manifest of `crates/biometrics/packs`."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
        files = {file["name"]: file for file in data["file"]}
        if data["format"] != 1 or len(files) != len(data["file"]):
            raise ModelsError(f"`{path}` has another format or names a file twice. Do: teach xtask/models the format")
        return Manifest(path, text, data["name"], files)
    except FileNotFoundError as error:
        raise ModelsError(f"`{path}` is missing. Do: restore it, it says what the pack consists of") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ModelsError(f"`{path}` is no manifest ({error}). Do: correct it") from error


def head(identical, rebuilt):
    """Comment at the top: what was rebuilt."""
    lines = ["# Made by `cargo xtask models` from the pinned files of xtask/models/sources.toml."]
    lines += [f"# Rebuilt, byte for byte the published file: {name}" for name in identical]
    lines += [f"# Rebuilt, other bytes and the same numbers within 1e-4: {name}" for name in rebuilt]
    return "\n".join(lines) + "\n\n"


def with_rebuilt(manifest, rebuilt):
    """The manifest's text with size, hash and origin of the files in `rebuilt` (name to size and hash)."""
    lines, changed = [], []
    for entry in re.split(r"^(?=\[)", manifest.text, flags=re.MULTILINE):
        facts = _facts(entry)
        if entry.startswith("[[file]]") and facts.get("name") in rebuilt:
            size, sha256 = rebuilt[facts["name"]]
            values = {"bytes": size, "sha256": sha256, "source": facts.get("source", "") + REBUILT}
            entry = "".join(_with_value(line, values) for line in entry.splitlines(keepends=True))
            changed.append(facts["name"])
        lines.append(entry)
    text = "".join(lines)
    files = {file["name"]: file for file in tomllib.loads(text)["file"]}
    for name, (size, sha256) in rebuilt.items():
        if name not in changed or (files[name]["bytes"], files[name]["sha256"]) != (size, sha256):
            raise ModelsError(
                f"the entry of `{name}` in `{manifest.path}` is written in a way that cannot be changed line by line. "
                "Do: put `name`, `bytes`, `sha256` and `source` on a line each"
            )
    return text


def _facts(entry):
    found = (_LINE.match(line) for line in entry.splitlines())
    return {match[1]: tomllib.loads(f"value = {match[2]}")["value"] for match in found if match}


def _with_value(line, values):
    match = _LINE.match(line.rstrip("\n"))
    if not match or match[1] not in values:
        return line
    # JSON writes strings and whole numbers as TOML does.
    value = json.dumps(values[match[1]], ensure_ascii=False)
    return f"{match[1]} = {value}{match[3] or ''}\n"
