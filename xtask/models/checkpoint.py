"""Reads the weights out of a PyTorch checkpoint without PyTorch. Standard library only.

The two checkpoints have the format that PyTorch wrote before version 1.6: five pickles (magic number, version, facts
about the writer, named tensors that refer to storages, keys of the storages), then each storage as its length and its
numbers. A pickle can call anything that it names, so the unpickler here knows four names and refuses all others.
"""

import io
import math
import pickle
import pickletools
import struct
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

# Largest checkpoint, in bytes. Ours have 2 MB.
CHECKPOINT_BYTES_MAX = 128 << 20

# Largest number of a pickle's memory cells: the unpickler makes room for the highest one that is named. Ours have 5000.
CELLS_MAX = 1 << 20

# What PyTorch's pickles consist of. Nothing here makes objects other than by `GLOBAL` and `REDUCE`.
OPCODES = set(
    "PROTO STOP MARK GLOBAL REDUCE BUILD BINPERSID BINPUT LONG_BINPUT BINGET LONG_BINGET "
    "NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINUNICODE "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS".split()
)


class CheckpointError(Exception):
    """The file is no checkpoint that this module reads."""


# Tuples, because a pickle can change the attributes of objects that have them (`BUILD`).


class Kind(NamedTuple):
    """What a storage consists of: a format of `struct`, and its size."""

    code: str
    size: int


class Storage(NamedTuple):
    """Numbers that come later in the file."""

    kind: Kind
    key: str
    count: int


class Tensor(NamedTuple):
    """Numbers in row-major order, little-endian, with their shape."""

    shape: tuple
    code: str
    data: bytes


class _Reference(NamedTuple):
    """A tensor whose numbers come later in the file."""

    storage: Storage
    offset: int
    shape: tuple


def _row_major(shape):
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


class _RebuildTensor:
    """Stands for PyTorch's function of that name."""

    __slots__ = ()

    def __call__(self, storage, offset, shape, stride, requires_grad=False, hooks=None):
        counts = [offset, *shape] if isinstance(shape, tuple) else [None]
        if not isinstance(storage, Storage) or not all(type(count) is int and count >= 0 for count in counts):
            raise CheckpointError("a tensor has no storage or an impossible shape")
        # The stride of an axis of length one is never used, and PyTorch writes anything there.
        used = [(have, want) for have, want, size in zip(stride, _row_major(shape), shape, strict=True) if size > 1]
        if any(have != want for have, want in used):
            raise CheckpointError("a tensor is not in row-major order")
        if offset + math.prod(shape) > storage.count:
            raise CheckpointError("a tensor is larger than its storage")
        return _Reference(storage, offset, shape)


ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "FloatStorage"): Kind("f", 4),
    ("torch", "LongStorage"): Kind("q", 8),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
}


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that knows the names of ALLOWED and no others."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise CheckpointError(f"it names `{module}.{name}`, which is never called here")
        return ALLOWED[module, name]

    def persistent_load(self, reference):
        match reference:
            case ("storage", Kind() as kind, str() as key, str(), int() as count, None) if count >= 0:
                storage = self.storages.setdefault(key, Storage(kind, key, count))
                if storage == Storage(kind, key, count):
                    return storage
        raise CheckpointError("a storage is described in a way that is not known")


def _scan(file):
    """Refuses a pickle that has other opcodes than PyTorch's, or wants a lot of memory, before it is run."""
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name not in OPCODES:
            raise CheckpointError(f"it has the opcode {opcode.name}, which PyTorch does not use")
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > CELLS_MAX:
            raise CheckpointError("it wants more memory than a checkpoint needs")


def _load(file):
    start = file.tell()
    _scan(file)
    file.seek(start)
    unpickler = RestrictedUnpickler(file)
    return unpickler.load(), unpickler.storages


def _read_storages(file, keys, storages):
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise CheckpointError("its list of storages does not fit its tensors")
    data = {}
    for key in keys:
        storage = storages[key]
        length = storage.count * storage.kind.size
        head, body = file.read(8), file.read(length)
        if head != struct.pack("<q", storage.count) or len(body) != length:
            raise CheckpointError(f"storage `{key}` is cut off or has another length")
        data[key] = body
    if file.read(1):
        raise CheckpointError("something follows the last storage")
    return data


def _read(file):
    if _load(file)[0] != MAGIC:
        raise CheckpointError("it does not begin like a checkpoint of PyTorch before 1.6")
    if _load(file)[0] != PROTOCOL:
        raise CheckpointError("its protocol version is not known")
    writer = _load(file)[0]
    if not isinstance(writer, dict) or writer.get("little_endian") is not True:
        raise CheckpointError("it was not written on a little-endian machine")
    named, storages = _load(file)
    keys = _load(file)[0]
    data = _read_storages(file, keys, storages)
    if not isinstance(named, dict):
        raise CheckpointError("it has no named tensors")
    tensors = {}
    for name, reference in named.items():
        if not isinstance(name, str) or not isinstance(reference, _Reference):
            raise CheckpointError(f"`{name}` is no tensor")
        kind, start = reference.storage.kind, reference.offset * reference.storage.kind.size
        body = data[reference.storage.key][start : start + math.prod(reference.shape) * kind.size]
        tensors[name] = Tensor(reference.shape, kind.code, body)
    return tensors


def read_checkpoint(path):
    """The tensors by name. Whatever the file contains, nothing of it is called."""
    with open(path, "rb") as file:
        content = file.read(CHECKPOINT_BYTES_MAX + 1)
    try:
        if len(content) > CHECKPOINT_BYTES_MAX:
            raise CheckpointError(f"it has more than {CHECKPOINT_BYTES_MAX} bytes")
        return _read(io.BytesIO(content))
    except CheckpointError as error:
        raise CheckpointError(f"`{Path(path).name}` is refused: {error}") from error
    except Exception as error:  # An unpickler meets hostile input with whatever its stack machine trips over.
        name = type(error).__name__
        raise CheckpointError(f"`{Path(path).name}` is refused: it is no checkpoint ({name}: {error})") from error
