"""Pinned files: what is taken, and what is refused by name."""

import contextlib
import hashlib
import io
import tempfile
import unittest
from pathlib import Path

import upstream
from upstream import ModelsError, Upstream, check, read_sources

CONTENT = b"the numbers of a network"
FILE = Upstream(
    "net.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "owner/project", "0123456789abcdef", "deep/Net.bin",
    "MIT",
)  # fmt: skip


class UpstreamTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def check(self, *files, folders=None):
        with contextlib.redirect_stdout(io.StringIO()):
            return check(files, folders or [self.folder])

    def assert_refused(self, *because):
        with self.assertRaises(ModelsError) as caught:
            self.check(FILE)
        for text in (*because, "owner/project at commit 0123456789ab, path deep/Net.bin"):
            self.assertIn(text, str(caught.exception))

    def test_a_file_is_found_by_its_name_or_by_that_of_its_origin(self):
        for name in ("net.bin", "Net.bin"):
            path = self.folder / name
            path.write_bytes(CONTENT)
            self.assertEqual(self.check(FILE, folders=[self.folder / "absent", self.folder]), {"net.bin": path})
            path.unlink()

    def test_a_missing_file_is_refused_with_its_origin(self):
        self.assert_refused("`net.bin` is missing")

    def test_an_altered_file_is_refused_by_name(self):
        for position in range(len(CONTENT)):
            altered = bytearray(CONTENT)
            altered[position] ^= 1
            (self.folder / "net.bin").write_bytes(altered)
            self.assert_refused("net.bin` was altered: its SHA-256 is", f"instead of {FILE.sha256}")

    def test_a_file_of_another_size_is_refused_by_name(self):
        (self.folder / "net.bin").write_bytes(CONTENT[:-1])
        self.assert_refused("net.bin` has 23 bytes instead of 24: it is cut off")
        (self.folder / "net.bin").write_bytes(CONTENT + b"\n")
        self.assert_refused("net.bin` has 25 bytes instead of 24: it is another file")

    def test_all_problems_come_at_once(self):
        (self.folder / "net.bin").write_bytes(b"")
        other = Upstream("other.bin", 1, "0" * 64, "owner/project", "0" * 40, "other.bin", "MIT")
        with self.assertRaisesRegex(ModelsError, r"2 upstream file\(s\)(.|\n)*net.bin(.|\n)*other.bin"):
            self.check(FILE, other)

    def test_the_data_file_pins_everything_that_is_built(self):
        sources = read_sources(Path(upstream.__file__).with_name("sources.toml"))
        self.assertGreaterEqual(len(sources.conversions), 4)
        for file in sources.upstream.values():
            self.assertRegex(file.sha256, "^[0-9a-f]{64}$", file.name)
            self.assertRegex(file.commit, "^[0-9a-f]{40}$", file.name)
            self.assertIn(file.licence, ("MIT", "Apache-2.0"), file.name)
            self.assertTrue(0 < file.bytes <= upstream.FILE_BYTES_MAX, file.name)

    def test_a_data_file_with_gaps_or_unknown_keys_is_refused(self):
        conversion = '[[conversion]]\nname = "a"\nkind = "k"\nfrom = ["b"]\nproducer = ""\nrebuilt_sha256 = ""\n'
        conversion += "input = {}\noutput = {}\n"
        for text, because in (
            ("upstream = []\n" + conversion, "`b` is not pinned"),
            ("upstream = []\nconversion = []\nmirror = 1\n", "`mirror` is not known"),
            ("upstream = [{ name = 'a' }]\nconversion = []\n", "not understood"),
        ):
            path = self.folder / "sources.toml"
            path.write_text(text, encoding="utf-8")
            with self.assertRaisesRegex(ModelsError, because):
                read_sources(path)


if __name__ == "__main__":
    unittest.main()
