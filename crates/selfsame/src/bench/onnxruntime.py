# Times networks on ONNX Runtime, on one thread, as `selfsame bench face` asks on standard input:
# [{"path": ..., "input": ..., "height": ..., "width": ..., "rounds": ...}, ...]. Answers medians in microseconds.
import json
import statistics
import sys
import time

import numpy
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
medians = []
for job in json.load(sys.stdin):
    session = onnxruntime.InferenceSession(job["path"], options, providers=["CPUExecutionProvider"])
    zeros = numpy.zeros((1, 3, job["height"], job["width"]), numpy.float32)
    times = []
    for _ in range(job["rounds"]):
        started = time.perf_counter()
        session.run(None, {job["input"]: zeros})
        times.append(time.perf_counter() - started)
    medians.append(round(statistics.median(times) * 1e6))
json.dump({"version": onnxruntime.__version__, "medians_us": medians}, sys.stdout)
