"""vector_search as a user runs it: vector_search.py PROGRAM. Recalls are what the literature says."""
import re
import subprocess
import sys

run = subprocess.run([sys.argv[1]], capture_output=True, text=True)
recall = {m[1].strip(): float(m[2]) for m in re.finditer(r"^  (\S.*?) +\d+ +([\d.]+)% +\d+ +[\d.]+x$", run.stdout, re.M)}


def expect(what, condition):
    if not condition:
        sys.exit(f"{what}:\n{run.stdout}{run.stderr}")


expect("exit code", run.returncode == 0)
expect("float finds everything", recall["float (Eigen product)"] == 100)
for name in ("int8 symmetric", "uint8 affine", "int8 symmetric, by gemm"):
    expect(f"{name} finds nearly everything", recall[name] > 97.5)
expect("rescoring finds the rest", recall["int8 symmetric, best 30 rescored"] >= 99.9)
expect("int4 loses some", 70 < recall["int4 symmetric, by gemm"] < 95)
expect("the cross terms matter", recall["uint8 affine without cross terms"] < 60)
for arguments, code, words in ((["--help"], 0, "usage"), (["9"], 2, "'9' is no number from 10"), (["100", "x"], 2, "'x'"), (["1", "2", "3", "4"], 2, "usage"),
                               (["100000000", "100000000"], 2, "2^31"), (["99999999999999999999"], 2, "is no number")):
    r = subprocess.run([sys.argv[1], *arguments], capture_output=True, text=True)
    if r.returncode != code or words not in r.stdout + r.stderr:
        sys.exit(f"{arguments}: {r.returncode} {r.stdout}{r.stderr}")
print("vector_search: all as promised")
