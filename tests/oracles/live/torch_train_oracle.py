"""Live oracle: fake quantization, its gradients and the observers of the installed PyTorch.

Usage: torch_train_oracle.py TRAIN_BRIDGE.so          (train_bridge.cpp as a shared library)

Everything bit for bit (a gradient of -0 counts as 0), except: LSQ's sums (float there, double here) to 1e-5 of the sum of magnitudes; HistogramObserver's counts to the
values on an edge (one in 1e4), its searched range to 2 bins, since its float sums decide comparisons.
"""
import sys
import warnings

import numpy as np
import torch
from torch.ao.quantization.observer import HistogramObserver, MovingAveragePerChannelMinMaxObserver, PerChannelMinMaxObserver

from quern import awkward_floats, bridge, floats, ints, quantized, table

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
q = bridge(sys.argv[1])
result = table(f"pytorch {torch.__version__}")
random = np.random.default_rng(3)
CODES = {"u8": (0, 255), "s8": (-128, 127)}

for name, (lo, hi) in CODES.items():
    for _ in range(17):
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
        # and it adds the zero point, fused, before it rounds: ties in which that matters are left out (convention::pytorch follows it there)
        inverse = np.float32(1) / np.float32(s)
        x[np.rint(x * inverse) + np.float32(z) != np.rint(x.astype(np.float64) * inverse + z)] = 0
        tx = torch.from_numpy(x.copy()).requires_grad_()
        ts, tz = torch.tensor([s], requires_grad=True), torch.tensor([float(z)], requires_grad=True)
        torch._fake_quantize_learnable_per_tensor_affine(tx, ts, tz, lo, hi, 0.01).backward(torch.from_numpy(dy))
        parameters = np.zeros(2, np.float32)
        q.train_lsq(name, x, n, quantized(s, z), dy, 0.01, dx, parameters)
        result.compare(f"lsq {name} gradient of x", dx, tx.grad.numpy() + 0, f"scale {s} zero {z}")
        bound = 1e-5 * 0.01 * float(np.abs(dy).sum()) * 256
        result.compare(f"lsq {name} gradient of scale", parameters[:1], ts.grad.numpy(), f"scale {s} zero {z}", tolerance=bound, few="torch_oracle.py compares 100,000 of them")
        result.compare(f"lsq {name} gradient of zero point", parameters[1:], tz.grad.numpy(), f"scale {s} zero {z}", tolerance=bound * s, few="torch_oracle.py compares 100,000 of them")

        rows, cols = 7, 900
        m = floats(random.normal(0, 20, (rows, cols)))
        scales, zeros = floats(random.uniform(0.01, 0.4, rows)), ints(random.integers(lo, hi + 1, rows))
        want = torch.fake_quantize_per_channel_affine(torch.from_numpy(m), torch.from_numpy(scales), torch.from_numpy(zeros), 0, lo, hi).numpy()
        y = np.zeros((rows, cols), np.float32)
        q.train_fake_quantize_channels(name, m, rows, cols, scales, zeros, y)
        result.compare(f"fake_quantize_per_channel {name}", y, want)

# Each channel of a per-channel observer is a case: its arithmetic is that of the per-tensor one.
for c in (0.01, 0.1, 0.5):
    rows, batches, n = 9000, int(random.integers(2, 7)), 60
    x = floats(random.normal(random.uniform(-2, 2, (rows, 1, 1)), random.uniform(0.5, 5, (rows, 1, 1)), (rows, batches, n)) * random.uniform(0.5, 2, (rows, batches, 1)))
    average, extremes = MovingAveragePerChannelMinMaxObserver(averaging_constant=c, ch_axis=0), PerChannelMinMaxObserver(ch_axis=0)
    for i in range(batches):
        average(torch.from_numpy(x[:, i].copy())), extremes(torch.from_numpy(x[:, i].copy()))
    got = np.zeros((rows, 2, 4), np.float32)
    q.train_observers(x, rows, batches, n, c, got)
    for k, observer in enumerate([average, extremes]):
        scale, zero = observer.calculate_qparams()
        want = np.stack([observer.min_val.numpy(), observer.max_val.numpy(), scale.numpy(), zero.numpy().astype(np.float32)], 1)
        result.compare(type(observer).__name__, got[:, k], want, f"constant {c}")

for i in range(50):
    batches, n = int(random.integers(1, 5)), 20000
    x = random.normal(0, random.uniform(2, 30), (batches, n)) if random.integers(0, 2) else random.laplace(0, random.uniform(2, 20), (batches, n))
    x = floats(x)
    observer = HistogramObserver()
    for batch in x:
        observer(torch.from_numpy(batch))
    counts, span, kept = np.zeros(2048, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32)
    q.train_histogram(x, batches, n, counts, span, kept)
    few = "a case is an observer's whole history"
    result.compare("HistogramObserver span", span, floats([observer.min_val.item(), observer.max_val.item()]), few=few)
    ours, theirs = np.cumsum(counts.astype(np.float64)), np.cumsum(observer.histogram.numpy().astype(np.float64))
    result.compare("HistogramObserver counts (to 1e-4)", ours, theirs, tolerance=1e-4 * batches * n)
    if i < 12:  # PyTorch takes a second for each
        low, high = observer._non_linear_param_search()
        width = (span[1] - span[0]) / 2048
        result.compare("HistogramObserver range (to 2 bins)", kept, floats([low.item(), high.item()]), f"{batches} batches", tolerance=2.01 * width, few=few)

result.finish()
