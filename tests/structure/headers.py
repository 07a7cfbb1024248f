#!/usr/bin/env python3
"""Every header of quern compiles alone, without a warning."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import toolchain

root = pathlib.Path(__file__).resolve().parents[2] / "include" / "quern"
options = toolchain.parser(__doc__).parse_args()


def compile_alone(header):
    line = toolchain.command(options) + ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", "c++", "-include", str(header), "-"]
    code, output = toolchain.run(line)
    return None if code == 0 else f"{header.relative_to(root)}:\n{output}"


headers = sorted(root.rglob("*.hpp"))
results = toolchain.each(headers, compile_alone)
toolchain.verdict("headers alone", len(headers), [r for r in results if r])
