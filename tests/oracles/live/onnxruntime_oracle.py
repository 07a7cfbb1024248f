"""Live oracle: onnxruntime-node. Usage: onnxruntime_oracle.py BRIDGE.so NODE_FOLDER [SEED [GROUP...]]

NODE_FOLDER holds node_modules; groups are the functions at the end: quantize_dequantize, binary, unary, pools, volumes, matrices, convolutions.

Models are single nodes, written here as protobuf; one node process runs all of them.
"""
import ctypes
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np

from quern import awkward_floats, bridge, floats, geometry_of, ints, quantized, table, time_quantize

q = bridge(sys.argv[1])
node_folder = pathlib.Path(sys.argv[2])
version = json.loads((node_folder / "node_modules/onnxruntime-node/package.json").read_text())["version"]
result = table(f"onnxruntime {version}")
random = np.random.default_rng(int(sys.argv[3]) if len(sys.argv) > 3 else 2)
groups = sys.argv[4:] or ["quantize_dequantize", "binary", "unary", "pools", "volumes", "matrices", "convolutions"]
# ONNX's number of each type, what numpy holds it in (codes below 8 bits: a byte each), and JavaScript's name, where it has one.
TYPES = {"f32": (1, np.float32, "float32"), "u8": (2, np.uint8, "uint8"), "s8": (3, np.int8, "int8"), "u16": (4, np.uint16, "uint16"), "s16": (5, np.int16, "int16"),
         "s32": (6, np.int32, "int32"), "s64": (7, np.int64, "int64"), "f16": (10, np.float16, None), "e4m3fn": (17, np.uint8, None), "e4m3fnuz": (18, np.uint8, None),
         "e5m2": (19, np.uint8, None), "e5m2fnuz": (20, np.uint8, None), "u4": (21, np.uint8, None), "s4": (22, np.int8, None), "e2m1": (23, np.uint8, None),
         "u2": (25, np.uint8, None), "s2": (26, np.int8, None)}
LIMITS = {"u8": (0, 255), "s8": (-128, 127), "u16": (0, 65535), "s16": (-32768, 32767), "u4": (0, 15), "s4": (-8, 7), "u2": (0, 3), "s2": (-2, 1)}
BITS = {"u4": 4, "s4": 4, "e2m1": 4, "u2": 2, "s2": 2}


# ---- protobuf ----------------------------------------------------------------------------------------------------------

def varint(n):
    n &= 2**64 - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def attribute(name, value):
    if isinstance(value, float):
        return field(1, name) + field(2, value) + field(20, 1)
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, 2)
    if isinstance(value, str):
        return field(1, name) + field(4, value) + field(20, 3)
    return field(1, name) + b"".join(field(8, v) for v in value) + field(20, 7)


def value_info(name, kind):
    return field(1, name) + field(2, field(1, field(1, TYPES[kind][0])))


