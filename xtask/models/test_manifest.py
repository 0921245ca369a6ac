"""Manifests: what changes when files were rebuilt, and that nothing else does."""

import tempfile
import tomllib
import unittest
from pathlib import Path

from manifest import REBUILT, head, read_manifest, with_rebuilt
from upstream import ModelsError

TEXT = """# Facts.

format = 1
name = "pack"

[[file]]
role = "detection"
name = "a.onnx"
bytes = 1
sha256 = "aa"
source = "others, path a"

[[file]]
name = "b.onnx" # the second
bytes = 2       # small
sha256 = "bb"
source = "others \\"b\\""
input = { name = "image" }

[template]
model = "m"
bytes = 2
"""


class ManifestTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "pack.toml"

    def read(self, text):
        self.path.write_text(text, encoding="utf-8")
        return read_manifest(self.path)

    def test_only_size_hash_and_origin_of_rebuilt_files_change(self):
        changed = with_rebuilt(self.read(TEXT), {"b.onnx": (22, "cc")})
        expected = TEXT.replace("bytes = 2       # small", "bytes = 22       # small").replace('"bb"', '"cc"')
        expected = expected.replace('\\"b\\""', f'\\"b\\"{REBUILT}"')
        self.assertEqual(changed, expected)
        self.assertEqual(with_rebuilt(self.read(TEXT), {}), TEXT)

    def test_the_comment_at_the_top_names_what_was_rebuilt(self):
        text = head(["a.onnx"], {"b.onnx": (22, "cc")})
        self.assertIn("byte for byte the published file: a.onnx\n", text)
        self.assertIn("other bytes and the same numbers within 1e-4: b.onnx\n", text)
        self.assertEqual(tomllib.loads(text + TEXT), tomllib.loads(TEXT))

    def test_an_entry_that_cannot_be_changed_is_refused(self):
        for text in (TEXT.replace("bytes = 2       #", "bytes=2 #"), TEXT.replace('"b.onnx"', "'b.onnx'")):
            with self.assertRaisesRegex(ModelsError, "`b.onnx`.*line by line"):
                with_rebuilt(self.read(text), {"b.onnx": (22, "cc")})

    def test_what_is_no_manifest_is_refused_by_name(self):
        for text in ("format = 1", "format = [", TEXT.replace("format = 1", "format = 2"), TEXT.replace("b.", "a.")):
            with self.assertRaisesRegex(ModelsError, "pack.toml"):
                self.read(text)
        self.path.unlink()
        with self.assertRaisesRegex(ModelsError, "pack.toml` is missing"):
            read_manifest(self.path)


if __name__ == "__main__":
    unittest.main()
