"""Live oracle: onnxruntime-node. Usage: onnxruntime_oracle.py BRIDGE.so NODE_FOLDER (the one that holds node_modules)

Models are single nodes, written here as protobuf; one node process runs all of them.
"""
import ctypes
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np

from quern import awkward_floats, bridge, floats, ints, quantized, table, time_quantize

q = bridge(sys.argv[1])
node_folder = pathlib.Path(sys.argv[2])
version = json.loads((node_folder / "node_modules/onnxruntime-node/package.json").read_text())["version"]
result = table(f"onnxruntime {version}")
random = np.random.default_rng(int(sys.argv[3]) if len(sys.argv) > 3 else 2)
TYPES = {"f32": (1, np.float32, "float32"), "u8": (2, np.uint8, "uint8"), "s8": (3, np.int8, "int8"), "u16": (4, np.uint16, "uint16"), "s16": (5, np.int16, "int16"),
         "s32": (6, np.int32, "int32"), "s64": (7, np.int64, "int64")}
LIMITS = {"u8": (0, 255), "s8": (-128, 127), "u16": (0, 65535), "s16": (-32768, 32767)}


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


def initializer(name, kind, a):
    return b"".join(field(1, d) for d in a.shape) + field(2, TYPES[kind][0]) + field(8, name) + field(9, np.ascontiguousarray(a).tobytes())


def model(op, domain, opset, inputs, constants, outputs, attributes, absent):
    names = [n if n not in absent else "" for n in inputs]
    node = b"".join(field(1, n) for n in names) + b"".join(field(2, n) for n in outputs) + field(4, op) + b"".join(field(5, attribute(*a)) for a in attributes.items()) + field(7, domain)
    graph = field(1, node) + field(2, "g") + b"".join(field(5, initializer(n, *constants[n])) for n in constants)
    graph += b"".join(field(11, value_info(n, inputs[n])) for n in inputs if n not in constants and n not in absent)
    graph += b"".join(field(12, value_info(n, outputs[n])) for n in outputs)
    opsets = field(8, field(1, "") + field(2, opset)) + field(8, field(1, "com.microsoft") + field(2, 1))
    return field(1, 8 if opset < 21 else 10) + field(7, graph) + opsets


# ---- requests: all cases are collected, run once, then compared ----------------------------------------------------------

folder = pathlib.Path(tempfile.mkdtemp(prefix="quern_onnx_"))
requests, comparisons = [], []


def request(op, domain, inputs, outputs, compare, opset=13, attributes=None):
    """inputs: name -> (type, array) or None (absent), in the operator's order; outputs: name -> type.
    compare(name -> array) is called when the results are there."""
    number = len(requests)
    absent = {n for n, v in inputs.items() if v is None}
    kinds = {n: (v[0] if v else "f32") for n, v in inputs.items()}
    data = {n: np.ascontiguousarray(v[1], dtype=TYPES[v[0]][1]).reshape(np.shape(v[1])) for n, v in inputs.items() if v}
    # Everything but the first input is a constant: ONNX Runtime wants constant weights and scales in places.
    first = next(iter(inputs))
    constants = {n: (kinds[n], data[n]) for n in inputs if n != first and n not in absent}
    (folder / f"{number}.onnx").write_bytes(model(op, domain, opset, kinds, constants, outputs, attributes or {}, absent))
    (folder / f"{number}.in").write_bytes(data[first].tobytes())
    requests.append({"model": f"{number}.onnx", "inputs": [{"name": first, "type": TYPES[kinds[first]][2], "dims": list(data[first].shape), "file": f"{number}.in"}],
                     "outputs": [{"name": n, "file": f"{number}.{n}"} for n in outputs]})

    def finish():
        compare({n: np.fromfile(folder / f"{number}.{n}", dtype=TYPES[kind][1]) for n, kind in outputs.items()})

    comparisons.append(finish)


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


