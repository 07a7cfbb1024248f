"""Live oracle: the installed PyTorch. Usage: torch_oracle.py BRIDGE.so"""
import ctypes
import sys
import time
import warnings

import numpy as np
import torch

from quern import awkward_floats, bridge, floats, geometry_of, ints, quantized, table, time_quantize

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
q = bridge(sys.argv[1])
result = table(f"pytorch {torch.__version__}")
random = np.random.default_rng(1)
TYPES = {"u8": (torch.quint8, 0, 255), "s8": (torch.qint8, -128, 127)}


def scale_of():
    """Powers of two, short decimals, anything: as PyTorch holds it, a double that kernels cast to float."""
    kind = random.integers(0, 3)
    s = 2.0 ** random.integers(-8, 3) if kind == 0 else random.choice([0.1, 0.05, 0.02, 0.0078431377, 1 / 3]) if kind == 1 else random.uniform(1e-3, 0.5)
    return float(np.float32(s))


def codes(lo, hi, n):
    x = random.integers(lo, hi + 1, n)
    x[random.integers(0, n, n // 20)] = random.choice([lo, hi])
    return x


def quantize():
    for name, (dtype, lo, hi) in TYPES.items():
        for _ in range(12):
            s, z = scale_of(), int(random.integers(lo, hi + 1))
            x = awkward_floats(random, 10000, s)
            want = torch.quantize_per_tensor(torch.from_numpy(x), s, z, dtype).int_repr().numpy().astype(np.int32)
            y = np.zeros(x.size, np.int32)
            q.quantize("pytorch", name, x, x.size, quantized(s, z), y)
            result.compare(f"quantize_per_tensor {name}", y, want, f"scale {s} zero {z}")
            codes_ = ints(codes(lo, hi, 10000))
            t = torch._make_per_tensor_quantized_tensor(torch.from_numpy(codes_.astype(np.uint8 if name == "u8" else np.int8)), s, z)
            f = np.zeros(codes_.size, np.float32)
            q.dequantize("pytorch", name, codes_, codes_.size, quantized(s, z), f)
            result.compare(f"dequantize {name}", f, t.dequantize().numpy(), f"scale {s} zero {z}")
            rows, cols = 13, 779
            scales = np.array([scale_of() for _ in range(rows)])
            zeros = random.integers(lo, hi + 1, rows)
            x = np.stack([awkward_floats(random, cols, v) for v in scales])
            want = torch.quantize_per_channel(torch.from_numpy(x), torch.from_numpy(scales), torch.from_numpy(zeros), 0, dtype).int_repr().numpy()
            y = np.zeros(x.shape, np.int32)
            q.quantize_per_channel(name, x, rows, cols, scales, zeros.astype(np.int64), y)
            result.compare(f"quantize_per_channel {name}", y, want.astype(np.int32), f"zeros {zeros}")
    for _ in range(10):
        s = scale_of()
        x = awkward_floats(random, 10000, s)
        want = torch.quantize_per_tensor(torch.from_numpy(x), s, 0, torch.qint32).int_repr().numpy()
        y = np.zeros(x.size, np.int32)
        q.quantize("pytorch", "s32", x, x.size, quantized(s, 0), y)
        result.compare("quantize_per_tensor s32", y, want, f"scale {s}")


def fake_quantize():
    for lo, hi in ((0, 255), (-128, 127), (0, 15), (0, 127)):
        for _ in range(8):
            s, z = scale_of(), int(random.integers(lo, hi + 1))
            x = awkward_floats(random, 4000, s)
            t = torch.from_numpy(x).requires_grad_()
            y = torch.fake_quantize_per_tensor_affine(t, s, z, lo, hi)
            y.backward(torch.ones_like(y))
            got, mask = np.zeros(x.size, np.float32), np.zeros(x.size, np.uint8)
            q.fake_quantize(x, x.size, quantized(s, z), lo, hi, got, mask)
            result.compare("fake_quantize_per_tensor forward", got, y.detach().numpy(), f"scale {s} zero {z} {lo}..{hi}")
            result.compare("fake_quantize_per_tensor gradient", mask.astype(np.float32), t.grad.numpy(), f"scale {s} zero {z}")
            rows, cols = 7, 571
            scales = floats([scale_of() for _ in range(rows)])
            zeros = ints(random.integers(lo, hi + 1, rows))
            x = np.stack([awkward_floats(random, cols, v) for v in scales])
            t = torch.from_numpy(x).requires_grad_()
            want = torch.fake_quantize_per_channel_affine(t, torch.from_numpy(scales), torch.from_numpy(zeros), 0, lo, hi)
            want.backward(torch.ones_like(want))
            got, mask = np.zeros(x.shape, np.float32), np.zeros(x.shape, np.uint8)
            q.fake_quantize_channel(x, rows, cols, scales, zeros, lo, hi, got, mask)
            result.compare("fake_quantize_per_channel forward", got, want.detach().numpy(), f"{lo}..{hi}")
            result.compare("fake_quantize_per_channel gradient", mask.astype(np.float32), t.grad.numpy(), f"{lo}..{hi}")
        # Learnable: a scale and a zero point of its own for each of many small tensors; of one element: no sums, every bit counts.
        for rows, n in ((12600, 1), (12600, 16)):
            scales, zeros = floats([scale_of() for _ in range(rows)]), floats(random.integers(lo, hi + 1, rows))
            x = random.normal(0, 60, (rows, n)) * scales[:, None]
            ties = (random.integers(lo - hi, hi - lo, (rows, n)) + 0.5) * scales[:, None].astype(np.float64)
            x = np.where(random.random((rows, n)) < 0.5, x, ties).astype(np.float32)
            dy = random.normal(0, 1, (rows, n)).astype(np.float32)
            dx, want_dx = np.zeros((rows, n), np.float32), np.zeros((rows, n), np.float32)
            sums, want_sums = np.zeros((2, rows)), np.zeros((2, rows))
            for r in range(rows):
                t = torch.from_numpy(x[r]).requires_grad_()
                st, zt = torch.tensor([scales[r]], requires_grad=True), torch.tensor([zeros[r]], requires_grad=True)
                torch._fake_quantize_learnable_per_tensor_affine(t, st, zt, lo, hi, 0.25).backward(torch.from_numpy(dy[r]))
                want_dx[r], want_sums[0, r], want_sums[1, r] = t.grad.numpy(), st.grad.item(), zt.grad.item()
            q.learnable(x, dy, rows, n, scales, zeros, lo, hi, 0.25, dx, sums[0], sums[1])
            result.compare("fake_quantize_learnable dx", dx + 0, want_dx + 0, f"{lo}..{hi}")
            if n == 1:
                result.compare("fake_quantize_learnable dscale, dzero", floats(sums) + 0, floats(want_sums) + 0, f"{lo}..{hi}")
            else:  # PyTorch sums in float32 in an order of its own: the sums agree to its rounding, 1e-6 of the terms' magnitude
                size = 1e-6 * (np.abs(dy).sum(1) * np.maximum(np.abs(lo - zeros), np.abs(hi - zeros)) * 0.25 + 1)
                result.compare("fake_quantize_learnable sums (to 1e-6)", sums, want_sums, f"{lo}..{hi}", tolerance=np.stack([size, size]))


def observers():
    """Each channel of a per-channel observer is a case: its arithmetic is that of the per-tensor one."""
    from torch.ao.quantization import observer
    n = 60000
    lo = -np.abs(random.normal(0, 1, n) * 10.0 ** random.integers(-9, 3, n)).astype(np.float32)
    hi = np.abs(random.normal(0, 1, n) * 10.0 ** random.integers(-9, 3, n)).astype(np.float32)
    lo[::7], hi[::5] = 0, 0
    lo[::11] = hi[::11] / 2
    mn, mx = np.minimum(lo, hi), np.maximum(lo, hi)
    for name, (dtype, qmin, qmax) in TYPES.items():
        for scheme, affine in ((torch.per_channel_affine, True), (torch.per_channel_symmetric, False)):
            o = observer.PerChannelMinMaxObserver(ch_axis=0, dtype=dtype, qscheme=scheme)
            o(torch.from_numpy(np.stack([lo, hi], 1)))
            want_s, want_z = (v.numpy() for v in o.calculate_qparams())
            s, z = np.zeros(n, np.float32), np.zeros(n, np.int32)
            if affine:
                q.choose("pytorch", name, mn, mx, n, s, z)
            else:
                q.choose_symmetric(mn, mx, n, qmin, qmax, 128 if name == "u8" else 0, s, z)
            kind = "affine" if affine else "symmetric"
            result.compare(f"observer parameters {name} {kind}", s, want_s)
            result.compare(f"observer parameters {name} {kind}", z, want_z.astype(np.int32))


def tensor(c, s, z, signed=False):
    return torch._make_per_tensor_quantized_tensor(torch.from_numpy(c.astype(np.int8 if signed else np.uint8)), s, z)


def elementwise(engine):
    torch.backends.quantized.engine = engine
    system = {"qnnpack": "pytorch_qnnpack", "onednn": "pytorch_onednn", "none": "pytorch"}[engine]
    for kind in ("u8", "s8"):
        signed, (_, lo, hi) = kind == "s8", TYPES[kind]
        if signed and engine == "qnnpack":
            continue  # its kernels take quint8 alone
        for i in range(14):
            n = 16000
            a, b = codes(lo, hi, n), codes(lo, hi, n)
            sa, sb, sy = scale_of(), scale_of(), scale_of()
            if engine == "qnnpack" and not 2.0**-14 <= max(sa / sy, sb / sy) < 2.0**8:
                continue
            za, zb, zy = (int(random.integers(lo, hi + 1)) for _ in range(3))
            ta, tb = tensor(a, sa, za, signed), tensor(b, sb, zb, signed)
            for op, function in (("add", torch.ops.quantized.add), ("mul", torch.ops.quantized.mul)):
                want = function(ta, tb, sy, zy).int_repr().numpy().astype(np.int32)
                y = np.zeros(n, np.int32)
                q.binary(system, op, kind, ints(a), ints(b), n, n, quantized(sa, za), quantized(sb, zb), quantized(sy, zy), y)
                result.compare(f"quantized::{op} {kind} {engine}", y, want, f"{sa},{za} {sb},{zb} -> {sy},{zy}")
    for _ in range(24):
        n, c, h, w, k, stride, pad = 2, 6, 31, 30, int(random.integers(2, 5)), int(random.integers(1, 3)), int(random.integers(0, 2))
        s, z = scale_of(), int(random.integers(0, 256))
        x = codes(0, 255, n * c * h * w).reshape(n, c, h, w)
        if engine != "qnnpack":
            want = torch.nn.functional.avg_pool2d(tensor(x, s, z), k, stride, pad, count_include_pad=False).int_repr().numpy().astype(np.int32)
            y = np.zeros(want.shape, np.int32)
            q.average_pool(system, "u8", 0, ints(x), n, c, h, w, k, stride, pad, quantized(s, z), quantized(s, z), 0, want.shape[2], want.shape[3], y)
            result.compare(f"avg_pool2d {engine}", y, want, f"kernel {k} zero {z}")
        else:
            want = torch.nn.functional.avg_pool2d(tensor(x, s, z), k, stride, 0, count_include_pad=False).int_repr().numpy().astype(np.int32)
            y = np.zeros(want.shape, np.int32)
            q.average_pool(system, "u8", 0, ints(x), n, c, h, w, k, stride, 0, quantized(s, z), quantized(s, z), 0, want.shape[2], want.shape[3], y)
            result.compare(f"avg_pool2d {engine}", y, want, f"kernel {k} zero {z}")


def matrix(engine):
    torch.backends.quantized.engine = engine
    for per_channel in (False, True):
        for relu in (False, True):
            for i in range(12):
                m, k, n = int(random.integers(1, 80)), int(random.integers(1, 300)), int(random.integers(1, 130))
                sx, zx = scale_of(), int(random.integers(0, 128))
                x, w = codes(0, 127, m * k).reshape(m, k), codes(-127, 127, n * k).reshape(n, k)
                # At least two scales: with one, PyTorch's qnnpack takes the per-tensor path, which is the same arithmetic.
                ws = floats([scale_of() / 50 for _ in range(n)]) if per_channel else floats([scale_of() / 50])
                acc = (x - zx) @ w.T
                sy = float(np.float32(np.abs(acc * (sx * ws)).max() / 100 + 1e-3))
                if i % 2:
                    sy = float(2.0 ** np.ceil(np.log2(sy)))  # with power-of-two scales: ties
                if engine == "qnnpack" and np.any(np.float32(sx) * ws / np.float32(sy) >= 1):
                    continue
                zy = int(random.integers(0, 256))
                bias = random.normal(0, sy * 5, n).astype(np.float32)
                if per_channel:
                    tw = torch._make_per_channel_quantized_tensor(torch.from_numpy(w.astype(np.int8)), torch.from_numpy(ws.astype(np.float64)), torch.zeros(n, dtype=torch.int64), 0)
                else:
                    tw = tensor(w, float(ws[0]), 0, signed=True)
                packed = torch.ops.quantized.linear_prepack(tw, torch.from_numpy(bias))
                function = torch.ops.quantized.linear_relu if relu else torch.ops.quantized.linear
                want = function(tensor(x, sx, zx), packed, sy, zy).int_repr().numpy().astype(np.int32)
                y = np.zeros((m, n), np.int32)
                q.linear("pytorch_" + engine, m, k, n, ints(x), quantized(sx, zx), ints(w), ws, ints(np.zeros(ws.size)), ws.size, bias, quantized(sy, zy), int(relu), y)
                result.compare(f"quantized::linear {engine}", y, want, f"{m}x{k}x{n} zx {zx} zy {zy}")


def convolution(engine):
    torch.backends.quantized.engine = engine
    for i in range(330):
        spatial = (2, 1, 3)[i % 3]
        if spatial == 3 and engine == "qnnpack":
            continue  # which has none
        groups = int(random.choice([1, 1, 2, 4]))
        c, o = groups * int(random.integers(1, 7)), groups * int(random.integers(1, 9))
        n = 8 if spatial == 1 else 2
        size = [int(v) for v in random.integers(*{1: (20, 60), 2: (7, 20), 3: (7, 10)}[spatial], spatial)]
        kernel = [int(v) for v in random.integers(1, 4, spatial)]
        stride, dilation = ([int(v) for v in random.integers(1, 3, spatial)] for _ in range(2))
        pad = [int(random.integers(0, 2)) if k > 1 else 0 for k in kernel]
        sx, zx = scale_of(), int(random.integers(0, 128))
        x, weights = codes(0, 127, n * c * int(np.prod(size))).reshape(n, c, *size), codes(-127, 127, o * (c // groups) * int(np.prod(kernel))).reshape(o, c // groups, *kernel)
        ws = floats([scale_of() / 50 for _ in range(o)])
        sy, zy = float(np.float32(max(sx * ws.max() * 127 * 60 * np.sqrt(c * np.prod(kernel)) / 80, float(sx * ws.max()) * 1.01))), int(random.integers(0, 256))
        if i // 3 % 2:
            sy = float(2.0 ** np.ceil(np.log2(sy)))
        bias = random.normal(0, sy * 5, o).astype(np.float32)
        tw = torch._make_per_channel_quantized_tensor(torch.from_numpy(weights.astype(np.int8)), torch.from_numpy(ws.astype(np.float64)), torch.zeros(o, dtype=torch.int64), 0)
        ops = torch.ops.quantized
        prepack, run = {1: (ops.conv1d_prepack, ops.conv1d), 2: (ops.conv2d_prepack, ops.conv2d), 3: (ops.conv3d_prepack, ops.conv3d)}[spatial]
        want = run(tensor(x, sx, zx), prepack(tw, torch.from_numpy(bias), stride, pad, dilation, groups), sy, zy).int_repr().numpy().astype(np.int32)
        y = np.zeros(want.shape, np.int32)
        py = quantized(sy, zy)
        g = geometry_of(n, c, o, groups, size, kernel, stride, pad, pad, dilation, want.shape[2:])
        q.conv("pytorch_" + engine, "u8", "s8", g, ints(x), quantized(sx, zx), ints(weights), ws, ints(np.zeros(o)), o, None, bias, ctypes.byref(py), y)
        result.compare(f"quantized::conv{spatial}d {engine}", y, want, f"groups {groups} {size} kernel {kernel} stride {stride} pad {pad} dilation {dilation}")


quantize()
fake_quantize()
observers()
for e in ("none", "onednn", "qnnpack"):
    elementwise(e)
for e in ("onednn", "qnnpack"):
    matrix(e)
    convolution(e)


def speed():
    x = random.normal(0, 1, 1 << 20).astype(np.float32)
    t, best = torch.from_numpy(x), 1e9
    for _ in range(200):
        begin = time.perf_counter()
        torch.quantize_per_tensor(t, 0.05, 100, torch.quint8)
        best = min(best, time.perf_counter() - begin)
    ours = time_quantize(q, "pytorch", x, 0.05, 100)
    print(f"quantize_per_tensor of {x.size} floats: quern {ours * 1e6:.0f} us, pytorch {best * 1e6:.0f} us, {best / ours:.1f} times as fast")


speed()
result.finish()
