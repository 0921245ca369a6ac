"""OpenVINO IR to ONNX: layer by layer, weights widened to 32 bits, biases joined with their convolutions."""

import numpy

from graph import Graph
from openvino_ir import IrError, numbers, read_ir

DTYPES = {"f16": "<f2", "f32": "<f4"}
ELEMENTWISE = {"Add": "Add", "Multiply": "Mul", "Sigmoid": "Sigmoid"}


def _constant_of(layers, number):
    """The numbers of a layer that is a constant, or of one widened by `Convert`; else None."""
    layer = layers[number]
    if layer.type == "Convert":
        if layer.attributes.get("destination_type") != "f32":
            raise IrError(f"layer {number} converts to something else than 32-bit floats")
        return _constant_of(layers, layer.inputs[0])
    if layer.type != "Const":
        return None
    array = numpy.frombuffer(layer.data, DTYPES[layer.attributes["element_type"]])
    return array.astype("<f4").reshape(numbers(layer.attributes["shape"]))


def _sliding(layer):
    """Stride and padding of a convolution or pool."""
    attributes = layer.attributes
    plain = {"auto_pad": "explicit", "rounding_type": "floor", "dilations": "1, 1"}
    for key, value in plain.items():
        if attributes.get(key, value) != value:
            raise IrError(f"layer {layer.id} has {key} `{attributes[key]}` instead of `{value}`")
    padding = numbers(attributes["pads_begin"]) + numbers(attributes["pads_end"])
    return numbers(attributes["strides"]), padding


def _weights(layer, weight):
    """Weights with the axes of ONNX, and the number of groups."""
    if layer.type == "Convolution":
        return weight, 1
    return weight.reshape(-1, *weight.shape[2:]), weight.shape[0]


class _Converter:
    def __init__(self, layers, conversion):
        self.layers = layers
        self.graph = Graph()
        self.names = {}
        self.joined = set()
        (self.result,) = (layer.inputs[0] for layer in layers.values() if layer.type == "Result")
        self.output = conversion.output["name"]

    def readers(self, number):
        return [layer for layer in self.layers.values() if number in layer.inputs]

    def name(self, layer, last=None):
        """A layer's name in the graph, where `last` is the layer that was joined with it."""
        return self.output if self.result in (layer.id, last and last.id) else f"n{layer.id}"

    def operand(self, number):
        constant = _constant_of(self.layers, number)
        return self.names[number] if constant is None else self.graph.constant(constant)

    def bias_of(self, layer):
        """The addition that follows a convolution with one number for each channel, and the numbers."""
        match self.readers(layer.id):
            case [add] if add.type == "Add" and layer.id != self.result:
                (other,) = (number for number in add.inputs if number != layer.id)
                constant = _constant_of(self.layers, other)
                if constant is not None and constant.shape == (1, layer.shape[1], 1, 1):
                    return add, constant.reshape(-1)
        return layer, None

    def convolution(self, layer):
        weight, group = _weights(layer, _constant_of(self.layers, layer.inputs[1]))
        stride, padding = _sliding(layer)
        last, bias = self.bias_of(layer)
        source = self.names[layer.inputs[0]]
        name = self.graph.convolution(source, self.name(layer, last), weight, bias, group, stride, padding)
        self.joined.add(last.id)
        self.names[last.id] = name

    def pool(self, layer):
        stride, padding = _sliding(layer)
        attributes = {"kernel_shape": numbers(layer.attributes["kernel"]), "strides": stride, "pads": padding}
        if layer.type == "AvgPool":
            attributes["count_include_pad"] = int(layer.attributes["exclude-pad"] != "true")
        kind = {"AvgPool": "AveragePool", "MaxPool": "MaxPool"}[layer.type]
        source = self.names[layer.inputs[0]]
        self.names[layer.id] = self.graph.node(kind, [source], self.name(layer), ceil_mode=0, **attributes)

    def prelu(self, layer):
        slope = _constant_of(self.layers, layer.inputs[1]).reshape(-1, 1, 1)
        inputs = [self.names[layer.inputs[0]], self.graph.constant(slope)]
        self.names[layer.id] = self.graph.node("PRelu", inputs, self.name(layer))

    def elementwise(self, layer):
        inputs = [self.operand(number) for number in layer.inputs]
        self.names[layer.id] = self.graph.node(ELEMENTWISE[layer.type], inputs, self.name(layer))

    def layer(self, layer):
        if layer.type in ("Convolution", "GroupConvolution"):
            self.convolution(layer)
        elif layer.type in ("AvgPool", "MaxPool"):
            self.pool(layer)
        elif layer.type == "PReLU":
            self.prelu(layer)
        elif layer.type in ELEMENTWISE and layer.id not in self.joined:
            self.elementwise(layer)


def convert(conversion, paths):
    """The ONNX file's content."""
    layers = read_ir(*(paths[name] for name in conversion.sources))
    converter = _Converter(layers, conversion)
    for layer in layers.values():
        if layer.type == "Parameter":
            if layer.shape != tuple(conversion.input["shape"]):
                raise IrError(f"`{conversion.sources[0]}` takes {layer.shape} instead of {conversion.input['shape']}")
            converter.names[layer.id] = conversion.input["name"]
        converter.layer(layer)
    return converter.graph.model(conversion)