def quantize_dequantize():
    for kind in ("u8", "s8", "u16", "s16"):
        for _ in range(8):
            s, z = scale_of(), zero_of(kind)
            x = awkward_floats(random, 16384, s * (100 if kind.endswith("16") else 1))

            def check(r, x=x, s=s, z=z, kind=kind):
                y = np.zeros(x.size, np.int32)
                q.quantize("onnx_runtime", kind, x, x.size, quantized(s, z), y)
                result.compare(f"QuantizeLinear {kind}", y, r["y"].astype(np.int32), f"scale {s} zero {z}")

            request("QuantizeLinear", "", {"x": ("f32", x), "s": ("f32", np.float32(s)), "z": (kind, np.array(z))}, {"y": kind}, check, opset=21)
            c = codes(kind, 16384)

            def check(r, c=c, s=s, z=z, kind=kind):
                y = np.zeros(c.size, np.float32)
                q.dequantize("onnx_runtime", kind, ints(c), c.size, quantized(s, z), y)
                result.compare(f"DequantizeLinear {kind}", y, r["y"], f"scale {s} zero {z}")

            request("DequantizeLinear", "", {"x": (kind, c), "s": ("f32", np.float32(s)), "z": (kind, np.array(z))}, {"y": "f32"}, check, opset=21)
    for i in range(60):
        block, kind = (0, 16, 5)[i % 3], ("u8", "s8")[i % 2]
        outer, extent, inner = 3, int(random.integers(20, 90)), int(random.choice([1, 7, 64]))
        blocks = (extent + block - 1) // block if block else extent
        shape = (outer, blocks, inner) if block else (extent,)
        scales = floats(np.array([scale_of() for _ in range(int(np.prod(shape)))]).reshape(shape))
        zeros = codes(kind, shape)
        x = awkward_floats(random, outer * extent * inner, 0.1).reshape(outer, extent, inner)

        def check(r, x=x, scales=scales, zeros=zeros, block=block, kind=kind):
            y = np.zeros(x.shape, np.int32)
            q.quantize_axis(kind, x, *x.shape, block, scales, ints(zeros), y)
            result.compare(f"QuantizeLinear {kind} " + ("blocked" if block else "per axis"), y.ravel(), r["y"].astype(np.int32), f"{x.shape} block {block}")

        request("QuantizeLinear", "", {"x": ("f32", x), "s": ("f32", scales), "z": (kind, zeros)}, {"y": kind}, check, opset=21,
                attributes={"axis": 1, "block_size": block} if block else {"axis": 1})
    for i in range(60):
        x = random.normal(random.normal(), 10.0 ** random.integers(-6, 6), 2000).astype(np.float32)
        if i % 10 == 0:
            x = np.zeros(2000, np.float32)
        if i % 10 == 1:
            x = np.abs(x)
        if i % 10 == 2:
            x = -np.abs(x)

        def check(r, x=x):
            y, p = np.zeros(x.size, np.int32), quantized()
            q.dynamic_quantize(x, x.size, y, ctypes.byref(p))
            result.compare("DynamicQuantizeLinear", y, r["y"].astype(np.int32))
            result.compare("DynamicQuantizeLinear parameters", np.float32([p.scale]), r["s"])
            result.compare("DynamicQuantizeLinear parameters", np.int32([p.zero_point]), r["z"].astype(np.int32))

        request("DynamicQuantizeLinear", "", {"x": ("f32", x)}, {"y": "u8", "s": "f32", "z": "u8"}, check, opset=11)


