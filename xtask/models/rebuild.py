"""Makes the face model packs from their pinned upstream files. Called by `cargo xtask models`, which says how."""

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path

import manifest as manifests
import upstream as upstreams
from checkpoint import CheckpointError
from openvino_ir import IrError
from upstream import ModelsError

HERE = Path(__file__).parent

# Outputs of the published networks for pictures that compare.py draws. Checked where the published files are not at
# hand, and written by `--write-reference` where they are.
REFERENCE = HERE / "reference.json"

CONVERTERS = {"openvino-ir": "from_ir", "minifasnet": "minifasnet"}


def say(line):
    print(line, flush=True)


def check_packages():
    """Refuses other versions than the pinned ones: they may write other bytes."""
    wrong = []
    for line in (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if not version:
            continue
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "not installed"
        if found != version:
            wrong.append(f"{name} {version} is needed, and is: {found}")
    if wrong:
        raise ModelsError("; ".join(wrong) + ". Do: `cargo xtask models --setup`, which needs network once")


def read_manifests(folder, chosen):
    """The manifests of the chosen packs, or of all, with facts that agree with the pinned ones."""
    names = sorted(path.stem for path in folder.glob("*.toml"))
    if not names:
        raise ModelsError(f"`{folder}` has no manifest. Do: restore them, they say what the packs consist of")
    for name in chosen or []:
        if name not in names:
            raise ModelsError(f"there is no pack `{name}`. Do: name one of `{'`, `'.join(names)}`")
    return [manifests.read_manifest(folder / f"{name}.toml") for name in chosen or names]


def needed(packs, sources):
    """The upstream files for the packs. A file that is taken unchanged must be pinned as its manifest says."""
    names = {}
    for pack in packs:
        for name, facts in pack.files.items():
            if name in sources.conversions:
                names.update(dict.fromkeys(sources.conversions[name].sources))
                continue
            file = sources.upstream.get(name)
            if file is None or (file.bytes, file.sha256) != (facts["bytes"], facts["sha256"]):
                raise ModelsError(
                    f"`{name}` in `{pack.path}` is not in sources.toml with this size and hash. Do: make them agree"
                )
            names[name] = None
    return [sources.upstream[name] for name in names]


def build(conversion, paths):
    """The ONNX file's content."""
    converter = importlib.import_module(CONVERTERS[conversion.kind])
    return converter.convert(conversion, paths)


def check_ends(loaded, facts, conversion=None):
    """Refuses a network whose ends are not those of the manifest and of sources.toml."""
    from compare import ends

    takes, gives = ends(loaded)
    size = [facts["input"].get("height_px"), facts["input"].get("width_px")]
    fits = len(takes) == 1 and takes[0][0] == facts["input"]["name"] and takes[0][1][:2] == [1, 3]
    fits = fits and (size == [None, None] or takes[0][1][2:] == size)
    fits = fits and ("output" not in facts or [name for name, _ in gives] == [facts["output"]])
    if conversion:
        wanted = [[(end["name"], end["shape"])] for end in (conversion.input, conversion.output)]
        fits = fits and [takes, gives] == wanted
    if not fits:
        raise ModelsError(f"`{loaded.name}` takes {takes} and gives {gives}, which its manifest does not say")


def judge(name, against, ours, others):
    """Says how far two sets of outputs are apart, and refuses what is above the bar."""
    from compare import BAR, difference

    largest, scale = difference(ours, others)
    relative = largest / scale if scale else largest
    say(f"    against {against}: largest difference {largest:.2e}, largest output {scale:.3g}, ratio {relative:.1e}")
    if not relative <= BAR:
        raise ModelsError(f"`{name}` differs from {against} by {relative:.1e} of its output, more than {BAR:.0e}")
    return relative


def recorded():
    """The recorded outputs by file."""
    return json.loads(REFERENCE.read_text(encoding="utf-8")) if REFERENCE.is_file() else {}


def as_lines(references):
    """JSON with a line for each picture."""
    entries = []
    for name, outputs in sorted(references.items()):
        lines = ",\n".join(f"  {json.dumps(label)}: {json.dumps(values)}" for label, values in outputs.items())
        entries.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def published(name, facts, folders):
    """The path of the published file, where it is at hand, with the size and hash of the manifest."""
    path = upstreams.find(folders, name)
    if path is None:
        return None
    problem = upstreams.problem_of(path, facts["bytes"], facts["sha256"])
    if problem:
        raise ModelsError(f"{problem}. Do: remove it, or get the published file again; it is only compared with")
    return path


def check_numbers(conversion, content, facts, paths, folders):
    """Compares a rebuilt network with everything at hand. Gives what the reference file should say."""
    import compare

    name = conversion.name
    loaded = compare.session(content, name)
    check_ends(loaded, facts, conversion)
    pictures = compare.inputs(conversion.input["shape"])
    ours = compare.run(loaded, pictures)
    reference = recorded().get(name)
    if reference:
        judge(name, "the recorded outputs", ours, compare.from_excerpt(reference))
    path = published(name, facts, folders)
    if path is None:
        say("    the published file is not at hand: compared with its recorded outputs only")
    else:
        theirs = compare.run(compare.session(path, name), pictures)
        judge(name, "the published file", ours, theirs)
        reference = compare.excerpt(theirs)
    if not reference:
        raise ModelsError(f"`{name}`: there is nothing to compare it with. Do: restore `{REFERENCE}`")
    if conversion.kind == "openvino-ir":
        theirs = compare.run_ir(paths[conversion.sources[0]], pictures)
        if theirs is None:
            say("    the OpenVINO runtime is not installed: not compared with it")
        else:
            judge(name, "the OpenVINO runtime", ours, theirs)
    return reference


def write(path, content):
    """Writes a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def make_pack(pack, sources, paths, folders, folder):
    """Builds, checks and writes one pack. Gives the recorded outputs by file."""
    say(f"pack {pack.name}")
    contents, identical, rebuilt, references = {}, [], {}, {}
    for name, facts in pack.files.items():
        conversion = sources.conversions.get(name)
        started = time.monotonic()
        if conversion is None:
            from compare import session

            check_ends(session(paths[name], name), facts)
            contents[name] = paths[name].read_bytes()
            say(f"  {name}: unchanged, {facts['bytes']} bytes")
            continue
        content = contents[name] = build(conversion, paths)
        sha256 = hashlib.sha256(content).hexdigest()
        say(f"  {name}: built from {', '.join(conversion.sources)} in {time.monotonic() - started:.1f} s")
        references[name] = check_numbers(conversion, content, facts, paths, folders)
        same = sha256 == facts["sha256"]
        say(f"    {len(content)} bytes, SHA-256 {sha256}")
        say(f"    {'byte for byte the published file' if same else 'other bytes than the published file'}")
        if sha256 != conversion.rebuilt_sha256:
            say("    warning: not the bytes that sources.toml expects of this converter (`rebuilt_sha256`)")
        if same:
            identical.append(name)
        else:
            rebuilt[name] = (len(content), sha256)
    text = manifests.head(identical, rebuilt) + manifests.with_rebuilt(pack, rebuilt)
    for name, content in contents.items():
        write(folder / name, content)
    write(folder / "pack.toml", text.encode("utf-8"))
    say(f"  written: `{folder}` ({len(contents)} files, {sum(map(len, contents.values()))} bytes, pack.toml)")
    return references


def run(options):
    check_packages()
    sources = upstreams.read_sources(HERE / "sources.toml")
    packs = read_manifests(options.manifests, options.pack)
    targets = {(options.out / pack.name).resolve() for pack in packs}
    for folder in options.upstream:
        if folder.resolve() in targets:
            raise ModelsError(f"`{folder}` would be written over. Do: name another folder with --out")
    say("upstream files")
    paths = upstreams.check(needed(packs, sources), options.upstream)
    references = {}
    for pack in packs:
        references |= make_pack(pack, sources, paths, options.upstream, options.out / pack.name)
    if options.write_reference:
        REFERENCE.write_text(as_lines(recorded() | references), encoding="utf-8")
        say(f"written: `{REFERENCE}`")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--manifests", type=Path, required=True, metavar="DIR")
    parser.add_argument("--pack", action="append", metavar="NAME")
    parser.add_argument("--write-reference", action="store_true")
    try:
        run(parser.parse_args())
    except (ModelsError, CheckpointError, IrError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