def raw(kind, a):
    """ONNX's bytes: codes of 2 and 4 bits lie packed, the first in the low bits."""
    a = np.ascontiguousarray(a, dtype=TYPES[kind][1])
    if kind not in BITS:
        return a.tobytes()
    each = 8 // BITS[kind]
    c = np.zeros((a.size + each - 1) // each * each, np.uint8)
    c[:a.size] = a.ravel().view(np.uint8) & (2**BITS[kind] - 1)
    return sum(c[i::each] << np.uint8(i * BITS[kind]) for i in range(each)).astype(np.uint8).tobytes()


def initializer(name, kind, a):
    return b"".join(field(1, d) for d in a.shape) + field(2, TYPES[kind][0]) + field(8, name) + field(9, raw(kind, a))


def node(op, domain, inputs, outputs, attributes):
    return b"".join(field(1, n) for n in inputs) + b"".join(field(2, n) for n in outputs) + field(4, op) + b"".join(field(5, attribute(*a)) for a in attributes.items()) + field(7, domain)


def model(nodes, opset, inputs, constants, outputs):
    graph = b"".join(field(1, n) for n in nodes) + field(2, "g") + b"".join(field(5, initializer(n, *constants[n])) for n in constants)
    graph += b"".join(field(11, value_info(n, kind)) for n, kind in inputs.items()) + b"".join(field(12, value_info(n, kind)) for n, kind in outputs.items())
    opsets = field(8, field(1, "") + field(2, opset)) + field(8, field(1, "com.microsoft") + field(2, 1))
    return field(1, 8 if opset < 21 else 10 if opset < 23 else 11 if opset < 25 else 12) + field(7, graph) + opsets


# ---- requests: all cases are collected, run once, then compared ----------------------------------------------------------

folder = pathlib.Path(tempfile.mkdtemp(prefix="quern_onnx_"))
requests, comparisons, unsupported = [], [], {}


def request(op, domain, inputs, outputs, compare, opset=13, attributes=None, runs=1, may_lack=None):
    """inputs: name -> (type, array) or None (absent), in the operator's order; outputs: name -> type.
    compare(name -> array) is called when the results are there. runs > 1: the first axis of the first input counts runs.
    may_lack: the row that is reported as unsupported when this release of ONNX Runtime refuses the model."""
    number = len(requests)
    data = {n: (v[0], np.ascontiguousarray(v[1], dtype=TYPES[v[0]][1]).reshape(np.shape(v[1]))) for n, v in inputs.items() if v}
    # Everything but the first input is a constant: ONNX Runtime wants constant weights and scales in places. Types that JavaScript
    # lacks are constants too, and come back as float: codes through DequantizeLinear with scale 1, halves through Cast, both exact.
    first = next(iter(inputs))
    fed = {n: v for n, v in data.items() if n == first and TYPES[v[0]][2]}
    nodes, results = [node(op, domain, [n if v else "" for n, v in inputs.items()], list(outputs), attributes or {})], {}
    constants = {n: v for n, v in data.items() if n not in fed}
    for n, kind in outputs.items():
        results[n if TYPES[kind][2] else n + "_f32"] = kind if TYPES[kind][2] else "f32"
        if kind == "f16":
            nodes.append(node("Cast", "", [n], [n + "_f32"], {"to": 1}))
        elif not TYPES[kind][2]:
            constants["one"] = ("f32", np.float32(1).reshape(()))
            nodes.append(node("DequantizeLinear", "", [n, "one"], [n + "_f32"], {}))
    (folder / f"{number}.onnx").write_bytes(model(nodes, opset, {n: v[0] for n, v in fed.items()}, constants, results))
    for n, v in fed.items():
        (folder / f"{number}.in").write_bytes(v[1].tobytes())
    requests.append({"model": f"{number}.onnx", "runs": runs,
                     "inputs": [{"name": n, "type": TYPES[v[0]][2], "dims": list(v[1].shape[1 if runs > 1 else 0:]), "file": f"{number}.in"} for n, v in fed.items()],
                     "outputs": [{"name": n, "file": f"{number}.{n}"} for n in results]})

    def finish():
        error = folder / f"{number}.onnx.error"
        if error.exists():
            if may_lack:
                unsupported.setdefault(may_lack, error.read_text())
                return
            sys.exit(f"onnxruntime: {op}: {error.read_text()}")
        compare({n[:-4] if n.endswith("_f32") else n: np.fromfile(folder / f"{number}.{n}", dtype=TYPES[kind][1]) for n, kind in results.items()})

    comparisons.append(finish)


SMALL = {"e4m3fn": (4, 3, 7, "nan"), "e5m2": (5, 2, 15, "ieee"), "e4m3fnuz": (4, 3, 8, "fnuz"), "e5m2fnuz": (5, 2, 16, "fnuz"), "e2m1": (2, 1, 1, "none")}


def values_of_codes(kind):
    """The value of every code of a small float, from the definition of the format."""
    e_bits, m_bits, bias, special = SMALL[kind]
    c = np.arange(2**(1 + e_bits + m_bits))
    sign, e, m = c >> (e_bits + m_bits), (c >> m_bits) % 2**e_bits, c % 2**m_bits
    v = np.where(e == 0, m * 2.0**(1 - bias - m_bits), (1 + m * 2.0**-m_bits) * 2.0**(e - bias)) * np.where(sign, -1.0, 1.0)
    top = 2**e_bits - 1
    if special == "ieee":
        v[(e == top) & (m == 0)] *= np.inf
        v[(e == top) & (m != 0)] = np.nan
    if special == "nan":
        v[(e == top) & (m == 2**m_bits - 1)] = np.nan
    if special == "fnuz":
        v[(sign == 1) & (e == 0) & (m == 0)] = np.nan
    return v.astype(np.float32)


def scale_of():
    kind = random.integers(0, 3)
    return float(np.float32(2.0 ** random.integers(-8, 3) if kind == 0 else random.choice([0.1, 0.05, 0.02, 1 / 3]) if kind == 1 else random.uniform(1e-3, 0.5)))


def codes(kind, shape):
    lo, hi = LIMITS[kind]
    x = random.integers(lo, hi + 1, shape)
    flat = x.reshape(-1)
    flat[random.integers(0, flat.size, flat.size // 20 + 1)] = random.choice([lo, hi])
    return x


def zero_of(kind):
    lo, hi = LIMITS[kind]
    return int(random.integers(lo, hi + 1))


def linear_cases(kind, shape, block):
    """Scales of an outer x extent x inner tensor (block < 0: one; 0: one a position of the middle axis), and zero points."""
    of_scales = () if block < 0 else shape[1:2] if block == 0 else (shape[0], (shape[1] + block - 1) // block, shape[2])
    scales = floats(np.array([scale_of() for _ in range(int(np.prod(of_scales)))]).reshape(of_scales))
    return scales, codes(kind, of_scales) if kind in LIMITS else np.zeros(of_scales, int)


def quantize_linear(kind, shape, block, real="f32", saturate=True, opset=21, may_lack=None):
    scales, zeros = linear_cases(kind, shape, block)
    if kind in LIMITS:
        x = awkward_floats(random, int(np.prod(shape)), float(scales.ravel()[0]) * (100 if kind.endswith("16") else 1)).reshape(shape)
    else:  # ties between neighbouring codes, and what lies beside them
        values = values_of_codes(kind)
        values = np.sort(values[np.isfinite(values)])
        i = random.integers(0, values.size - 1, shape)
        steps = (values[i] + values[i + 1]) / 2
        steps = np.where(random.random(shape) < 0.3, np.nextafter(steps, random.choice([-np.inf, np.inf], shape).astype(np.float32)), steps)
        steps = np.where(random.random(shape) < 0.3, values[i] * random.uniform(0.5, 1.5, shape), steps)
        x = floats(steps * np.float64(scales.ravel()[0]))
        x.ravel()[:40] = awkward_floats(random, 100, 1.0)[-40:]
        x.ravel()[40:50] = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-40, 3.4e38, -3.4e38]
    if real == "f16":
        with np.errstate(over="ignore"):
            x, scales = x.astype(np.float16), np.maximum(scales.astype(np.float16), np.float16(1e-3))
    label = f"QuantizeLinear {kind}" + (" per axis" if block == 0 else " blocked" if block > 0 else "") + (" f16" if real == "f16" else "") + ("" if saturate else " to specials")

    def check(r):
        y = np.zeros(shape, np.int32)
        q.quantize_linear(kind, real, floats(x), *shape, block, floats(scales), ints(zeros) if kind in LIMITS else None, int(saturate), y)
        y = y.ravel()
        # What travels back as float is compared as the value that the code has.
        got = y if TYPES[kind][2] else y.astype(np.float32) if kind in LIMITS else values_of_codes(kind)[y]
        result.compare(label, got, r["y"].astype(got.dtype), f"{shape} block {block} scale {scales.ravel()[0]}", inputs=x)

    attributes = {"saturate": 0} if not saturate else {}
    if block >= 0:
        attributes.update({"axis": 1, "block_size": block})
    request("QuantizeLinear", "", {"x": (real, x), "s": (real, scales), "z": (kind, zeros)}, {"y": kind}, check, opset=opset, attributes=attributes, may_lack=may_lack and label)


def dequantize_linear(kind, shape, block, real="f32", opset=21, may_lack=None):
    zero_kind = None if kind == "s32" else kind
    scales, zeros = linear_cases(kind, shape, block)
    if kind == "s32":
        x = random.integers(-2**31, 2**31, shape) >> random.integers(0, 31, shape)
    else:
        x = codes(kind, shape) if kind in LIMITS else random.integers(0, values_of_codes(kind).size, shape)
    if real == "f16":
        scales = np.maximum(scales.astype(np.float16), np.float16(1e-3))
    label = f"DequantizeLinear {kind}" + (" per axis" if block == 0 else " blocked" if block > 0 else "") + (" f16" if real == "f16" else "")

    def check(r):
        y = np.zeros(shape, np.float32)
        q.dequantize_linear(kind, real, ints(x), *shape, block, floats(scales), ints(zeros) if kind in LIMITS else None, y)
        result.compare(label, y.ravel(), r["y"], f"{shape} block {block} scale {scales.ravel()[0]}", inputs=x)

    inputs = {"x": (kind, x), "s": (real, scales)}
    if zero_kind:
        inputs["z"] = (zero_kind, zeros)
    request("DequantizeLinear", "", inputs, {"y": real}, check, opset=opset, attributes={"axis": 1, "block_size": block} if block >= 0 else {}, may_lack=may_lack and label)


def quantize_dequantize():
    opsets = {"e2m1": 23, "u2": 25, "s2": 25}
    for kind in ("u8", "s8", "u16", "s16", "u4", "s4", "u2", "s2", "e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e2m1", "s32"):
        opset, lack = opsets.get(kind, 21), kind if kind in opsets or kind in SMALL else None
        for i in range(8):
            whole = (1, 1, 16384 - i % 2)
            axis, block = (3, int(random.integers(60, 90)), int(random.choice([7, 64, 101]))), int(random.choice([16, 5, 32]))
            axis = (axis[0], axis[1], axis[2] * (16384 // (axis[0] * axis[1] * axis[2]) + 1))
            blocked = axis if i % 2 else (axis[0] * axis[2], axis[1], 1)  # blocks along the last axis have a kernel of their own
            for shape, b in ((whole, -1), (axis, 0), (blocked, block)):
                if kind != "s32":
                    quantize_linear(kind, shape, b, opset=opset, may_lack=lack)
                    if kind in SMALL and kind != "e2m1" and b < 0:
                        quantize_linear(kind, shape, b, saturate=False, opset=opset, may_lack=lack)
                    if kind in ("u8", "s8", "s4", "e4m3fn") and b < 0:
                        quantize_linear(kind, shape, b, real="f16", opset=opset, may_lack=lack)
                dequantize_linear(kind, shape, b, opset=opset, may_lack=lack)
                if kind in ("u8", "s16", "s4", "e4m3fn") and b < 0:
                    dequantize_linear(kind, shape, b, real="f16", opset=opset, may_lack=lack)
    for spread, n, runs in ((0, 2000, 60), (1, 7, 100000)):
        x = (random.normal(0, 1, (runs, n)) * 10.0 ** random.integers(-6, 6, (runs, 1)) + random.normal(0, 1, (runs, 1)) * 10.0 ** random.integers(-6, 2, (runs, 1))).astype(np.float32)
        x[0::10], x[1::10], x[2::10] = 0, np.abs(x[1::10]), -np.abs(x[2::10])

        def check(r, x=x, runs=runs):
            y, s, z = np.zeros(x.shape, np.int32), np.zeros(runs, np.float32), np.zeros(runs, np.int32)
            q.dynamic_quantize(x, *x.shape, y, s, z)
            result.compare("DynamicQuantizeLinear", y.ravel(), r["y"].astype(np.int32))
            result.compare("DynamicQuantizeLinear parameters", s, r["s"])
            result.compare("DynamicQuantizeLinear parameters", z, r["z"].astype(np.int32))

        request("DynamicQuantizeLinear", "", {"x": ("f32", x)}, {"y": "u8", "s": "f32", "z": "u8"}, check, opset=11, runs=runs)


def binary():
    for op in ("add", "mul"):
        for kind in ("u8", "s8"):
            for i in range(32):
                n = 13000
                pa, pb, py = ((scale_of(), zero_of(kind)) for _ in range(3))
                a = codes(kind, n)
                b = codes(kind, 1 if i % 4 == 3 else n)

                def check(r, a=a, b=b, pa=pa, pb=pb, py=py, op=op, kind=kind):
                    y = np.zeros(a.size, np.int32)
                    q.binary("onnx_runtime", op, kind, ints(a), ints(b), a.size, b.size, quantized(*pa), quantized(*pb), quantized(*py), y)
                    result.compare(f"QLinear{op.capitalize()} {kind}" + (" broadcast" if b.size == 1 else ""), y, r["y"].astype(np.int32), f"{pa} {pb} -> {py}")

                request(f"QLinear{op.capitalize()}", "com.microsoft",
                        {"a": (kind, a), "as": ("f32", np.float32(pa[0])), "az": (kind, np.array(pa[1])), "b": (kind, b), "bs": ("f32", np.float32(pb[0])),
                         "bz": (kind, np.array(pb[1])), "ys": ("f32", np.float32(py[0])), "yz": (kind, np.array(py[1]))}, {"y": kind}, check)


def unary():
    for kind in ("u8", "s8"):
        lo, hi = LIMITS[kind]
        everything = np.arange(lo, hi + 1)
        for i in range(400):  # 256 codes each
            px, py = (scale_of() * 4, zero_of(kind)), ((1 / 256, lo) if i % 2 else (scale_of() / 16, zero_of(kind)))
            for op in ("Sigmoid", "LeakyRelu"):
                alpha = float(np.float32(random.uniform(-0.5, 1.0)))

                def check(r, px=px, py=py, op=op, alpha=alpha, kind=kind, x=everything):
                    y = np.zeros(x.size, np.int32)
                    q.unary("sigmoid" if op == "Sigmoid" else "leaky", kind, ints(x), x.size, quantized(*px), alpha, quantized(*py), y)
                    result.compare(f"QLinear{op} {kind}", y, r["y"].astype(np.int32), f"{px} -> {py} alpha {alpha}")

                request(f"QLinear{op}", "com.microsoft", {"x": (kind, everything), "xs": ("f32", np.float32(px[0])), "xz": (kind, np.array(px[1])),
                                                          "ys": ("f32", np.float32(py[0])), "yz": (kind, np.array(py[1]))}, {"y": kind}, check,
                        attributes={"alpha": alpha} if op == "LeakyRelu" else {})
        for i in range(60):
            rows, cols = int(random.integers(1, 120)), int(random.choice([1, 2, 10, 100, 257]))
            x, s, lowest = codes(kind, (rows, cols)), float(np.float32(random.choice([0.01, 0.05, 0.1, 0.3, 1.0]))), LIMITS[kind][0]
            py = (1 / 256, lowest)

            def check(r, x=x, s=s, py=py, kind=kind):
                y = np.zeros(x.shape, np.int32)
                q.softmax(kind, ints(x), *x.shape, quantized(s, 0), quantized(*py), y)
                result.compare(f"QLinearSoftmax {kind}", y.ravel(), r["y"].astype(np.int32), f"{x.shape} scale {s}")

            request("QLinearSoftmax", "com.microsoft", {"x": (kind, x), "xs": ("f32", np.float32(s)), "xz": (kind, np.array(0)), "ys": ("f32", np.float32(py[0])),
                                                        "yz": (kind, np.array(py[1]))}, {"y": kind}, check, attributes={"axis": -1, "opset": 13})


def pools():
    for kind in ("u8", "s8"):
        for i in range(140):
            last = i // 2 % 2  # channels_last
            suffix = " channels last" if last else ""
            placed = lambda n, c, h, w: (n, h, w, c) if last else (n, c, h, w)
            n, c, h, w = 2, int(random.integers(1, 70)), int(random.integers(2, 15)), int(random.integers(2, 15))
            px = (scale_of(), zero_of(kind))
            py = (px[0] if i % 2 else px[0] * float(random.choice([0.5, 0.7, 2.0])), zero_of(kind))
            py = (float(np.float32(py[0])), py[1])
            for c_, h_, w_, n_ in ((c, h, w, n), (300, int(random.integers(1, 9)), int(random.integers(1, 9)), 10)):
                x = codes(kind, placed(n_, c_, h_, w_))

                def check(r, x=x, px=px, py=py, kind=kind, last=last, dims=(n_, c_, h_, w_), suffix=suffix):
                    y = np.zeros(dims[:2], np.int32)
                    q.average_pool("onnx_runtime", kind, last, ints(x), *dims, 0, 1, 0, quantized(*px), quantized(*py), 0, 1, 1, y)
                    result.compare(f"QLinearGlobalAveragePool {kind}{suffix}", y.ravel(), r["y"].astype(np.int32), f"{x.shape} {px} -> {py}")

                common = {"xs": ("f32", np.float32(px[0])), "xz": (kind, np.array(px[1])), "ys": ("f32", np.float32(py[0])), "yz": (kind, np.array(py[1]))}
                request("QLinearGlobalAveragePool", "com.microsoft", {"x": (kind, x), **common}, {"y": kind}, check, attributes={"channels_last": last})
            kernel, stride, pad, include = int(random.integers(2, 4)), int(random.integers(1, 3)), int(random.integers(0, 2)), int(random.integers(0, 2))
            h, w = h + 2, w + 2
            x = codes(kind, placed(n, c, h, w))
            oh, ow = (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1

            def check(r, x=x, px=px, py=py, kind=kind, last=last, kernel=kernel, stride=stride, pad=pad, include=include, oh=oh, ow=ow, dims=(n, c, h, w), suffix=suffix):
                y = np.zeros((dims[0], dims[1], oh, ow), np.int32)
                q.average_pool("onnx_runtime", kind, last, ints(x), *dims, kernel, stride, pad, quantized(*px), quantized(*py), include, oh, ow, y)
                result.compare(f"QLinearAveragePool {kind}{suffix}", y.ravel(), r["y"].astype(np.int32), f"{x.shape} kernel {kernel} stride {stride} pad {pad} {px} -> {py}")

            request("QLinearAveragePool", "com.microsoft", {"x": (kind, x), **common}, {"y": kind}, check,
                    attributes={"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": [pad] * 4, "count_include_pad": include, "channels_last": last})


def volumes():
    """Pools of lines and volumes, and ceil_mode."""
    for kind in ("u8", "s8"):
        for i in range(160):
            last, include, ceil, line = i % 2, i // 2 % 2, i // 4 % 2, i // 8 % 4 == 0
            spatial = 1 if line else 2 if i // 8 % 4 == 1 else 3
            n, c = 2, int(random.integers(1, 30))
            size = [int(random.integers(3, 12)) for _ in range(spatial)]
            kernel = [int(random.integers(1, 4)) for _ in size]
            stride = [int(random.integers(1, 4)) for _ in size]
            before, after = ([int(random.integers(0, k)) for k in kernel] for _ in range(2))
            count = []
            for s, k, t, b, a in zip(size, kernel, stride, before, after):
                room = s + b + a - k
                at = -(-room // t) if ceil else room // t
                if ceil and at * t >= s + b:
                    at -= 1
                count.append(at + 1)
            if any((o - 1) * t - b >= s for o, t, b, s in zip(count, stride, before, size)):
                continue  # a window in the padding alone, which has no average
            placed = lambda v: (n, *v, c) if last else (n, c, *v)
            x, px, py = codes(kind, placed(size)), (scale_of(), zero_of(kind)), (scale_of(), zero_of(kind))
            full = lambda v, absent: [absent] * (3 - len(v)) + v

            def check(r, x=x, px=px, py=py, kind=kind, last=last, include=include, ceil=ceil, c=c, size=size, kernel=kernel, stride=stride, before=before, after=after, count=count):
                y = np.zeros(int(np.prod(count)) * n * c, np.int32)
                q.average_pool_3d(kind, last, ints(x), n, c, ints(full(size, 1) + full(kernel, 1) + full(stride, 1) + full(before, 0) + full(after, 0) + full(count, 1)), quantized(*px), quantized(*py),
                                  include, ceil, y)
                result.compare(f"QLinearAveragePool {kind}, 1 to 3-d, ceil_mode", y, r["y"].astype(np.int32),
                               f"{x.shape} kernel {kernel} stride {stride} pads {before} {after} include {include} ceil {ceil} {px} -> {py}")

            common = {"xs": ("f32", np.float32(px[0])), "xz": (kind, np.array(px[1])), "ys": ("f32", np.float32(py[0])), "yz": (kind, np.array(py[1]))}
            request("QLinearAveragePool", "com.microsoft", {"x": (kind, x), **common}, {"y": kind}, check,
                    attributes={"kernel_shape": kernel, "strides": stride, "pads": before + after, "count_include_pad": include, "channels_last": last, "ceil_mode": ceil},
                    may_lack=f"QLinearAveragePool {spatial}-d{', channels last' if last else ''}{', ceil_mode' if ceil else ''}")


def matrices():
    for i in range(48):
        a_kind, b_kind = [("u8", "s8"), ("u8", "u8"), ("s8", "s8")][i % 3]
        y_kind = a_kind
        m, k, n = int(random.integers(1, 12) if i % 8 == 7 else random.integers(60, 150)), int(random.integers(1, 200)), int(random.integers(1, 220))
        a, b = codes(a_kind, (m, k)), codes(b_kind, (k, n))
        if b_kind == "s8" and a_kind == "u8":
            a //= 2  # pmaddubsw of CPUs without VNNI saturates beyond 7 bits
        pa = (scale_of(), zero_of(a_kind) // (2 if a_kind == "u8" else 1))
        columns = i % 2 == 1
        bs = floats([scale_of() / 10 for _ in range(n if columns else 1)])
        bz = np.zeros(bs.size, int) if b_kind == "s8" else np.full(bs.size, zero_of(b_kind))
        acc = (a - pa[1]) @ (b - bz[0])
        ys = np.abs(acc * np.float64(pa[0]) * bs).max() / 100 + 1e-3
        py = (float(np.float32(2.0 ** np.ceil(np.log2(ys)) if i % 4 == 0 else ys)), zero_of(y_kind))
        scalar = lambda v: v if columns else v.reshape(())

        def check(r, a=a, b=b, pa=pa, py=py, bs=bs, bz=bz, kinds=(a_kind, b_kind, y_kind)):
            y = np.zeros((a.shape[0], b.shape[1]), np.int32)
            q.qgemm(*kinds, a.shape[0], a.shape[1], b.shape[1], ints(a), quantized(*pa), ints(b), bs, ints(bz), bs.size, None, 1.0, quantized(*py), y)
            result.compare(f"QLinearMatMul {kinds[0]} {kinds[1]}", y.ravel(), r["y"].astype(np.int32), f"{a.shape} {b.shape} {pa} -> {py}")

        request("QLinearMatMul", "", {"a": (a_kind, a), "as": ("f32", np.float32(pa[0])), "az": (a_kind, np.array(pa[1])), "b": (b_kind, b), "bs": ("f32", scalar(bs)),
                                      "bz": (b_kind, scalar(bz)), "ys": ("f32", np.float32(py[0])), "yz": (y_kind, np.array(py[1]))}, {"y": y_kind}, check)
        bias, alpha = random.integers(-5000, 5000, n), float(np.float32(random.choice([1.0, 0.5, 0.3])))

        def check(r, a=a, b=b, pa=pa, py=py, bs=bs, bz=bz, bias=bias, alpha=alpha, kinds=(a_kind, b_kind, y_kind)):
            y = np.zeros((a.shape[0], b.shape[1]), np.int32)
            q.qgemm(*kinds, a.shape[0], a.shape[1], b.shape[1], ints(a), quantized(*pa), ints(b), bs, ints(bz), bs.size, ints(bias), alpha, quantized(*py), y)
            result.compare(f"QGemm {kinds[0]} {kinds[1]}", y.ravel(), r["y"].astype(np.int32), f"{a.shape} {b.shape} {pa} -> {py} alpha {alpha}")

        request("QGemm", "com.microsoft", {"a": (a_kind, a), "as": ("f32", np.float32(pa[0])), "az": (a_kind, np.array(pa[1])), "b": (b_kind, b), "bs": ("f32", scalar(bs)),
                                           "bz": (b_kind, scalar(bz)), "c": ("s32", bias), "ys": ("f32", np.float32(py[0])), "yz": (y_kind, np.array(py[1]))}, {"y": y_kind}, check,
                attributes={"alpha": alpha})
        ta, tb = int(i % 2), int(i // 2 % 2)

        def check(r, a=a, b=b, pa=pa, bs=bs, bz=bz, bias=bias, alpha=alpha, ta=ta, tb=tb, kinds=(a_kind, b_kind)):
            y = np.zeros((a.shape[0], b.shape[1]), np.float32)
            q.qgemm_float(*kinds, a.shape[0], a.shape[1], b.shape[1], ints(a.T if ta else a), quantized(*pa), ta, ints(b.T if tb else b), bs, ints(bz), bs.size, tb, ints(bias), alpha, y)
            result.compare(f"QGemm {kinds[0]} {kinds[1]} -> float", y.ravel(), r["y"], f"{a.shape} {b.shape} {pa} alpha {alpha}")

        request("QGemm", "com.microsoft", {"a": (a_kind, a.T if ta else a), "as": ("f32", np.float32(pa[0])), "az": (a_kind, np.array(pa[1])), "b": (b_kind, b.T if tb else b),
                                           "bs": ("f32", scalar(bs)), "bz": (b_kind, scalar(bz)), "c": ("s32", bias)}, {"y": "f32"}, check,
                attributes={"alpha": alpha, "transA": ta, "transB": tb})
        zb = codes(b_kind, n) if columns else np.array([zero_of(b_kind)])

        def check(r, a=a, b=b, za=pa[1], zb=zb, kinds=(a_kind, b_kind)):
            y = np.zeros((a.shape[0], b.shape[1]), np.int32)
            q.matmul_integer(*kinds, a.shape[0], a.shape[1], b.shape[1], ints(a), ints([za]), 1, ints(b), ints(zb), zb.size, y)
            result.compare(f"MatMulInteger {kinds[0]} {kinds[1]}", y.ravel(), r["y"])

        request("MatMulInteger", "", {"a": (a_kind, a), "b": (b_kind, b), "az": (a_kind, np.array(pa[1])), "bz": (b_kind, zb if columns else zb.reshape(()))}, {"y": "s32"}, check)
        # A batch whose right operands have zero points and scales of their own, one a column.
        batch = int(random.integers(2, 4))
        many_a, many_b = codes(a_kind, (batch, m, k)) // (2 if a_kind == "u8" else 1), codes(b_kind, (batch, k, n))
        many_s, many_z = floats([[scale_of() / 10 for _ in range(n)] for _ in range(batch)]), codes(b_kind, (batch, n)) if a_kind == "u8" and b_kind == "u8" else np.zeros((batch, n), int)

        def check(r, a=many_a, b=many_b, pa=pa, py=py, s=many_s, z=many_z, kinds=(a_kind, b_kind), which="integers"):
            integers, y = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.int32), np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.int32)
            q.batched_products(*kinds, a.shape[0], a.shape[1], a.shape[2], b.shape[2], ints(a), quantized(*pa), ints(b), s, ints(z), quantized(*py), integers, y)
            if which == "integers":
                result.compare(f"MatMulInteger {kinds[0]} {kinds[1]}, columns of each matrix", integers.ravel(), r["y"])
            else:
                result.compare(f"QLinearMatMul {kinds[0]} {kinds[1]}, columns of each matrix", y.ravel(), r["y"].astype(np.int32), f"{a.shape} {b.shape} {pa} -> {py}")

        request("MatMulInteger", "", {"a": (a_kind, many_a), "b": (b_kind, many_b), "az": (a_kind, np.array(pa[1])), "bz": (b_kind, many_z.reshape(batch, 1, n))}, {"y": "s32"}, check,
                may_lack="MatMulInteger, columns of each matrix")
        request("QLinearMatMul", "", {"a": (a_kind, many_a), "as": ("f32", np.float32(pa[0])), "az": (a_kind, np.array(pa[1])), "b": (b_kind, many_b), "bs": ("f32", many_s.reshape(batch, 1, n)),
                                      "bz": (b_kind, many_z.reshape(batch, 1, n)), "ys": ("f32", np.float32(py[0])), "yz": (y_kind, np.array(py[1]))}, {"y": y_kind},
                lambda r, check=check: check(r, which="codes"), may_lack="QLinearMatMul, columns of each matrix")
        if a_kind == "u8":
            x, fb = random.normal(0, 3, (m, k)).astype(np.float32), random.normal(0, 1, n).astype(np.float32)

            def check(r, x=x, b=b, bs=bs, bz=bz, fb=fb, kind=b_kind):
                y = np.zeros((x.shape[0], b.shape[1]), np.float32)
                q.dynamic_matmul(kind, x.shape[0], x.shape[1], b.shape[1], x, None, quantized(1, 0), ints(b), bs, ints(bz), bs.size, fb, y)
                result.compare(f"DynamicQuantizeMatMul {kind}", y.ravel(), r["y"])

            request("DynamicQuantizeMatMul", "com.microsoft", {"x": ("f32", x), "b": (b_kind, b), "bs": ("f32", scalar(bs)), "bz": (b_kind, scalar(bz)), "bias": ("f32", fb)},
                    {"y": "f32"}, check)

            def check(r, a=a, b=b, pa=pa, bs=bs, bz=bz, fb=fb, kind=b_kind):
                y = np.zeros((a.shape[0], b.shape[1]), np.float32)
                q.dynamic_matmul(kind, a.shape[0], a.shape[1], b.shape[1], floats([0]), ints(a), quantized(*pa), ints(b), bs, ints(bz), bs.size, fb, y)
                result.compare(f"MatMulIntegerToFloat {kind}", y.ravel(), r["y"])

            request("MatMulIntegerToFloat", "com.microsoft", {"a": ("u8", a), "b": (b_kind, b), "as": ("f32", np.float32(pa[0])), "bs": ("f32", scalar(bs)),
                                                              "az": ("u8", np.array(pa[1])), "bz": (b_kind, scalar(bz)), "bias": ("f32", fb)}, {"y": "f32"}, check)
    for i in range(300):
        bits, level = (4, 4, 8, 8, 2, 2)[i % 6], (0, 4)[i % 2]
        m, k, n, block = int(random.integers(1, 60)), int(random.choice([32, 64, 128, 192])), int(random.integers(1, 200)), int(random.choice([16, 32, 64]))
        x, blocks = random.normal(0, 1, (m, k)).astype(np.float32), (k + block - 1) // block
        weights = random.integers(0, 256, (n, blocks, block * bits // 8)).astype(np.uint8)
        scales = random.uniform(0.01, 0.1, (n, blocks)).astype(np.float32)
        zeros = random.integers(0, 256, (n, (blocks * bits + 7) // 8)).astype(np.uint8) if i // 6 % 2 else None
        bias = random.normal(0, 1, n).astype(np.float32) if i // 12 % 2 else None
        label = f"MatMulNBits {bits} bits, level {level} (to 1e-6)"

        def check(r, x=x, weights=weights, scales=scales, zeros=zeros, block=block, bits=bits, level=level, bias=bias, label=label):
            m, n = x.shape[0], weights.shape[0]
            y = np.zeros((m, n), np.float32)
            q.matmul_nbits(bits, m, x.shape[1], n, block, x, weights, scales, zeros, bias, int(level == 4 and (bits, block) != (2, 16)), y)  # 2 bits in blocks of 16 have no int8 kernel
            # float sums in another order: compared within 1e-6 of the sum of the terms' magnitudes
            w = np.repeat(scales, block, 1)[:, :x.shape[1]] * 2.0**bits
            size = np.abs(x).astype(np.float64) @ np.abs(w.astype(np.float64)).T + 10
            result.compare(label, y.ravel(), r["y"], f"{x.shape} n {n} block {block} zeros {zeros is not None}", tolerance=1e-6 * size.ravel())

        request("MatMulNBits", "com.microsoft", {"x": ("f32", x), "w": ("u8", weights), "s": ("f32", scales), "z": ("u8", zeros) if zeros is not None else None, "g": None,
                                                 "bias": ("f32", bias) if bias is not None else None}, {"y": "f32"}, check,
                attributes={"K": k, "N": n, "bits": bits, "block_size": block, "accuracy_level": level}, may_lack=label if bits == 2 else None)


def convolutions():
    for i in range(1250):
        spatial = (2, 1, 3)[i // 3 % 3]
        x_kind, w_kind = [("u8", "s8"), ("u8", "u8"), ("s8", "s8")][i % 3]
        group_count = int(random.choice([1, 1, 2, 3]))
        c, o = group_count * int(random.integers(1, 8)), group_count * int(random.integers(1, 9))
        n = 8 if spatial == 1 else 2
        size = random.integers(*{1: (20, 60), 2: (5, 18), 3: (3, 9)}[spatial], spatial)
        kernel, dilation, stride = random.integers(1, 4, spatial), random.integers(1, 3, spatial), random.integers(1, 3, spatial)
        pads, auto = random.integers(0, 2, (2, spatial)), ("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")[i % 5]
        if auto.startswith("SAME"):  # the sizes that the rule gives; ONNX Runtime refuses it with a dilation
            dilation[:] = 1
            total = np.maximum((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            half = total // 2 if auto == "SAME_UPPER" else total - total // 2
            pads = np.stack([half, total - half])
        if auto == "VALID":
            pads[:] = 0
        out = (size + pads.sum(0) - ((kernel - 1) * dilation + 1)) // stride + 1
        if out.min() < 1:
            continue
        x, weights = codes(x_kind, (n, c, *size)), codes(w_kind, (o, c // group_count, *kernel))
        if x_kind == "u8" and w_kind == "s8":
            x //= 2
        px = (scale_of(), zero_of(x_kind) // (2 if x_kind == "u8" else 1))
        per_channel = w_kind == "s8" and i % 2 == 1
        ws = floats([scale_of() / 20 for _ in range(o if per_channel else 1)])
        wz = np.zeros(ws.size, int) if w_kind == "s8" else np.array([zero_of("u8")])
        py = (float(np.float32(px[0] * ws.max() * 127 * 60 * np.sqrt(c / group_count * kernel.prod()) / 80)), zero_of(x_kind))
        bias = random.integers(-20000, 20000, o) if i % 4 else None
        g = geometry_of(n, c, o, group_count, size, kernel, stride, pads[0], pads[1], dilation, out)
        ints_of = lambda v: [int(e) for e in np.ravel(v)]
        attributes = {"group": group_count, "kernel_shape": ints_of(kernel), "strides": ints_of(stride), "dilations": ints_of(dilation)}
        attributes.update({"pads": ints_of(pads)} if auto == "NOTSET" else {"auto_pad": auto})
        scalar = lambda v: v if per_channel else v.reshape(())
        label = "" if spatial == 2 else f" {spatial}d"
        detail = f"groups {group_count} {size} kernel {kernel} {auto} {px} -> {py}"

        def check(r, g=g, x=x, weights=weights, px=px, py=py, ws=ws, wz=wz, bias=bias, kinds=(x_kind, w_kind), shape=(n, o, *out), label=label, detail=detail):
            y, p = np.zeros(shape, np.int32), quantized(*py)
            q.conv("onnx_runtime", *kinds, g, ints(x), quantized(*px), ints(weights), ws, ints(wz), ws.size, ints(bias) if bias is not None else None, None, ctypes.byref(p), y)
            result.compare(f"QLinearConv{label} {kinds[0]} {kinds[1]}", y.ravel(), r["y"].astype(np.int32), detail)

        request("QLinearConv", "", {"x": (x_kind, x), "xs": ("f32", np.float32(px[0])), "xz": (x_kind, np.array(px[1])), "w": (w_kind, weights), "ws": ("f32", scalar(ws)),
                                    "wz": (w_kind, scalar(wz)), "ys": ("f32", np.float32(py[0])), "yz": (x_kind, np.array(py[1])), "b": ("s32", bias) if bias is not None else None},
                {"y": x_kind}, check, attributes=attributes)
        if x_kind == "u8":
            z = np.array([zero_of(w_kind)]) if i % 2 else np.array([0])

            def check(r, g=g, x=x, weights=weights, zx=px[1], z=z, kinds=(x_kind, w_kind), shape=(n, o, *out), label=label, detail=detail):
                y = np.zeros(shape, np.int32)
                q.conv("onnx_runtime", *kinds, g, ints(x), quantized(1, zx), ints(weights), floats([1]), ints(z), 1, None, None, None, y)
                result.compare(f"ConvInteger{label} {kinds[0]} {kinds[1]}", y.ravel(), r["y"], detail)

            request("ConvInteger", "", {"x": (x_kind, x), "w": (w_kind, weights), "xz": (x_kind, np.array(px[1])), "wz": (w_kind, z.reshape(()))}, {"y": "s32"}, check,
                    attributes=attributes)


for group in groups:
    globals()[group]()
speed_x = random.normal(0, 1, 1 << 20).astype(np.float32)
request("QuantizeLinear", "", {"x": ("f32", speed_x), "s": ("f32", np.float32(0.05)), "z": ("u8", np.array(100))}, {"y": "u8"}, lambda r: None, opset=21)
requests[-1]["repeat"] = 200
(folder / "requests.json").write_text(json.dumps(requests))
here = pathlib.Path(__file__).resolve().parent
run = subprocess.run(["node", str(here / "run_onnx.js"), str(folder)], env={**os.environ, "NODE_PATH": str((node_folder / "node_modules").resolve())})
if run.returncode != 0:
    sys.exit("onnxruntime: the node process failed")
for c in comparisons:
    c()
ours, theirs = time_quantize(q, "onnx_runtime", speed_x, 0.05, 100), float((folder / "seconds").read_text())
print(f"QuantizeLinear of {speed_x.size} floats: quern {ours * 1e6:.0f} us, onnxruntime {theirs * 1e6:.0f} us, {theirs / ours:.1f} times as fast")
for label, reason in unsupported.items():
    if label not in result.rows:
        print(f"{result.system:<24} {label:<42} not in this release: {reason.splitlines()[0][:150]}")
shutil.rmtree(folder)
result.finish()
