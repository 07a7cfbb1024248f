#!/usr/bin/env python3
"""Every header of quern compiles alone, without a warning that users ask for: its own includes suffice. All in one file compile without exceptions
and RTTI, and run no code before main.

A compilation stands for several headers: a file that includes a.hpp and then b.hpp shows that both stand alone if b.hpp includes, too,
all that a.hpp is and includes, so that nothing is there for b.hpp's own lines that it would not have without a.hpp. Headers go into
chains of such, as few as possible: 70 compilations instead of 230, and the large headers are within chains instead of at their ends.

The compiler's vector intrinsics, which take longer to read than any header of quern, are read once and kept precompiled; so is Eigen
for the headers that include it.
"""
import functools
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import toolchain

root = pathlib.Path(__file__).resolve().parents[2] / "include" / "quern"
options = toolchain.parser(__doc__).parse_args()
work = pathlib.Path(options.work).resolve()
work.mkdir(parents=True, exist_ok=True)
base = toolchain.command(options) + ["-Wall", "-Wextra", "-Wshadow", "-Wpedantic", "-Wconversion", "-Werror"]  # what users turn on

EIGEN = "<Eigen/Core>"


def precompile(name, text):
    """The options that put it before anything else: both compilers take the .gch beside a header."""
    header = work / name
    header.write_text(text)
    code, output = toolchain.run(base + ["-x", "c++-header", str(header), "-o", str(header) + ".gch"])
    if code != 0:
        toolchain.verdict("headers alone", 1, [output])
    return ["-include", str(header)]


DIRECTIVE = re.compile(r'^\s*#\s*(?:(include)\s+(?:"([^"]+)"|(<[^>]+>))|(if\w*|el\w+|endif)\b(.*))', re.M)


@functools.cache
def included(path):
    """What a file includes, through others too: {(path of quern's, or foreign name; the conditions that it stands under)}."""
    found, conditions = set(), []
    for include, own, foreign, word, rest in DIRECTIVE.findall(path.read_text()):
        here = frozenset(conditions)
        if foreign:
            found.add((foreign, here))
        elif include:
            inner = (path.parent / own).resolve()
            found |= {(inner, here)} | {(what, here | more) for what, more in included(inner)}
        elif word.startswith("if"):
            conditions.append(word + rest)
        elif word == "endif":
            conditions.pop()
        else:
            conditions[-1] += "; " + word + rest
    return frozenset(found)


def chains_of(headers):
    """[[header, ...]], in each of which every header includes what the one before it is and includes; all of them Eigen, or none."""
    headers = [h.resolve() for h in headers]
    read = {h: included(h) | {(h, frozenset())} for h in headers}
    size = {h: sum(p.stat().st_size for p in {p for p, _ in read[h]} if isinstance(p, pathlib.Path)) for h in headers}

    def includes(b, a):
        under = {}
        for what, conditions in included(b):
            under.setdefault(what, []).append(conditions)
        return (a, frozenset()) in included(b) and ((EIGEN, frozenset()) in included(a)) == ((EIGEN, frozenset()) in included(b)) and all(
            any(fewer <= conditions for fewer in under.get(what, ())) for what, conditions in included(a))

    # A matching of headers with their successors, the largest first, since only a chain's end has to be read for its own sake.
    after = {a: [b for b in headers if b != a and includes(b, a)] for a in headers}
    before, successor = {}, {}

    def place(a, tried):
        for b in after[a]:
            if b not in tried:
                tried.add(b)
                if b not in before or place(before[b], tried):
                    before[b], successor[a] = a, b
                    return True
        return False

    for h in sorted(headers, key=size.get, reverse=True):
        place(h, set())
    chains = [[h] for h in headers if h not in before]
    for chain in chains:
        while chain[-1] in successor:
            chain.append(successor[chain[-1]])
    return sorted(chains, key=lambda chain: size[chain[-1]], reverse=True)


def compile_alone(chain):
    line = base + (with_eigen if (EIGEN, frozenset()) in included(chain[0]) else without) + ["-fsyntax-only", "-x", "c++"]
    for header in chain:
        line += ["-include", str(header)]
    code, output = toolchain.run(line + ["-"])
    names = ", ".join(str(header.relative_to(root.resolve())) for header in chain)
    return None if code == 0 else f"{names}:\n{output[:3000]}"


def nothing_before_main(headers):
    """All headers in one object, which must have no table of initializers. Eigen's headers are another project's matter."""
    source, result = work / "all.cpp", work / "all.o"
    source.write_text("".join(f'#include "{h}"\n' for h in headers if h.parent.name not in ("eigen", "compress")))
    code, output = toolchain.run(base + ["-fno-exceptions", "-fno-rtti", "-O0", "-c", str(source), "-o", str(result)])
    if code != 0:
        return f"all headers in one file:\n{output[:3000]}"
    sections = toolchain.run(["objdump", "-h", str(result)])[1]
    return "a header has a dynamic initializer at namespace scope" if re.search(r"\.(init_array|ctors)\b", sections) else None


intrinsics = "#if defined(__x86_64__)\n#include <immintrin.h>\n#endif\n"
without = precompile("intrinsics.hpp", intrinsics)
with_eigen = precompile("eigen.hpp", intrinsics + f"#include {EIGEN}\n")
headers = sorted(root.rglob("*.hpp"))
chains = chains_of(headers)
assert sum(map(len, chains)) == len(headers)
failures = [r for r in [nothing_before_main(headers)] + toolchain.each(chains, compile_alone) if r]
print(f"{len(headers)} headers in {len(chains)} compilations")
toolchain.verdict("headers alone", len(headers) + 1, failures)