def binary():
    for op in ("add", "mul"):
        for kind in ("u8", "s8"):
            for i in range(32):
                n = 8192
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
        for i in range(220):
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
        for i in range(24):
            rows, cols = int(random.integers(1, 60)), int(random.choice([1, 2, 10, 100, 257]))
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
        for i in range(60):
            n, c, h, w = 2, int(random.integers(1, 70)), int(random.integers(2, 15)), int(random.integers(2, 15))
            px = (scale_of(), zero_of(kind))
            py = (px[0] if i % 2 else px[0] * float(random.choice([0.5, 0.7, 2.0])), zero_of(kind))
            py = (float(np.float32(py[0])), py[1])
            x = codes(kind, (n, c, h, w))

            def check(r, x=x, px=px, py=py, kind=kind):
                y = np.zeros(x.shape[:2], np.int32)
                q.average_pool("onnx_runtime", kind, ints(x), *x.shape, 0, 1, 0, quantized(*px), quantized(*py), 0, 1, 1, y)
                result.compare(f"QLinearGlobalAveragePool {kind}", y.ravel(), r["y"].astype(np.int32), f"{x.shape} {px} -> {py}")

            common = {"x": (kind, x), "xs": ("f32", np.float32(px[0])), "xz": (kind, np.array(px[1])), "ys": ("f32", np.float32(py[0])), "yz": (kind, np.array(py[1]))}
            request("QLinearGlobalAveragePool", "com.microsoft", common, {"y": kind}, check, attributes={"channels_last": 0})
            many = codes(kind, (7, 300, int(random.integers(1, 9)), int(random.integers(1, 9))))

            def check(r, x=many, px=px, py=py, kind=kind):
                y = np.zeros(x.shape[:2], np.int32)
                q.average_pool("onnx_runtime", kind, ints(x), *x.shape, 0, 1, 0, quantized(*px), quantized(*py), 0, 1, 1, y)
                result.compare(f"QLinearGlobalAveragePool {kind}", y.ravel(), r["y"].astype(np.int32), f"{x.shape} {px} -> {py}")

            request("QLinearGlobalAveragePool", "com.microsoft", {**common, "x": (kind, many)}, {"y": kind}, check, attributes={"channels_last": 0})
            kernel, stride, pad, include = int(random.integers(2, 4)), int(random.integers(1, 3)), int(random.integers(0, 2)), int(random.integers(0, 2))
            if h < kernel or w < kernel:
                continue
            oh, ow = (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1

            def check(r, x=x, px=px, py=py, kind=kind, kernel=kernel, stride=stride, pad=pad, include=include, oh=oh, ow=ow):
                y = np.zeros((*x.shape[:2], oh, ow), np.int32)
                q.average_pool("onnx_runtime", kind, ints(x), *x.shape, kernel, stride, pad, quantized(*px), quantized(*py), include, oh, ow, y)
                result.compare(f"QLinearAveragePool {kind}", y.ravel(), r["y"].astype(np.int32), f"{x.shape} kernel {kernel} stride {stride} pad {pad} {px} -> {py}")

            request("QLinearAveragePool", "com.microsoft", common, {"y": kind}, check,
                    attributes={"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": [pad] * 4, "count_include_pad": include})


def matrices():
    for i in range(48):
        a_kind, b_kind = [("u8", "s8"), ("u8", "u8"), ("s8", "s8")][i % 3]
        y_kind = a_kind
        m, k, n = int(random.integers(1, 70)), int(random.integers(1, 200)), int(random.integers(1, 120))
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
        zb = codes(b_kind, n) if columns else np.array([zero_of(b_kind)])

        def check(r, a=a, b=b, za=pa[1], zb=zb, kinds=(a_kind, b_kind)):
            y = np.zeros((a.shape[0], b.shape[1]), np.int32)
            q.matmul_integer(*kinds, a.shape[0], a.shape[1], b.shape[1], ints(a), ints([za]), 1, ints(b), ints(zb), zb.size, y)
            result.compare(f"MatMulInteger {kinds[0]} {kinds[1]}", y.ravel(), r["y"])

        request("MatMulInteger", "", {"a": (a_kind, a), "b": (b_kind, b), "az": (a_kind, np.array(pa[1])), "bz": (b_kind, zb if columns else zb.reshape(()))}, {"y": "s32"}, check)
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
    for i in range(100):
        m, k, n, block = int(random.integers(1, 60)), int(random.choice([32, 64, 128, 192])), int(random.integers(1, 80)), int(random.choice([16, 32, 64]))
        x, blocks = random.normal(0, 1, (m, k)).astype(np.float32), (k + block - 1) // block
        weights = random.integers(0, 256, (n, blocks, block // 2)).astype(np.uint8)
        scales = random.uniform(0.01, 0.1, (n, blocks)).astype(np.float32)
        zeros = random.integers(0, 256, (n, (blocks + 1) // 2)).astype(np.uint8) if i % 2 else None

        def check(r, x=x, weights=weights, scales=scales, zeros=zeros, block=block):
            m, n = x.shape[0], weights.shape[0]
            y = np.zeros((m, n), np.float32)
            q.matmul_nbits(m, x.shape[1], n, block, x, weights, scales, zeros, 0, y)
            # float sums in another order: compared within 1e-5 of the terms' magnitude
            result.compare("MatMulNBits (1e-5 of the sum of magnitudes)", y.ravel(), r["y"], tolerance=1e-5 * x.shape[1])

        request("MatMulNBits", "com.microsoft", {"x": ("f32", x), "w": ("u8", weights), "s": ("f32", scales), "z": ("u8", zeros) if zeros is not None else None}, {"y": "f32"}, check,
                attributes={"K": k, "N": n, "bits": 4, "block_size": block, "accuracy_level": 0})


class geometry(ctypes.Structure):
    _fields_ = [(f, ctypes.c_long) for f in "n c h w outputs kernel_h kernel_w stride_h stride_w top left bottom right dilation_h dilation_w groups out_h out_w".split()]


def convolutions():
    for i in range(240):
        x_kind, w_kind = [("u8", "s8"), ("u8", "u8"), ("s8", "s8")][i % 3]
        groups = int(random.choice([1, 1, 2, 3]))
        c, o = groups * int(random.integers(1, 8)), groups * int(random.integers(1, 9))
        n, h, w, kh, kw = 2, int(random.integers(5, 18)), int(random.integers(5, 18)), int(random.integers(1, 4)), int(random.integers(1, 4))
        stride, pads, dilation = int(random.integers(1, 3)), [int(random.integers(0, 2)) for _ in range(4)], int(random.integers(1, 3))
        oh = (h + pads[0] + pads[2] - ((kh - 1) * dilation + 1)) // stride + 1
        ow = (w + pads[1] + pads[3] - ((kw - 1) * dilation + 1)) // stride + 1
        if oh < 1 or ow < 1:
            continue
        x, weights = codes(x_kind, (n, c, h, w)), codes(w_kind, (o, c // groups, kh, kw))
        if x_kind == "u8" and w_kind == "s8":
            x //= 2
        px = (scale_of(), zero_of(x_kind) // (2 if x_kind == "u8" else 1))
        per_channel = w_kind == "s8" and i % 2 == 1
        ws = floats([scale_of() / 20 for _ in range(o if per_channel else 1)])
        wz = np.zeros(ws.size, int) if w_kind == "s8" else np.array([zero_of("u8")])
        py = (float(np.float32(px[0] * ws.max() * 127 * 60 * np.sqrt(c / groups * kh * kw) / 80)), zero_of(x_kind))
        bias = random.integers(-20000, 20000, o) if i % 4 else None
        g = geometry(n, c, h, w, o, kh, kw, stride, stride, pads[0], pads[1], pads[2], pads[3], dilation, dilation, groups, oh, ow)
        attributes = {"group": groups, "kernel_shape": [kh, kw], "strides": [stride] * 2, "pads": pads, "dilations": [dilation] * 2}
        scalar = lambda v: v if per_channel else v.reshape(())

        def check(r, g=g, x=x, weights=weights, px=px, py=py, ws=ws, wz=wz, bias=bias, kinds=(x_kind, w_kind), shape=(n, o, oh, ow)):
            y, p = np.zeros(shape, np.int32), quantized(*py)
            q.conv("onnx_runtime", *kinds, g, ints(x), quantized(*px), ints(weights), ws, ints(wz), ws.size, ints(bias) if bias is not None else None, None, ctypes.byref(p), y)
            result.compare(f"QLinearConv {kinds[0]} {kinds[1]}", y.ravel(), r["y"].astype(np.int32), f"groups {g.groups} {px} -> {py}")

        request("QLinearConv", "", {"x": (x_kind, x), "xs": ("f32", np.float32(px[0])), "xz": (x_kind, np.array(px[1])), "w": (w_kind, weights), "ws": ("f32", scalar(ws)),
                                    "wz": (w_kind, scalar(wz)), "ys": ("f32", np.float32(py[0])), "yz": (x_kind, np.array(py[1])), "b": ("s32", bias) if bias is not None else None},
                {"y": x_kind}, check, attributes=attributes)
        if x_kind == "u8":
            z = np.array([zero_of(w_kind)]) if i % 2 else np.array([0])

            def check(r, g=g, x=x, weights=weights, zx=px[1], z=z, kinds=(x_kind, w_kind), shape=(n, o, oh, ow)):
                y = np.zeros(shape, np.int32)
                q.conv("onnx_runtime", *kinds, g, ints(x), quantized(1, zx), ints(weights), floats([1]), ints(z), 1, None, None, None, y)
                result.compare(f"ConvInteger {kinds[0]} {kinds[1]}", y.ravel(), r["y"], f"groups {g.groups}")

            request("ConvInteger", "", {"x": (x_kind, x), "w": (w_kind, weights), "xz": (x_kind, np.array(px[1])), "wz": (w_kind, z.reshape(()))}, {"y": "s32"}, check,
                    attributes=attributes)


quantize_dequantize()
binary()
unary()
pools()
matrices()
convolutions()
speed_x = random.normal(0, 1, 1 << 20).astype(np.float32)
request("QuantizeLinear", "", {"x": ("f32", speed_x), "s": ("f32", np.float32(0.05)), "z": ("u8", np.array(100))}, {"y": "u8"}, lambda r: None, opset=21)
requests[-1]["repeat"] = 200
(folder / "requests.json").write_text(json.dumps(requests))
here = pathlib.Path(__file__).resolve().parent
run = subprocess.run(["node", str(here / "run_onnx.js"), str(folder)], env={**os.environ, "NODE_PATH": str(node_folder / "node_modules")})
if run.returncode != 0:
    sys.exit("onnxruntime: the node process failed")
for c in comparisons:
    c()
ours, theirs = time_quantize(q, "onnx_runtime", speed_x, 0.05, 100), float((folder / "seconds").read_text())
print(f"QuantizeLinear of {speed_x.size} floats: quern {ours * 1e6:.0f} us, onnxruntime {theirs * 1e6:.0f} us, {theirs / ours:.1f} times as fast")
result.finish()
