"""Writes a network as ONNX, always the same bytes for the same network. Needs numpy and onnx."""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

from upstream import ModelsError

# What the published networks have. All runtimes that we know of read both.
OPSET = 13
IR_VERSION = 8


class Graph:
    """Nodes in the order in which they are added; constants `c0`, `c1`, ... in the order of first use."""

    def __init__(self):
        self.nodes = []
        self.constants = []

    def constant(self, array):
        """Adds numbers and gives their name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        """Adds a node with one output and gives the output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(self, source, output, weight, bias=None, group=1, stride=(1, 1), padding=(0, 0, 0, 0)):
        """Adds a convolution. `weight` has the axes output, input of a group, height, width."""
        constants = [self.constant(part) for part in (weight, bias) if part is not None]
        return self.node(
            "Conv", [source, *constants], output, kernel_shape=list(weight.shape[2:]), strides=list(stride),
            pads=list(padding), dilations=[1, 1], group=group,
        )  # fmt: skip

    def model(self, conversion):
        """The file's content, with the ends that the conversion names."""
        ends = [
            helper.make_tensor_value_info(end["name"], TensorProto.FLOAT, end["shape"])
            for end in (conversion.input, conversion.output)
        ]
        graph = helper.make_graph(self.nodes, "g", ends[:1], ends[1:], self.constants)
        model = helper.make_model(
            graph,
            producer_name=conversion.producer,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelsError(f"`{conversion.name}` was built wrongly ({error}). Do: correct xtask/models") from error
        return model.SerializeToString(deterministic=True)
