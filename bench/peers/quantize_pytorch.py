"""quantize_pytorch.py FOLDER SCALE ZERO_POINT: torch.quantize_per_tensor of FOLDER/x (float32) to quint8, on one thread.

Writes FOLDER/y (uint8) and prints the seconds of the fastest call, then those of a call with one element.
"""

import sys
import time

import numpy
import torch

folder, scale, zero_point = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)


def fastest(x):
    best = float("inf")
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        begin = time.perf_counter()
        y = torch.quantize_per_tensor(x, scale, zero_point, torch.quint8)
        best = min(best, time.perf_counter() - begin)
    return best, y


x = torch.from_numpy(numpy.fromfile(f"{folder}/x", dtype=numpy.float32))
seconds, y = fastest(x)
y.int_repr().numpy().tofile(f"{folder}/y")
print(seconds, fastest(x[:1])[0])
