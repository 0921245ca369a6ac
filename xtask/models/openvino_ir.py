"""Reads a network in OpenVINO IR (an .xml with the layers, a .bin with the numbers). Standard library only.

Twelve types of layer occur in the two networks that we convert. Others are refused by name: guessing what they mean
would make a network that almost works.
"""

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

TYPES = {
    "Add", "AvgPool", "Const", "Convert", "Convolution", "GroupConvolution", "MaxPool", "Multiply", "PReLU",
    "Parameter", "Result", "Sigmoid",
}  # fmt: skip

# Bytes of one number.
SIZES = {"f16": 2, "f32": 4}


class IrError(Exception):
    """The file is no network that this module reads."""


@dataclass(frozen=True)
class Layer:
    """One layer. `inputs` are ids of layers, `shape` is that of its output, `data` the numbers of a constant."""

    id: str
    type: str
    attributes: dict
    inputs: tuple
    shape: tuple
    data: bytes


def numbers(text):
    """The whole numbers of a list like `1, 3, 48, 48`."""
    return tuple(int(part) for part in text.split(",") if part.strip())


def _constant(attributes, blob, where):
    kind, offset, size = attributes.get("element_type"), int(attributes["offset"]), int(attributes["size"])
    if kind not in SIZES:
        raise IrError(f"{where} consists of `{kind}`, which is not known")
    if math.prod(numbers(attributes["shape"])) * SIZES[kind] != size or offset < 0 or offset + size > len(blob):
        raise IrError(f"{where} does not fit into the .bin file")
    return blob[offset : offset + size]


def _layer(element, sources, blob):
    number, kind = element.attrib["id"], element.attrib["type"]
    where = f"layer {number} ({element.get('name')})"
    if kind not in TYPES or element.get("version") != "opset1":
        raise IrError(f"{where} is a `{kind}` of `{element.get('version')}`, which this converter does not know")
    data = element.find("data")
    attributes = dict(data.attrib) if data is not None else {}
    ports = [port.attrib["id"] for port in element.findall("input/port")]
    if any((number, port) not in sources for port in ports):
        raise IrError(f"an input of {where} comes from nowhere")
    outputs = element.findall("output/port")
    if len(outputs) != (kind != "Result"):
        raise IrError(f"{where} has {len(outputs)} outputs")
    shape = tuple(int(size.text) for port in outputs for size in port.findall("dim"))
    constant = _constant(attributes, blob, where) if kind == "Const" else b""
    return Layer(number, kind, attributes, tuple(sources[number, port] for port in ports), shape, constant)


def parse_ir(xml, blob):
    """The layers by id, in an order in which each comes after those that it needs."""
    network = ElementTree.fromstring(xml)
    if network.tag != "net" or network.get("version") != "11":
        raise IrError("it is no network of IR version 11")
    sources = {}
    for edge in network.findall("edges/edge"):
        end = (edge.attrib["to-layer"], edge.attrib["to-port"])
        if end in sources:
            raise IrError(f"layer {end[0]} has two edges to one input")
        sources[end] = edge.attrib["from-layer"]
    layers = {}
    for element in network.findall("layers/layer"):
        layer = _layer(element, sources, blob)
        if layer.id in layers or any(source not in layers for source in layer.inputs):
            raise IrError(f"layer {layer.id} comes twice or before a layer that it needs")
        layers[layer.id] = layer
    ends = [sum(layer.type == kind for layer in layers.values()) for kind in ("Parameter", "Result")]
    if ends != [1, 1]:
        raise IrError(f"it has {ends[0]} inputs and {ends[1]} outputs instead of one of each")
    return layers


def read_ir(xml_path, bin_path):
    """Reads and checks the two files. Pass only files whose hashes were checked."""
    try:
        return parse_ir(Path(xml_path).read_bytes(), Path(bin_path).read_bytes())
    except (IrError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise IrError(f"`{Path(xml_path).name}` is refused: {error}") from error
