"""Small networks in OpenVINO IR: what is read, and what is refused."""

import struct
import tempfile
import unittest
from pathlib import Path

from openvino_ir import IrError, parse_ir, read_ir

BLOB = struct.pack("<2f", 1, 2)

NETWORK = """<?xml version="1.0"?>
<net name="n" version="11">
  <layers>
    <layer id="0" name="in" type="Parameter" version="opset1">
      <data shape="1,2" element_type="f32"/>
      <output><port id="0"><dim>1</dim><dim>2</dim></port></output>
    </layer>
    <layer id="1" name="bias" type="Const" version="opset1">
      <data element_type="f32" shape="1, 2" offset="0" size="8"/>
      <output><port id="0"><dim>1</dim><dim>2</dim></port></output>
    </layer>
    <layer id="2" name="sum" type="Add" version="opset1">
      <input><port id="0"/><port id="1"/></input>
      <output><port id="2"><dim>1</dim><dim>2</dim></port></output>
    </layer>
    <layer id="3" name="out" type="Result" version="opset1"><input><port id="0"/></input></layer>
  </layers>
  <edges>
    <edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
    <edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
    <edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
  </edges>
</net>
"""


class OpenVinoIrTest(unittest.TestCase):
    def test_layers_come_with_inputs_shape_and_numbers(self):
        layers = parse_ir(NETWORK, BLOB)
        self.assertEqual([layer.type for layer in layers.values()], ["Parameter", "Const", "Add", "Result"])
        self.assertEqual((layers["2"].inputs, layers["2"].shape), (("0", "1"), (1, 2)))
        self.assertEqual(layers["1"].data, BLOB)

    def test_what_does_not_fit_is_refused(self):
        for old, new, because in (
            ('type="Add"', 'type="Erf"', r"layer 2 \(sum\) is a `Erf`"),
            ('"Add" version="opset1"', '"Add" version="opset9"', "of `opset9`"),
            ('version="11"', 'version="10"', "IR version 11"),
            ('offset="0"', 'offset="4"', "does not fit into the .bin"),
            ('offset="0"', 'offset="-8"', "does not fit into the .bin"),
            ('shape="1, 2"', 'shape="1, 3"', "does not fit into the .bin"),
            ('<data element_type="f32"', '<data element_type="i64"', "consists of `i64`"),
            ('to-layer="2" to-port="1"', 'to-layer="2" to-port="0"', "two edges"),
            ('to-layer="2" to-port="1"', 'to-layer="2" to-port="7"', "comes from nowhere"),
            ('from-layer="1" from-port="0"', 'from-layer="3" from-port="0"', "before a layer that it needs"),
            ('<layer id="1"', '<layer id="0"', "comes twice"),
            ('type="Result"', 'type="Sigmoid"', "0 outputs"),
        ):
            with self.subTest(new=new):
                self.assertIn(old, NETWORK)
                with self.assertRaisesRegex(IrError, because):
                    parse_ir(NETWORK.replace(old, new, 1), BLOB)
        with self.assertRaisesRegex(IrError, "does not fit into the .bin"):
            parse_ir(NETWORK, BLOB[:-1])

    def test_a_refusal_names_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            xml = Path(folder) / "net.xml"
            xml.write_text(NETWORK[:-10], encoding="utf-8")
            xml.with_suffix(".bin").write_bytes(BLOB)
            with self.assertRaisesRegex(IrError, "`net.xml` is refused"):
                read_ir(xml, xml.with_suffix(".bin"))


if __name__ == "__main__":
    unittest.main()
