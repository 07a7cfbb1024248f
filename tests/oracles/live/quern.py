"""quern through its bridge, and the table that every oracle prints: system x operator x cases x mismatches."""
import ctypes
import sys

import numpy as np


class quantized(ctypes.Structure):
    _fields_ = [("scale", ctypes.c_float), ("zero_point", ctypes.c_int32)]


class geometry(ctypes.Structure):
    _fields_ = [(f, ctypes.c_long) for f in ("n c h w outputs kernel_h kernel_w stride_h stride_w top left bottom right dilation_h dilation_w groups out_h out_w "
                                             "spatial d kernel_d stride_d front back dilation_d out_d").split()]


def geometry_of(n, c, outputs, groups, size, kernel, stride, before, after, dilation, out):
    """Each list has one to three spatial dimensions, the width last."""
    full = lambda v, absent: [absent] * (3 - len(v)) + [int(x) for x in v]
    (d, h, w), (kd, kh, kw), (sd, sh, sw), (front, top, left), (back, bottom, right), (dd, dh, dw), (od, oh, ow) = (
        full(v, absent) for v, absent in ((size, 1), (kernel, 1), (stride, 1), (before, 0), (after, 0), (dilation, 1), (out, 1)))
    return geometry(n, c, h, w, outputs, kh, kw, sh, sw, top, left, bottom, right, dh, dw, groups, oh, ow, len(size), d, kd, sd, front, back, dd, od)


def pointer(a):
    return None if a is None else a.ctypes.data_as(ctypes.c_void_p)


class bridge:
    """Calls a C function of the bridge; arrays must have the dtype that it takes."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path)

    def __getattr__(self, name):
        function = getattr(self.library, "quern_" + name)

        def call(*arguments):
            converted, kept = [], []
            for a in arguments:
                if isinstance(a, np.ndarray):
                    a = np.ascontiguousarray(a)
                    kept.append(a)
                    converted.append(pointer(a))
                elif isinstance(a, str):
                    converted.append(a.encode())
                elif isinstance(a, float):
                    converted.append(ctypes.c_float(a))
                elif isinstance(a, (int, np.integer)):
                    converted.append(ctypes.c_long(int(a)))
                else:
                    converted.append(a)
            if function(*converted) != 0:
                raise RuntimeError(f"{name} failed")

        return call


def time_quantize(q, system, x, scale, zero_point, repeats=200):
    """Seconds of quern's fastest quantization of x to uint8."""
    function = q.library.quern_time_quantize
    function.restype = ctypes.c_double
    return function(system.encode(), pointer(x), ctypes.c_long(x.size), quantized(scale, zero_point), ctypes.c_long(repeats))


def ints(a):
    return np.ascontiguousarray(a, dtype=np.int32)


def floats(a):
    return np.ascontiguousarray(a, dtype=np.float32)


class table:
    """Sums up comparisons by operator and prints them. An operator with fewer than 100,000 cases is a failure of the oracle,
    unless `few` says why it has no more."""

    enough = 100000

    def __init__(self, system):
        self.system, self.rows, self.examples, self.few = system, {}, {}, {}

    def compare(self, operator, got, want, detail="", tolerance=None, few=None, inputs=None):
        if few:
            self.few[operator] = few
        got, want = np.asarray(got), np.asarray(want)
        if got.shape != want.shape:
            raise RuntimeError(f"{operator}: shapes {got.shape} and {want.shape}")
        if tolerance is not None:
            wrong = ~(np.abs(got.astype(np.float64) - want) <= tolerance)
        elif got.dtype.kind == "f":
            wrong = (got.view(np.uint32) != want.view(np.uint32)) & ~(np.isnan(got) & np.isnan(want))
        else:
            wrong = got != want
        row = self.rows.setdefault(operator, [0, 0])
        row[0] += got.size
        row[1] += int(wrong.sum())
        if wrong.any() and operator not in self.examples:
            i = np.flatnonzero(wrong.ravel())[0]
            at = "" if inputs is None else f" of {np.ravel(inputs)[i]!r}"
            self.examples[operator] = f"{detail} element {i}{at}: quern {got.ravel()[i]!r}, {self.system} {want.ravel()[i]!r}"

    def finish(self):
        bad = 0
        for operator, (cases, wrong) in self.rows.items():
            print(f"{self.system:<24} {operator:<42} {cases:>9} {wrong:>9}")
            bad += wrong
            if cases < self.enough and operator not in self.few:
                print(f"  {operator} has fewer than {self.enough} cases")
                bad += 1
        for operator, text in self.few.items():
            print(f"  {operator}: {text}")
        for operator, text in self.examples.items():
            print(f"  first of {operator}: {text}")
        sys.exit(1 if bad else 0)


def awkward_floats(random, n, scale):
    """Values for a quantizer of this scale: ordinary, ties and nearly, huge, tiny, non-finite."""
    x = random.normal(0, 60 * scale, n).astype(np.float32)
    ties = random.integers(0, n, n // 3)
    x[ties] = ((random.integers(-600, 600, ties.size) + 0.5) * np.float64(scale)).astype(np.float32)
    near = random.integers(0, n, n // 6)
    x[near] = np.nextafter(((random.integers(-300, 300, near.size) + 0.5) * np.float32(scale)).astype(np.float32),
                           np.where(random.random(near.size) < 0.5, -np.inf, np.inf).astype(np.float32))
    bits = random.integers(0, n, n // 20)
    x[bits] = random.integers(0, 2**32, bits.size, dtype=np.uint32).view(np.float32)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e9, -3e9, 1e30, -1e30, 1e-40, 3.4e38, -3.4e38], dtype=np.float32)
    x[random.integers(0, n, 40)] = random.choice(special, 40)
    return x
