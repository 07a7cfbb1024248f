"""Runs quern_bench and prints one table for each topic and instruction set, a verdict, JSON and a roofline plot.

    python3 bench/report.py build/bench/bench/quern_bench [--filter REGEX | --all] [--json FILE] [--svg FILE] [--seconds X]
    python3 bench/report.py --read FILE                    prints the tables of an earlier run

Cases are called topic/library/instruction set/types/shape/threads:t. Standard library only.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time

ISAS = ["amx_int8", "avx512_vnni", "avx512bw", "avx_vnni", "avx2", "sse41", "neon_i8mm", "neon_dot", "neon", "baseline"]
# A rival that only has u8 weights answers the same question as u8 x s8.
SAME_QUESTION = {"u8u8-s32": "u8s8-s32", "u8u8-u8": "u8s8-s8"}
FLOAT = "f32f32-f32"
# Topics without rivals, whose names are topic/what/.../size: what the last column's share is of.
OWN_TOPICS = {"calibrate": "of reading; fake_quantize: of quantize and dequantize; decide: nothing", "compress": "hadamard: of memcpy, level by level"}


def git(*arguments):
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=os.path.dirname(__file__) or ".")
    return result.stdout.strip() if result.returncode == 0 else ""


def run(binary, pattern, seconds):
    """Runs the cases that match, with a line of progress, and returns Google Benchmark's JSON."""
    # Google Benchmark appends /iterations:1/manual_time to the names that it filters.
    wanted = re.compile(pattern)
    pattern = "^peak/|" + pattern.replace("$", "(/iterations|$)")
    listed = subprocess.run([binary, "--benchmark_list_tests=true", f"--benchmark_filter={pattern}"],
                            capture_output=True, text=True, check=True).stdout.split("\n")
    if not any("/" in line and (wanted.search(line) or not line.startswith("peak/")) for line in listed):
        sys.exit("no case matches this --filter; quern_bench --benchmark_list_tests prints their names")
    total = sum(1 for line in listed if "/" in line)
    # A case takes its samples, and as long again to make its operands and to check its results.
    print(f"{total} cases, about {max(1, round(total * 2 * seconds / 60))} min", file=sys.stderr, flush=True)
    begun = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [binary, f"--benchmark_filter={pattern}", f"--seconds={seconds}", f"--benchmark_out={out.name}",
                   "--benchmark_out_format=json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        done = 0
        for line in process.stdout:
            name = line.split(" ")[0]
            if name.count("/") < 2:
                continue
            done += 1
            if sys.stderr.isatty():
                print(f"\r\033[K[{done}/{total}] {name}", end="", file=sys.stderr, flush=True)
            elif done * 10 // total != (done - 1) * 10 // total:
                print(f"[{done}/{total}] {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        if process.wait() != 0:
            sys.exit(f"{binary} failed with {process.returncode}")
        with open(out.name) as file:
            result = json.load(file)
    commit = git("rev-parse", "--short=12", "HEAD")
    if commit and git("status", "--porcelain", "--untracked-files=no"):
        commit += "+changes"
    result["context"]["commit"] = commit or "unknown"
    result["context"]["governor"] = governor()
    return result


def governor():
    try:
        with open("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


class Case:
    """One result under a name of six parts."""

    def __init__(self, entry):
        parts = entry["name"].split("/")
        self.topic, self.library, self.isa, self.types = parts[0], parts[1], parts[2], parts[3]
        self.shape, self.threads = "/".join(parts[4:-1]), parts[-1]
        self.gops, self.gbps = entry.get("GOPS", 0), entry.get("GB/s", 0)
        self.rate = self.gops or self.gbps
        self.seconds = seconds_of(entry)
        self.peak, self.share = entry.get("peak", 0), entry.get("share", 0)
        self.read_share = entry.get("read_share", 0)
        self.wrong = entry.get("wrong")
        self.label = entry.get("label", "")

    # Rare differences of one are a matter of how a near-tie is rounded; more is another answer.
    @property
    def sound(self):
        return self.wrong is None or self.wrong <= 0.001

    @property
    def key(self):
        return (self.topic, self.isa, SAME_QUESTION.get(self.types, self.types), self.shape, self.threads)


def cases_of(result):
    cases, other = [], []
    for entry in result["benchmarks"]:
        if entry.get("error_occurred") or entry.get("run_type") == "aggregate":
            continue
        if entry["name"].split("/")[0] in OWN_TOPICS:
            other.append(entry)
        elif re.fullmatch(r"[^/]+/[^/]+/[^/]+/.+/threads:\d+", entry["name"]) and entry["name"].count("/") >= 5:
            cases.append(Case(entry))
        else:
            other.append(entry)
    return cases, other


def number(x):
    return f"{x:.0f}" if x >= 99.5 else f"{x:.1f}" if x >= 9.95 else f"{x:.2f}"


def print_table(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [str(c).ljust(w) if i < 2 else str(c).rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells).rstrip())


def tables(cases, peaks):
    """One table for each topic and instruction set; returns ours as {key: case}."""
    ours = {c.key: c for c in cases if c.library == "quern"}
    topics = sorted({c.topic for c in cases}, key=lambda t: (t != "gemm", t))
    for topic in topics:
        for isa in ISAS:
            mine = [c for c in cases if c.topic == topic and c.isa == isa]
            if not mine:
                continue
            roof = ", ".join(f"{name} {number(rate)}" for (i, name), rate in peaks.items() if i == isa)
            unit = "GOPS" if any(c.gops for c in mine) else "GB/s"
            print(f"\n{topic} on {isa}" + (f"   (peaks in registers, GOPS: {roof})" if roof else ""))
            if not any(c.library == "quern" for c in mine):  # conventions and the like: every case is ours
                print_table(["what", "shape", "time", unit, "of peak"],
                            [[f"{c.library} {c.types}", c.shape, time_of(c), number(c.rate), f"{100 * c.share:.0f} %" if c.share else ""]
                             for c in mine])
                continue
            rows, inexact = [], False
            keys = sorted({c.key for c in mine}, key=lambda k: (k[2], k[4], case_order(cases, k)))
            for key in keys:
                quern = ours.get(key)
                rivals = sorted((c for c in mine if c.key == key and c.library != "quern"), key=lambda c: -c.rate)
                exact = next((c for c in rivals if c.sound), None)
                faster = next((c for c in rivals if not c.sound and (exact is None or c.rate > exact.rate)), None)
                inexact |= faster is not None
                rows.append([
                    key[2], key[3] + ("" if key[4] == "threads:1" else f" ({key[4]})"),
                    time_of(quern) if quern else "", number(quern.rate) if quern else "",
                    f"{100 * quern.share:.0f} %" if quern and quern.share else "",
                    f"{100 * quern.read_share:.0f} %" if quern and quern.read_share else "",
                    f"{exact.library} {number(exact.rate)}" if exact else "",
                    f"{quern.rate / exact.rate:.2f}" if quern and exact else "",
                    f"{faster.library} {number(faster.rate)} *" if faster else "",
                    "" if quern is None or quern.wrong in (None, 0) else f"WRONG {quern.wrong:.2g}",
                ])
            head = ["types", "shape", "time", f"quern {unit}", "of peak", "of reading", "best rival", "ratio", "inexact rival", ""]
            keep = [i for i in range(len(head)) if i < 2 or any(row[i] for row in rows)]
            print_table([head[i] for i in keep], [[row[i] for i in keep] for row in rows])
            if any(key[2] == FLOAT for key in keys) and not any(c.types == FLOAT for c in ours.values()):
                print("  f32f32: the rivals' products of floats, which int8 has to beat")
            if inexact:
                print("  * more than 0.1 % of its results are wrong")
    return ours


def own_tables(entries):
    """One table for each topic of OWN_TOPICS; returns the entries of other topics."""
    for topic, share_of in OWN_TOPICS.items():
        rows = []
        for e in entries:
            parts = e["name"].split("/")
            if parts[0] != topic:
                continue
            threads = parts.pop() if parts[-1].startswith("threads:") else "threads:1"
            size = parts.pop() if re.fullmatch(r"\d+(x\d+)*", parts[-1]) else ""
            rate = f"{number(e['GB/s'])} GB/s" if e.get("GB/s") else f"{number(e['GOPS'])} GOPS" if e.get("GOPS") else ""
            rows.append([" ".join(parts[1:]), size + ("" if threads == "threads:1" else f" ({threads})"), time_text(seconds_of(e)), rate,
                         f"{100 * e['share']:.0f} %" if e.get("share") else "", f"WRONG {e['wrong']:.2g}" if e.get("wrong") else ""])
        if rows:
            print(f"\n{topic}   (share: {share_of})")
            keep = [i for i in range(6) if i < 2 or any(row[i] for row in rows)]
            print_table([["what", "size", "time", "rate", "share", ""][i] for i in keep], [[row[i] for i in keep] for row in rows])
    return [e for e in entries if e["name"].split("/")[0] not in OWN_TOPICS]


def case_order(cases, key):
    return next(i for i, c in enumerate(cases) if c.key == key)


def time_of(case):
    return time_text(case.seconds)


def time_text(seconds):
    for unit, size in [("us", 1e-6), ("ms", 1e-3), ("s", 1)]:
        if seconds < 999.5 * size or unit == "s":
            return f"{number(seconds / size)} {unit}" if seconds >= 1e-8 else f"{seconds * 1e9:.3g} ns"


def seconds_of(entry):
    return entry["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[entry["time_unit"]]


def geometric_mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else 0


def verdict(cases, ours):
    """Which instruction set ran, what share of its peak, and whether int8 beats float here."""
    products = [c for c in ours.values() if c.topic == "gemm" and c.threads == "threads:1"]
    if not products:
        return
    best = min((c.isa for c in products), key=ISAS.index)
    fused = {c.shape: c for c in products if c.isa == best and c.types == "u8s8-s8"} or \
            {c.shape: c for c in products if c.isa == best}
    print(f"\nOn this CPU quern runs {best}.")
    big = [c for c in fused.values() if shape_ops(c.shape) >= 2e7 and int(c.shape.split("x")[0]) > 16]
    if big:
        shares = sorted(c.share for c in big)
        print(f"  With more than 16 rows and 10 million multiplications it reaches {100 * shares[0]:.0f} to {100 * shares[-1]:.0f} % of the peak"
              f" of its instruction ({best}, {next(iter(fused.values())).types}).")
    few = [c.read_share for c in fused.values() if c.read_share]
    if few:
        print(f"  With at most 16 rows it reads its weights at {100 * min(few):.0f} to {100 * max(few):.0f} % of the bandwidth of so much memory.")
    floats = {}
    for c in cases:
        if c.topic == "gemm" and c.types == FLOAT and c.threads == "threads:1":
            if c.shape not in floats or c.rate > floats[c.shape].rate:
                floats[c.shape] = c
    common = [(s, fused[s].rate / floats[s].rate) for s in fused if s in floats]
    if common:
        ratios = [r for _, r in common]
        slowest, fastest = min(common, key=lambda x: x[1]), max(common, key=lambda x: x[1])
        won = sum(r > 1 for r in ratios)
        names = " or ".join(sorted({floats[s].library for s in fused if s in floats}))
        answer = "Yes" if won == len(ratios) else "Mostly" if won > len(ratios) / 2 else "No"
        print(f"  Does int8 beat float? {answer}: {won} of {len(ratios)} shapes, {geometric_mean(ratios):.1f} times as fast in the"
              f" geometric mean, {slowest[1]:.1f} ({slowest[0]}) to {fastest[1]:.1f} ({fastest[0]}); float by the better of {names}.")
    rivals = {}
    for c in cases:
        if c.topic == "gemm" and c.library != "quern" and c.isa == best and c.sound:
            if c.key not in rivals or c.rate > rivals[c.key].rate:
                rivals[c.key] = c
    ratios = [ours[k].rate / rivals[k].rate for k in rivals if k in ours]
    if ratios:
        print(f"  Against the best exact rival on {best}: {geometric_mean(ratios):.2f} in the geometric mean of {len(ratios)} cases,"
              f" {min(ratios):.2f} to {max(ratios):.2f}.")
    wrong = [c for c in ours.values() if c.wrong]
    print("  Every checked result of quern is exact." if not wrong else f"  {len(wrong)} results of quern are WRONG.")


def shape_ops(shape):
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", shape)
    return 2.0 * int(match[1]) * int(match[2]) * int(match[3]) if match else 0


def intensity(case):
    """Operations for each byte of operands and result of a product."""
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", case.shape)
    if not match:
        return 0
    m, n, k = (int(x) for x in match.groups())
    operand = 4 if case.types == FLOAT else 1
    result = 4 if case.types.endswith(("s32", "f32")) else 1
    return 2.0 * m * n * k / (operand * (m * k + k * n) + result * m * n)


def roofline(cases, peaks, reads, context, path):
    """Products over arithmetic intensity, under what the registers and the memory allow."""
    points = [c for c in cases if c.topic == "gemm" and c.threads == "threads:1" and intensity(c) and c.rate > 0]
    if not points:
        return False
    width, height, left, bottom, right, top = 980, 620, 70, 60, 190, 40
    x0, x1 = 4.0 ** min(0, math.floor(math.log(min(intensity(c) for c in points), 4))), 2.0 ** math.ceil(math.log2(max(intensity(c) for c in points) * 1.2))
    rates = [c.rate for c in points] + [r for r in peaks.values() if r]
    y0, y1 = 1.0, max(rates) * 1.6
    def x(v): return left + (width - left - right) * math.log(v / x0) / math.log(x1 / x0)
    def y(v): return height - bottom - (height - bottom - top) * math.log(max(v, y0) / y0) / math.log(y1 / y0)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="22" font-size="14">Products on one core: {escape(context.get("cpu", ""))}</text>']
    v = x0
    while v <= x1:
        svg.append(f'<line x1="{x(v):.1f}" y1="{top}" x2="{x(v):.1f}" y2="{height - bottom}" stroke="#eee"/>'
                   f'<text x="{x(v):.1f}" y="{height - bottom + 16}" text-anchor="middle">{v:g}</text>')
        v *= 4
    v = y0
    while v <= y1:
        svg.append(f'<line x1="{left}" y1="{y(v):.1f}" x2="{width - right}" y2="{y(v):.1f}" stroke="#eee"/>'
                   f'<text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>')
        v *= 10
    svg.append(f'<text x="{(left + width - right) / 2}" y="{height - 18}" text-anchor="middle">operations for each byte of operands and result</text>')
    svg.append(f'<text x="18" y="{height / 2}" transform="rotate(-90 18 {height / 2})" text-anchor="middle">GOPS</text>')
    colours = dict(zip(ISAS, ["#7b1fa2", "#c62828", "#ef6c00", "#ad1457", "#1565c0", "#2e7d32", "#7b1fa2", "#c62828", "#1565c0", "#616161"]))
    labels = []
    for (isa, name), rate in peaks.items():
        if rate and any(c.isa == isa for c in points):
            colour = colours.get(isa, "#616161")
            svg.append(f'<line x1="{left}" y1="{y(rate):.1f}" x2="{width - right}" y2="{y(rate):.1f}" stroke="{colour}" stroke-dasharray="5 3" stroke-opacity=".6"/>')
            labels.append([y(rate), f"{isa} {name} {number(rate)}", colour])
    labels.sort()
    for i, label in enumerate(labels):  # keep them readable where roofs are close
        at = label[0] if i == 0 else max(label[0], labels[i - 1][0] + 13)
        label[0] = at
        svg.append(f'<text x="{width - right + 4}" y="{at + 4:.1f}" font-size="10" fill="{label[2]}">{escape(label[1])}</text>')
    for size, gbps in reads:
        if size not in (256, 16384, 65536):
            continue
        begin, end = max(x0, y0 / gbps), min(x1, y1 / gbps)
        svg.append(f'<line x1="{x(begin):.1f}" y1="{y(gbps * begin):.1f}" x2="{x(end):.1f}" y2="{y(gbps * end):.1f}" stroke="#9e9e9e"/>')
        at = begin * 1.5
        svg.append(f'<text x="{x(at):.1f}" y="{y(gbps * at) - 5:.1f}" font-size="10" fill="#757575">{number(gbps)} GB/s, {size} KiB</text>')
    for c in sorted(points, key=lambda c: c.library == "quern"):
        colour, cx, cy = colours.get(c.isa, "#616161"), x(intensity(c)), y(c.rate)
        title = f"<title>{escape(c.library)} {c.isa} {c.types} {c.shape}: {number(c.rate)} GOPS</title>"
        if c.library == "quern":
            svg.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="4" fill="{colour}" fill-opacity=".75">{title}</circle>')
        else:
            svg.append(f'<path d="M{cx - 3:.1f} {cy - 3:.1f}l6 6m0-6l-6 6" stroke="{colour}" stroke-opacity=".6">{title}</path>')
    svg.append(f'<circle cx="{left + 14}" cy="{top + 8}" r="4" fill="#333"/><text x="{left + 24}" y="{top + 12}">quern</text>'
               f'<path d="M{left + 72} {top + 5}l6 6m0-6l-6 6" stroke="#333"/><text x="{left + 84}" y="{top + 12}">others</text>')
    svg.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(svg))
    return True


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="?")
    parser.add_argument("--filter", default="^gemm/.*/threads:1$", help="regular expression on the names of cases")
    parser.add_argument("--all", action="store_true", help="every case: convolutions, networks, conversions, calibration, vectors, two threads")
    parser.add_argument("--json", help="where Google Benchmark's JSON goes (build/bench/bench.json)")
    parser.add_argument("--svg", help="where the roofline plot goes (beside the JSON)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of samples for each case")
    parser.add_argument("--read", help="print the tables of this JSON instead of running")
    parser.add_argument("--from", dest="start", default=".", help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)  # the arguments only: scripts/bench, before it builds
    arguments = parser.parse_args()
    if arguments.all:
        arguments.filter = "."
    try:
        re.compile(arguments.filter)
    except re.error as wrong:
        parser.error(f"--filter {arguments.filter} is no regular expression: {wrong}")
    if not arguments.seconds > 0:
        parser.error(f"--seconds is {arguments.seconds:g}; it must be above 0")
    for path in (arguments.json, arguments.svg):
        if path and not os.path.isdir(os.path.dirname(os.path.join(arguments.start, path)) or "."):
            parser.error(f"{path}: there is no such folder")
    if arguments.check:
        return

    if arguments.read:
        try:
            with open(arguments.read) as file:
                result = json.load(file)
            result["context"], result["benchmarks"]
        except (OSError, ValueError, KeyError, TypeError) as wrong:
            parser.error(f"{arguments.read} is not what --json wrote: {wrong}")
        json_path = arguments.read
    elif arguments.binary:
        json_path = os.path.join(arguments.start, arguments.json) if arguments.json else \
            os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(arguments.binary))), "bench.json")
        result = run(arguments.binary, arguments.filter, arguments.seconds)
        with open(json_path, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    else:
        parser.error("the path of quern_bench, or --read FILE")

    context = result["context"]
    print("\n".join(f"{name:9} {str(context.get(name, 'unknown')).strip()}" for name in ["cpu", "isa", "compiler", "flags", "commit", "governor", "time", "date"]))
    load = context.get("load_avg") or [0]
    if load[0] > 1.5:
        print(f"warning   the load average is {load[0]:.1f}: others use this machine, and the figures suffer")

    cases, other = cases_of(result)
    peaks = {(c.isa, c.types): c.gops for c in cases if c.topic == "peak" and c.library == "registers"}
    reads = [(int(c.shape.removesuffix("KiB")), c.gbps) for c in cases if c.topic == "peak" and c.isa == "memory"]
    if reads:
        print("reading   " + ", ".join(f"{size} KiB {number(gbps)} GB/s" for size, gbps in reads))
    cases = [c for c in cases if c.topic != "peak"]
    ours = tables(cases, peaks)
    other = own_tables(other)
    if other:
        print("\nother cases")
        print_table(["case", "", "time", "rate"], [[e["name"], "", time_text(seconds_of(e)),
                    number(e["GOPS"]) + " GOPS" if "GOPS" in e else number(e["GB/s"]) + " GB/s" if "GB/s" in e else
                    number(e["bytes_per_second"] * 1e-9) + " GB/s" if "bytes_per_second" in e else ""] for e in other])
    verdict(cases, ours)
    svg_path = os.path.join(arguments.start, arguments.svg) if arguments.svg else os.path.splitext(json_path)[0] + ".svg"
    print(f"\n{os.path.relpath(json_path)} holds every figure" +
          (f", {os.path.relpath(svg_path)} the roofline" if roofline(cases, peaks, reads, context, svg_path) else "") + ".")


if __name__ == "__main__":
    main()
