"""Runs networks and compares what they give. Needs numpy and onnxruntime, and openvino where it is installed."""

import numpy
import onnxruntime

# Largest difference that counts as equal, relative to the largest output. Two runtimes differ by 1e-6 to 1e-5.
BAR = 1e-4

# Numbers of each output that the reference file keeps.
REFERENCE_NUMBERS = 8


def _noise(count, seed):
    """Whole numbers of 0 to 255 that are the same with every version of numpy (splitmix64)."""
    with numpy.errstate(over="ignore"):
        state = (numpy.arange(count, dtype="u8") + numpy.uint64(seed << 32)) * numpy.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return (state >> numpy.uint64(56)).astype("f4")


def inputs(shape):
    """Pictures by name, values 0 to 255: flat ones, slopes, squares, an oval with eyes and mouth, and noise."""
    _, channels, height, width = shape
    y, x = numpy.mgrid[0:height, 0:width].astype("f8")
    u, v = x / (width - 1), y / (height - 1)

    def inside(centre, size):
        return ((u - centre[0]) / size[0]) ** 2 + ((v - centre[1]) / size[1]) ** 2 < 1

    face = numpy.where(inside((0.5, 0.5), (0.38, 0.48)), 180.0, 40.0)
    for centre, size in (((0.32, 0.46), (0.07, 0.04)), ((0.68, 0.46), (0.07, 0.04)), ((0.5, 0.8), (0.17, 0.04))):
        face[inside(centre, size)] = 70.0
    planes = {
        "black": numpy.zeros_like(u),
        "grey": numpy.full_like(u, 128.0),
        "white": numpy.full_like(u, 255.0),
        "slope right": numpy.floor(u * 255),
        "slope down": numpy.floor(v * 255),
        "squares": ((x // 8 + y // 8) % 2) * 255.0,
        "oval": face,
    }
    # The channels differ, so that a network that swaps them is found out.
    gains = numpy.linspace(1.0, 0.7, channels).reshape(1, channels, 1, 1)
    pictures = {name: numpy.floor(plane[None, None] * gains).astype("f4") for name, plane in planes.items()}
    for seed in range(5):
        pictures[f"noise {seed}"] = _noise(numpy.prod(shape), seed).reshape(shape)
    return pictures


def session(source, name):
    """Loads an ONNX file or its content on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    source = source if isinstance(source, bytes) else str(source)
    loaded = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    loaded.name = name
    return loaded


def ends(loaded):
    """Names and shapes of inputs and outputs."""
    return [[(end.name, end.shape) for end in side] for side in (loaded.get_inputs(), loaded.get_outputs())]


def run(loaded, pictures):
    """The first output for each picture."""
    name = loaded.get_inputs()[0].name
    return {label: loaded.run(None, {name: picture})[0] for label, picture in pictures.items()}


def run_ir(xml_path, pictures):
    """The same with the OpenVINO runtime, or None where it is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    # Without the hint the runtime may compute in 16 bits on processors that can.
    compiled = openvino.Core().compile_model(str(xml_path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {label: compiled([picture])[0] for label, picture in pictures.items()}


def difference(ours, others):
    """Largest difference, and largest output of the others. Outputs that are no numbers differ without limit."""
    largest, scale = 0.0, 0.0
    for label, output in others.items():
        mine = numpy.asarray(ours[label]).reshape(-1)[: output.size]
        delta = numpy.abs(mine.astype("f8") - numpy.asarray(output).reshape(-1).astype("f8"))
        delta = delta.max() if numpy.isfinite(delta).all() else numpy.inf
        largest, scale = max(largest, float(delta)), max(scale, float(numpy.abs(output).max()))
    return largest, scale


def excerpt(outputs):
    """What the reference file keeps of the outputs."""
    return {
        label: [float(f"{value:.9g}") for value in output.reshape(-1)[:REFERENCE_NUMBERS]]
        for label, output in outputs.items()
    }


def from_excerpt(reference):
    """The reference as outputs to compare with."""
    return {label: numpy.array(values, "f8") for label, values in reference.items()}
