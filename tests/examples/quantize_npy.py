"""quantize_npy as a user runs it: quantize_npy.py PROGRAM. Every method, code and granularity; what it writes is read back, brought
back to reals and compared; what it cannot read it refuses with a sentence."""
import json
import math
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile

program = sys.argv[1]
scratch = tempfile.TemporaryDirectory(prefix="quern_npy_")
folder = pathlib.Path(scratch.name)
rng = random.Random(1)


def write_npy(name, shape, values, dtype="<f4", fortran=False):
    header = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {tuple(shape)}, }}"
    header += " " * ((-len(header) - 11) % 64) + "\n"
    body = struct.pack(f"{dtype[0]}{len(values)}{ {'f2': 'e', 'f4': 'f', 'f8': 'd', 'i4': 'i'}[dtype[1:]] }", *values)
    (folder / name).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body)


def read_codes(name):
    raw = (folder / name).read_bytes()
    size = struct.unpack("<H", raw[8:10])[0]
    header = raw[10:10 + size].decode()
    return list(raw[10 + size:]) if "'|u1'" in header else [c - 256 if c > 127 else c for c in raw[10 + size:]], header


def run(*arguments):
    r = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, cwd=folder)
    return r.returncode, r.stdout, r.stderr


def expect(what, condition, *more):
    if not condition:
        sys.exit(f"{what}: {more}")


rows, cols = 6, 40
w = [rng.gauss(0, 1) for _ in range(rows * cols)]
single = [struct.unpack("f", struct.pack("f", v))[0] for v in w]
write_npy("w.npy", (rows, cols), w)
write_npy("x.npy", (100, cols), [rng.gauss(0, 1) for _ in range(100 * cols)])

limits = {"s8": (-128, 127), "u8": (0, 255), "s4": (-8, 7), "u4": (0, 15)}
histogram = "auto min_max exact_grid mse lp l2_search percentile aciq_laplace aciq_gaussian entropy".split()
cases = [(m, c, "channel") for m in histogram for c in ("s8", "u4")]
cases += [("auto", c, per) for c in limits for per in ("tensor", "group:16", "group:7")]
cases += [(m, c, per) for m in ("gptq", "awq") for c in ("s4", "u4") for per in ("channel", "group:16")] + [("hqq", "u4", "group:16")]
for method, code, per in cases:
    extra = ["--calibration", "x.npy"] if method in ("gptq", "awq") else []
    status, out, err = run("w.npy", "--method", method, "--code", code, "--per", per, *extra)
    expect(f"{method} {code} {per}", status == 0, out, err)
    told = json.loads((folder / "w.json").read_text())
    codes, header = read_codes("w.codes.npy")
    expect("shape", f"'shape': ({rows}, {cols})" in header and len(codes) == rows * cols, header)
    expect("codes in range", limits[code][0] <= min(codes) and max(codes) <= limits[code][1], method, code, min(codes), max(codes))
    group = cols if per == "channel" else rows * cols if per == "tensor" else int(per[6:])
    per_row = 0 if per == "tensor" else -(-cols // group)
    inputs = told.get("input_scales", [1.0] * cols)
    noise = signal = 0
    for i, (c, v) in enumerate(zip(codes, single)):
        at = 0 if per == "tensor" else i // cols * per_row + i % cols // group
        back = told["scales"][at] * (c - told["zero_points"][at]) / inputs[i % cols]
        noise, signal = noise + (back - v) ** 2, signal + v * v
    expect(f"{method} {code} {per}: the SQNR that is told", abs(10 * math.log10(signal / noise) - told["sqnr_db"]) < 0.01,
           10 * math.log10(signal / noise), told)
    text = (folder / "w.hpp").read_text()
    listed = re.search(r"codes\[240\] = \{(.*?)\}", text, re.S)[1]
    expect("the header's codes", [int(v) for v in listed.split(",")] == codes, method)

# The same array in other types.
run("w.npy")
first = (folder / "w.codes.npy").read_bytes()
write_npy("w.npy", (rows, cols), single, "<f8")
expect("float64", run("w.npy")[0] == 0 and (folder / "w.codes.npy").read_bytes() == first)
write_npy("h.npy", (3, 4), [0.5 * i for i in range(12)], "<f2")
expect("half", run("h.npy", "--report")[0] == 0 and not (folder / "h.json").exists())

write_npy("fortran.npy", (rows, cols), w, fortran=True)
write_npy("nan.npy", (2, 3), [1, 2, math.nan, 4, 5, 6])
write_npy("narrow.npy", (5, 3), [1.0] * 15)
write_npy("whole.npy", (2,), [1, 2], "<i4")
(folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:-5])
(folder / "text.npy").write_text("no array")
for arguments, words in ((["nan.npy"], "NaN"), (["cut.npy"], "cut.npy"), (["fortran.npy"], "Fortran order"), (["text.npy"], "text.npy"), (["whole.npy"], "whole.npy"), (["none.npy"], "cannot be opened"),
                         (["w.npy", "--method", "gptq"], "--calibration"), (["w.npy", "--method", "gptq", "--calibration", "narrow.npy"], "narrow.npy"),
                         (["w.npy", "--code", "s9"], "s9"), (["w.npy", "--per", "group:0"], "group"), (["w.npy", "--method", "magic"], "magic"), ([], "npy")):
    status, out, err = run(*arguments)
    expect(f"{arguments} is refused with a sentence", status != 0 and words in err + out and len(err + out) > 20, status, out, err)
# A vector has one scale; names that JSON and C++ would trip over; a folder.
write_npy('new.npy', (40,), w[:40])
write_npy('q"1.npy', (), [2.5])
for name, scales in (("new", 1), ('q"1', 1)):
    status, out, err = run(name + ".npy")
    told = json.loads((folder / (name + ".json")).read_text())
    expect(name, status == 0 and len(told["scales"]) == scales and told["source"] == name + ".npy", out, err, told)
expect("no keyword", "namespace new_ {" in (folder / "new.hpp").read_text())
status, out, err = run(".")
expect("a folder", status == 1 and "folder" in err, status, err)
print("quantize_npy: all as promised")
