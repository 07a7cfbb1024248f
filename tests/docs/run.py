#!/usr/bin/env python3
"""Every C++ snippet of README.md and docs/ compiles, runs, and prints what the page says it prints.

    ```cpp            a whole program if it has a main(), else statements: they go into a function, after its #include lines
    ```cpp outside    declarations: they stay outside of any function, and the page's later snippets see them
    ```cpp fragment   neither compiled nor run (a signature, an outline)
    ```text           directly after a ```cpp block: what it prints, exactly; '...' stands for any text within a line

Statements of one page share one program, each in a function of its own, in order.
"""
import pathlib
import re
import sys

here = pathlib.Path(__file__).resolve().parent
root = here.parents[1]
sys.path.insert(0, str(here.parent / "support"))
import toolchain

parser = toolchain.parser(__doc__)
parser.add_argument("--kernels", help="the library of quern::kernels: compiled once instead of in every program")
options = parser.parse_args()
work = pathlib.Path(options.work)
work.mkdir(parents=True, exist_ok=True)

FENCE = re.compile(r"^```(\w+)[ \t]*([^\n]*)\n(.*?)^```[ \t]*$", re.M | re.S)
MARK = "@snippet "
COMMON = """#include <quern/quern.hpp>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>
"""


class Snippet:
    def __init__(self, page, line, kind, code):
        self.page, self.line, self.code = page, line, code
        self.whole = re.search(r"\bint\s+main\s*\(", code) is not None
        self.outside = kind == "outside"
        self.expected = None

    def where(self):
        return f"{self.page.relative_to(root)}:{self.line}"


def snippets_of(page):
    text, found, end = page.read_text(), [], None
    for match in FENCE.finditer(text):
        language, kind, body = match.group(1), match.group(2).strip(), match.group(3)
        line = text.count("\n", 0, match.start()) + 1
        if language == "cpp" and kind != "fragment":
            found.append(Snippet(page, line, kind, body))
            end = match.end()
        elif language == "text" and end is not None and text[end:match.start()].strip() == "":
            found[-1].expected = body
            end = None
        else:
            end = None
    return found


def hoist(code):
    """(its #include lines, the rest)."""
    lines = code.split("\n")
    includes = [l for l in lines if re.match(r"\s*#\s*include", l)]
    return "\n".join(includes), "\n".join("" if re.match(r"\s*#\s*include", l) else l for l in lines)


def program_of(group):
    if group[0].whole:
        return f'#line {group[0].line + 1} "{group[0].page}"\n{group[0].code}'
    tops, bodies = [], []
    for number, snippet in enumerate(group):
        top, rest = hoist(snippet.code)
        tops.append(top)
        place = f'#line {snippet.line + 1} "{snippet.page}"\n'
        if snippet.outside:
            bodies.append(place + rest)
        else:
            bodies.append(f"void snippet_{number}() {{\n{place}{rest}\n}}")
    calls = "\n".join(f'std::printf("\\n{MARK}{n}\\n"); std::fflush(stdout); snippet_{n}(); std::fflush(stdout); std::cout.flush();'
                      for n, s in enumerate(group) if not s.outside)
    return COMMON + "\n".join(tops) + "\n" + "\n".join(bodies) + f"\nint main() {{\n{calls}\n}}\n"


def agrees(expected, printed):
    want, got = ([line.rstrip() for line in text.strip("\n").split("\n")] for text in (expected, printed))
    return len(want) == len(got) and all(
        re.fullmatch(".*".join(map(re.escape, w.split("..."))), g) for w, g in zip(want, got))


def check(job):
    name, group = job
    source, program = work / f"{name}.cpp", work / name
    source.write_text(program_of(group))
    # Not optimized, which takes two thirds of the time: examples/ and tests/odr compile such programs as users do.
    line = toolchain.command(options) + ["-O0", "-Wall", "-Wno-unused", str(source), "-o", str(program), "-pthread"]
    if options.kernels:
        line += ["-DQUERN_COMPILED_KERNELS=1", options.kernels]
    code, output = toolchain.run(line)
    if code != 0:
        return [f"{group[0].where()}: does not compile:\n{output[:6000]}"]
    code, output = toolchain.run([str(program)], cwd=work)
    if code != 0:
        return [f"{group[0].where()}: exits with {code}:\n{output[-3000:]}"]
    if group[0].whole:
        outputs = {0: output}
    else:
        parts = re.split(rf"\n{MARK}(\d+)\n", output)
        outputs = {int(n): text for n, text in zip(parts[1::2], parts[2::2])}
    return [f"{s.where()}: the page says\n{s.expected}but the program prints\n{outputs[n]}"
            for n, s in enumerate(group) if s.expected is not None and not agrees(s.expected, outputs[n])]


jobs, count = [], 0
for page in [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]:
    if not page.exists():
        continue
    found = snippets_of(page)
    count += len(found)
    stem = str(page.relative_to(root).with_suffix("")).replace("/", "_")
    for snippet in found:
        if snippet.whole:
            jobs.append((f"{stem}_{snippet.line}", [snippet]))
    rest = [s for s in found if not s.whole]
    if rest:
        jobs.append((stem, rest))

failures = [failure for result in toolchain.each(jobs, check) for failure in result]
toolchain.verdict("documentation snippets", count, failures)
