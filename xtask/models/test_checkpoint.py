"""Checkpoints that we make ourselves: what is read, and what is refused."""

import contextlib
import io
import pickle
import struct
import tempfile
import unittest
from collections import OrderedDict
from pathlib import Path

from checkpoint import ALLOWED, MAGIC, PROTOCOL, CheckpointError, RestrictedUnpickler, read_checkpoint

WRITER = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Name:
    """Pickled as the name of something that this Python need not have."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickled as a call of a name."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments


class Changed:
    """Pickled as something whose attributes are set."""

    def __init__(self, value, state):
        self.value, self.state = value, state


class Stored:
    """Pickled as a reference to a storage."""

    def __init__(self, key, count, kind="FloatStorage", view=None):
        self.reference = ("storage", Name("torch", kind), key, "cpu", count, view)


class Pickler(pickle._Pickler):
    """Python's own, with the things above; the one in C cannot be taught names that do not exist."""

    def persistent_id(self, value):
        return value.reference if isinstance(value, Stored) else None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Name):
            self.write(f"c{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Call):
            self.save(value.name)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        elif isinstance(value, Changed):
            self.save(value.value)
            self.save(value.state)
            self.write(pickle.BUILD)
        else:
            super().save(value, save_persistent_id)


def pickled(value):
    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def tensor(storage, shape, stride, offset=0):
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), storage, offset, shape, stride, False, OrderedDict())


def storage_bytes(*values):
    return struct.pack(f"<q{len(values)}f", len(values), *values)


def content(named, keys=("1",), storages=None, head=(MAGIC, PROTOCOL, WRITER)):
    storages = storage_bytes(1, 2, 3, 4, 5, 6) if storages is None else storages
    return b"".join(pickled(part) for part in (*head, named, list(keys))) + storages


WHOLE = {"a.weight": tensor(Stored("1", 6), (2, 3), (3, 1))}


class CheckpointTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "net.pth"

    def read(self, content):
        self.path.write_bytes(content)
        return read_checkpoint(self.path)

    def assert_refused(self, content, because):
        with self.assertRaises(CheckpointError) as caught:
            self.read(content)
        self.assertIn("`net.pth` is refused", str(caught.exception))
        self.assertIn(because, str(caught.exception))

    def test_tensors_are_read_with_shape_and_numbers(self):
        named = OrderedDict(WHOLE)
        named["b.bias"] = tensor(Stored("1", 6), (2,), (1,), offset=4)
        named["b.count"] = tensor(Stored("2", 1, "LongStorage"), (), ())
        tensors = self.read(content(named, ("1", "2"), storage_bytes(1, 2, 3, 4, 5, 6) + struct.pack("<qq", 1, 9)))
        self.assertEqual(list(tensors), ["a.weight", "b.bias", "b.count"])
        self.assertEqual(tensors["a.weight"].shape, (2, 3))
        self.assertEqual(struct.unpack("<6f", tensors["a.weight"].data), (1, 2, 3, 4, 5, 6))
        self.assertEqual(struct.unpack("<2f", tensors["b.bias"].data), (5, 6))
        self.assertEqual((tensors["b.count"].code, struct.unpack("<q", tensors["b.count"].data)), ("q", (9,)))

    def test_foreign_names_are_refused_and_never_called(self):
        trace = self.path.with_name("trace")
        foreign = [
            ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "open"), ("builtins", "getattr"),
            ("subprocess", "Popen"), ("torch", "load"), ("torch", "HalfStorage"), ("torch._utils", "_rebuild_tensor"),
            ("collections", "OrderedDict.fromkeys"), ("collections", "defaultdict"), ("checkpoint", "Storage"),
        ]  # fmt: skip
        for module, name in foreign:
            call = Call(Name(module, name), f"touch {trace}")
            for value in (call, {"a": call}, {"a": Name(module, name)}):
                with self.subTest(name=name):
                    self.assert_refused(content(value), f"it names `{module}.{name}`")
            # The first pickle of the file is as dangerous as the fourth.
            self.assert_refused(content(WHOLE, head=(call, PROTOCOL, WRITER)), f"it names `{module}.{name}`")
        self.assertFalse(trace.exists())

    def test_names_of_newer_pickles_are_refused_too(self):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with self.subTest(protocol=protocol), self.assertRaisesRegex(CheckpointError, "it names"):
                RestrictedUnpickler(io.BytesIO(pickle.dumps(struct.pack, protocol))).load()

    def test_a_known_name_called_in_another_way_is_refused(self):
        self.assert_refused(content({"a": Call(Name("torch", "FloatStorage"), 1)}), "it is no checkpoint")
        self.assert_refused(content({"a": tensor("1", (1,), (1,))}), "has no storage")
        self.assert_refused(content({"a": tensor(Stored("1", 6), [6], [1])}), "impossible shape")
        self.assert_refused(content({"a": tensor(Stored("1", 6), (-1, -6), (1, 1))}), "impossible shape")
        self.assert_refused(content({"a": tensor(Stored("1", 6), (True,), (1,))}), "impossible shape")
        self.assert_refused(content({"a": tensor(Stored("1", 6), (3, 2), (1, 3))}), "row-major")
        self.assert_refused(content({"a": tensor(Stored("1", 6), (7,), (1,))}), "larger than its storage")
        self.assert_refused(content({"a": tensor(Stored("1", 6), (6,), (1,), offset=1)}), "larger than its storage")

    def test_known_names_cannot_be_changed(self):
        for module, name in ALLOWED:
            for state in ({"size": 0}, (None, {"size": 0, "__defaults__": ()})):
                with self.subTest(name=name):
                    self.assert_refused(content({"a": Changed(Name(module, name), state)}), "it is no checkpoint")
        named = Changed(Call(Name("collections", "OrderedDict")), {"_metadata": {}})
        self.assertEqual(self.read(content(named, keys=(), storages=b"")), {})

    def test_a_pickle_that_wants_other_opcodes_or_much_memory_is_refused(self):
        head = pickled(MAGIC)[:-1]
        self.assert_refused(head + b"r\xff\xff\xff\x7f.", "more memory")
        self.assert_refused(pickle.dumps(OrderedDict, 4), "the opcode FRAME")
        self.assert_refused(b"(ios\nsystem\n.", "the opcode INST")
        self.assert_refused(b"\x80\x02\x8b\xff\xff\xff\x7f.", "")
        self.assert_refused(b"\x80\x02X\xff\xff\xff\xff.", "")

    def test_storages_that_do_not_fit_are_refused(self):
        two_sizes = {"a": tensor(Stored("1", 6), (6,), (1,)), "b": tensor(Stored("1", 5), (5,), (1,))}
        self.assert_refused(content(two_sizes), "not known")
        self.assert_refused(content({"a": tensor(Stored("1", 6, view=("v", 0, 6)), (6,), (1,))}), "not known")
        self.assert_refused(content({"a": tensor(Stored("1", -6), (0,), (1,))}), "not known")
        self.assert_refused(content(WHOLE, keys=("2",)), "list of storages")
        self.assert_refused(content(WHOLE, keys=("1", "1")), "list of storages")
        self.assert_refused(content(WHOLE, storages=storage_bytes(1, 2, 3)), "cut off")
        self.assert_refused(content({"a": 1}, keys=(), storages=b""), "`a` is no tensor")

    def test_every_truncation_and_anything_behind_the_end_are_refused(self):
        whole = content(WHOLE)
        self.assertEqual(len(self.read(whole)), 1)
        for length in range(len(whole)):
            self.assert_refused(whole[:length], "")
        self.assert_refused(whole + b"\0", "something follows")

    def test_other_formats_are_refused(self):
        self.assert_refused(b"PK\x03\x04" + bytes(100), "")
        self.assert_refused(content(WHOLE, head=(MAGIC + 1, PROTOCOL, WRITER)), "does not begin like")
        self.assert_refused(content(WHOLE, head=(MAGIC, PROTOCOL + 1, WRITER)), "version")
        self.assert_refused(content(WHOLE, head=(MAGIC, PROTOCOL, {**WRITER, "little_endian": False})), "little-endian")

    def test_flipped_bytes_never_raise_anything_else(self):
        whole = content(WHOLE)
        for position in range(len(whole)):
            changed = bytearray(whole)
            changed[position] ^= (0x01, 0x80, 0xFF)[position % 3]
            with contextlib.suppress(CheckpointError):
                self.read(bytes(changed))


if __name__ == "__main__":
    unittest.main()
