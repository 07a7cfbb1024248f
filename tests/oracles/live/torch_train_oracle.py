"""Live oracle: fake quantization, its gradients and the observers of the installed PyTorch.

Usage: torch_train_oracle.py TRAIN_BRIDGE.so          (train_bridge.cpp as a shared library)

Everything bit for bit (a gradient of -0 counts as 0), except: LSQ's sums (float there, double here) to 1e-5 of the sum of magnitudes; HistogramObserver's counts to the
values on an edge (one in 1e4), its searched range to 2 bins, since its float sums decide comparisons.
"""
import sys
import warnings

import numpy as np
import torch
from torch.ao.quantization.observer import HistogramObserver, MinMaxObserver, MovingAverageMinMaxObserver

from quern import awkward_floats, bridge, floats, ints, quantized, table

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
q = bridge(sys.argv[1])
result = table(f"pytorch {torch.__version__}")
random = np.random.default_rng(3)
CODES = {"u8": (0, 255), "s8": (-128, 127)}

for name, (lo, hi) in CODES.items():
    for _ in range(10):
        s, z, n = float(np.float32(random.choice([0.1, 0.25, random.uniform(1e-3, 0.5)]))), int(random.integers(lo, hi + 1)), 20000
        x = floats(np.concatenate([random.normal(0, 100 * s, n - 100), awkward_floats(random, 100, s)[:100]]))
        # 1.13 casts to int64 before it clamps: NaN, infinities and what leaves int64 all become the lowest code; later versions repaired it
        x = np.clip(np.nan_to_num(x, nan=0.0), -1e6 * s, 1e6 * s).astype(np.float32)
        dy = floats(random.normal(size=n))
        tx = torch.from_numpy(x.copy()).requires_grad_()
        ty = torch.fake_quantize_per_tensor_affine(tx, s, z, lo, hi)
        ty.backward(torch.from_numpy(dy))
        y, dx = np.zeros(n, np.float32), np.zeros(n, np.float32)
        q.train_fake_quantize(name, x, n, quantized(s, z), dy, y, dx)
        result.compare(f"fake_quantize {name}", y, ty.detach().numpy(), f"scale {s} zero {z}")
        result.compare(f"fake_quantize {name} gradient", dx, tx.grad.numpy() + 0, f"scale {s} zero {z}")

        z = min(abs(z), hi)  # 1.13 rounds a float zero point by adding 0.5 and truncating: -74 becomes -73
        tx = torch.from_numpy(x.copy()).requires_grad_()
        ts, tz = torch.tensor([s], requires_grad=True), torch.tensor([float(z)], requires_grad=True)
        torch._fake_quantize_learnable_per_tensor_affine(tx, ts, tz, lo, hi, 0.01).backward(torch.from_numpy(dy))
        parameters = np.zeros(2, np.float32)
        q.train_lsq(name, x, n, quantized(s, z), dy, 0.01, dx, parameters)
        result.compare(f"lsq {name} gradient of x", dx, tx.grad.numpy() + 0, f"scale {s} zero {z}")
        bound = 1e-5 * 0.01 * float(np.abs(dy).sum()) * 256
        result.compare(f"lsq {name} gradient of scale", parameters[:1], ts.grad.numpy(), f"scale {s} zero {z}", tolerance=bound)
        result.compare(f"lsq {name} gradient of zero point", parameters[1:], tz.grad.numpy(), f"scale {s} zero {z}", tolerance=bound * s)

        rows, cols = 7, 900
        m = floats(random.normal(0, 20, (rows, cols)))
        scales, zeros = floats(random.uniform(0.01, 0.4, rows)), ints(random.integers(lo, hi + 1, rows))
        want = torch.fake_quantize_per_channel_affine(torch.from_numpy(m), torch.from_numpy(scales), torch.from_numpy(zeros), 0, lo, hi).numpy()
        y = np.zeros((rows, cols), np.float32)
        q.train_fake_quantize_channels(name, m, rows, cols, scales, zeros, y)
        result.compare(f"fake_quantize_per_channel {name}", y, want)

for _ in range(20):
    batches, n = int(random.integers(1, 7)), 3000
    x = floats(random.normal(random.uniform(-2, 2), random.uniform(0.5, 5), (batches, n)) * random.uniform(0.5, 2, (batches, 1)))
    c = float(np.float32(random.choice([0.01, 0.1, 0.5])))
    average, extremes = MovingAverageMinMaxObserver(averaging_constant=c), MinMaxObserver()
    for batch in x:
        average(torch.from_numpy(batch)), extremes(torch.from_numpy(batch))
    got = np.zeros(8, np.float32)
    q.train_observers(x, batches, n, c, got)
    for k, observer in enumerate([average, extremes]):
        scale, zero = observer.calculate_qparams()
        want = floats([observer.min_val.item(), observer.max_val.item(), scale.item(), zero.item()])
        result.compare(type(observer).__name__, got[4 * k:4 * k + 4], want, f"constant {c}")

for _ in range(12):
    batches, n = int(random.integers(1, 5)), 20000
    x = random.normal(0, random.uniform(2, 30), (batches, n)) if random.integers(0, 2) else random.laplace(0, random.uniform(2, 20), (batches, n))
    x = floats(x)
    observer = HistogramObserver()
    for batch in x:
        observer(torch.from_numpy(batch))
    counts, span, kept = np.zeros(2048, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32)
    q.train_histogram(x, batches, n, counts, span, kept)
    result.compare("HistogramObserver span", span, floats([observer.min_val.item(), observer.max_val.item()]))
    difference = np.abs(np.cumsum(counts.astype(np.float64)) - np.cumsum(observer.histogram.numpy().astype(np.float64))).max()
    result.compare("HistogramObserver counts", np.array([difference]), np.array([0.0]), tolerance=1e-4 * batches * n)
    low, high = observer._non_linear_param_search()
    width = (span[1] - span[0]) / 2048
    result.compare("HistogramObserver range", kept, floats([low.item(), high.item()]), f"{batches} batches", tolerance=2.01 * width)

sys.exit(result.finish())
