"""The two attack-detection networks from their checkpoints, as ONNX.

Names and shapes of the tensors tell the network: units of convolution, normalisation and PReLU; blocks that widen,
filter each channel and narrow again; three stages, each begun by a block that halves the picture and followed by
blocks whose result is added to their input; in the SE variant, the last block of a stage weighs its channels. Each
normalisation is a fixed scale and shift for each channel, and joins the convolution before it.
"""

import numpy

from checkpoint import CheckpointError, read_checkpoint
from graph import Graph

# What PyTorch adds to a variance before it divides by its root, unless told otherwise.
EPSILON = 1e-5

# The block that halves the picture, and the blocks that follow it.
STAGES = (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5"))

DTYPES = {"f": "<f4", "q": "<i8"}


class _Builder:
    def __init__(self, tensors):
        self.arrays = {
            name.removeprefix("module."): numpy.frombuffer(tensor.data, DTYPES[tensor.code]).reshape(tensor.shape)
            for name, tensor in tensors.items()
            # Counts of training steps.
            if not name.endswith(".num_batches_tracked")
        }
        self.graph = Graph()
        self.count = 0

    def take(self, name):
        """A tensor. Each is taken once, so that what is left over at the end is an error."""
        if name not in self.arrays:
            raise CheckpointError(f"tensor `{name}` is missing or was used already")
        return self.arrays.pop(name).astype("f8")

    def has(self, prefix):
        return any(name.startswith(prefix + ".") for name in self.arrays)

    def node(self, kind, *inputs):
        self.count += 1
        return self.graph.node(kind, list(inputs), f"n{self.count}")

    def normalised(self, weight, name):
        """Weights with the output axis first, and the bias, after joining the normalisation `name`."""
        scale = self.take(f"{name}.weight") / numpy.sqrt(self.take(f"{name}.running_var") + EPSILON)
        bias = self.take(f"{name}.bias") - self.take(f"{name}.running_mean") * scale
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        return weight.astype("<f4"), bias.astype("<f4")

    def convolution(self, source, name, normalisation, stride=1, padding=None):
        weight, bias = self.normalised(self.take(f"{name}.weight"), normalisation)
        # One input channel for each filter: each channel is filtered alone.
        group = len(weight) if weight.shape[1] == 1 else 1
        padding = weight.shape[2] // 2 if padding is None else padding
        self.count += 1
        return self.graph.convolution(
            source, f"n{self.count}", weight, bias, group, (stride, stride), (padding,) * 4
        )

    def unit(self, source, name, stride=1, padding=None):
        source = self.convolution(source, f"{name}.conv", f"{name}.bn", stride, padding)
        if not self.has(f"{name}.prelu"):
            return source
        slope = self.take(f"{name}.prelu.weight").astype("<f4").reshape(-1, 1, 1)
        return self.node("PRelu", source, self.graph.constant(slope))

    def weighed(self, source, name):
        """Squeeze and excitation: each channel times a weight that follows from the means of all channels."""
        weights = self.node("GlobalAveragePool", source)
        weights = self.node("Relu", self.convolution(weights, f"{name}.fc1", f"{name}.bn1"))
        weights = self.node("Sigmoid", self.convolution(weights, f"{name}.fc2", f"{name}.bn2"))
        return self.node("Mul", source, weights)

    def block(self, source, name, stride=1):
        source = self.unit(source, f"{name}.conv")
        source = self.unit(source, f"{name}.conv_dw", stride)
        source = self.unit(source, f"{name}.project")
        return self.weighed(source, f"{name}.se_module") if self.has(f"{name}.se_module") else source

    def stages(self, source):
        for halving, following in STAGES:
            source = self.block(source, halving, stride=2)
            number = 0
            while self.has(f"{following}.model.{number}"):
                source = self.node("Add", source, self.block(source, f"{following}.model.{number}"))
                number += 1
        return source

    def classes(self, source, output):
        """From the channels' values to one number for each class."""
        flat = self.node("Reshape", source, self.graph.constant(numpy.array([1, -1], "<i8")))
        weight, bias = self.normalised(self.take("linear.weight"), "bn")
        features = self.node("MatMul", flat, self.graph.constant(weight.T))
        features = self.node("Add", features, self.graph.constant(bias))
        weight = self.take("prob.weight").astype("<f4")
        return self.graph.node("MatMul", [features, self.graph.constant(weight.T)], output)


def convert(conversion, paths):
    """The ONNX file's content."""
    (source,) = conversion.sources
    builder = _Builder(read_checkpoint(paths[source]))
    try:
        end = builder.unit(conversion.input["name"], "conv1", stride=2)
        end = builder.stages(builder.unit(end, "conv2_dw"))
        # The last filter has the size of what is left of the picture, and makes one number of each channel.
        end = builder.unit(builder.unit(end, "conv_6_sep"), "conv_6_dw", padding=0)
        builder.classes(end, conversion.output["name"])
        if builder.arrays:
            left = sorted(builder.arrays)
            raise CheckpointError(f"{len(left)} tensor(s) have no place, the first is `{left[0]}`")
    except CheckpointError as error:
        raise CheckpointError(f"`{source}` is refused: {error}") from error
    return builder.graph.model(conversion)
