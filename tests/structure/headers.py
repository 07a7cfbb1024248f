#!/usr/bin/env python3
"""Every header of quern compiles alone, without a warning: its own includes suffice.

The compiler's vector intrinsics, which take longer to read than any header of quern, are read once and kept precompiled.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import toolchain

root = pathlib.Path(__file__).resolve().parents[2] / "include" / "quern"
options = toolchain.parser(__doc__).parse_args()
work = pathlib.Path(options.work).resolve()
work.mkdir(parents=True, exist_ok=True)
base = toolchain.command(options) + ["-Wall", "-Wextra", "-Werror"]

intrinsics = work / "intrinsics.hpp"
intrinsics.write_text("#if defined(__x86_64__)\n#include <immintrin.h>\n#endif\n")
code, output = toolchain.run(base + ["-x", "c++-header", str(intrinsics), "-o", str(intrinsics) + ".gch"])
if code != 0:
    toolchain.verdict("headers alone", 1, [output])
before = ["-include", str(intrinsics)]  # both compilers take the .gch beside it


def compile_alone(header):
    line = base + before + ["-fsyntax-only", "-x", "c++", "-include", str(header), "-"]
    code, output = toolchain.run(line)
    return None if code == 0 else f"{header.relative_to(root)}:\n{output[:3000]}"


headers = sorted(root.rglob("*.hpp"))
results = toolchain.each(headers, compile_alone)
toolchain.verdict("headers alone", len(headers), [r for r in results if r])
