#!/usr/bin/env python3
"""The keyword example says what it promises: int8 as good as float, faster than real time, the same scores on every instruction set."""
import os
import re
import subprocess
import sys

program = sys.argv[1]
failures = []


def expect(condition, sentence):
    if not condition:
        failures.append(sentence)


def run(*arguments, **environment):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    return done.returncode, done.stdout, done.stderr


code, output, errors = run("--quick")
expect(code == 0, f"exit code {code}: {errors}")
rows = {m[1]: (float(m[2]), float(m[3])) for m in re.finditer(r"^(\S.*?)\s+([\d.]+) %\s+[\d.]+ -\s+[\d.]+\s+([\d.]+) %", output, re.M)}
expect(len(rows) == 3, f"the table has {len(rows)} rows:\n{output}")
exact = rows.get("float32 (Eigen)", (0, 0))[0]
expect(exact > 65, f"float is right in {exact} % only")
for name, (right, agree) in rows.items():
    expect(abs(right - exact) <= 4 and agree >= 88, f"{name}: {right} % right, {agree} % as float, which is right in {exact} %")
layers = re.findall(r"^ +\d+  (conv|depthwise|pointwise|average|dense) +\S+ +\S+ +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", output, re.M)
expect(len(layers) == 9 and all(10 < float(l[4]) < 49.9 for l in layers), f"layers and their SQNR: {layers}")
factor = re.search(r"real-time factor ([\d.]+)", output)
expect(factor and 0 < float(factor[1]) < 1, f"real-time factor: {factor}")
bits = re.search(r"^bits .* ([0-9a-f]{16}) on( .*)$", output, re.M)
expect(bits and "DIFFERENT" not in bits[2] and "baseline" in bits[2], f"scores on the instruction sets: {bits}")
for arguments, sentence in ((["--foo"], "is no option"), (["--seed"], "needs a value"), (["--seed", "x"], "is no number")):
    code, _, errors = run(*arguments)
    expect(code == 2 and sentence in errors, f"{arguments}: {code} {errors}")

print("\n".join(failures) if failures else "keyword: all as promised")
sys.exit(1 if failures else 0)
