"""mixed_precision as a user runs it: mixed_precision.py PROGRAM. The front rises in size and falls in loss, and its ends are what they must be."""
import re
import subprocess
import sys

run = subprocess.run([sys.argv[1]], capture_output=True, text=True)


def expect(what, condition):
    if not condition:
        sys.exit(f"{what}:\n{run.stdout}{run.stderr}")


expect("exit code", run.returncode == 0)
nanoseconds = [(float(m[1]), float(m[2])) for m in re.finditer(r"^ +[1-4] +(\d+) +(\d+)$", run.stdout, re.M)]
expect("latencies of this CPU: all positive, the layer of 4096 weights takes longer than that of 256",
       len(nanoseconds) == 4 and all(min(n) > 0 for n in nanoseconds) and nanoseconds[1][1] > nanoseconds[3][1])
exact = float(re.search(r"float: ([\d.]+) %", run.stdout)[1])
expect("float", exact > 98)
front = [(int(m[1]), m[2].split(), float(m[3]), float(m[4]), float(m[5]))
         for m in re.finditer(r"^ +(\d+) +((?:\d +){4})([\d.e+-]+) +([\d.e+-]+) +([\d.]+) %$", run.stdout, re.M)]
expect("several points", len(front) >= 10)
expect("bytes rise, predicted losses fall", all(a[0] < b[0] and a[2] > b[2] for a, b in zip(front, front[1:])))
expect("from the fewest bits to the most", front[0][1] == ["2"] * 4 and front[-1][1] == ["8"] * 4)
expect("eight bits are as good as float", abs(front[-1][4] - exact) <= 0.3 and front[-1][4] > front[0][4] + 10)
expect("half of the bytes lose less than a point", max(p[4] for p in front if p[0] * 2 <= front[-1][0]) > exact - 1)
expect("measured within a factor of 4 of predicted, where losses are small",
       all(p[2] / 4 < p[3] < p[2] * 4 for p in front if p[2] < 0.05))
print("mixed_precision: all as promised")
