#!/usr/bin/env python3
"""Every header of quern compiles alone, without a warning that users ask for: its own includes suffice. All in one file compile without exceptions
and RTTI, and run no code before main.

The compiler's vector intrinsics, which take longer to read than any header of quern, are read once and kept precompiled.
"""
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


def nothing_before_main(headers):
    """All headers in one object, which must have no table of initializers. Eigen's headers are another project's matter."""
    source, result = work / "all.cpp", work / "all.o"
    source.write_text("".join(f'#include "{h}"\n' for h in headers if h.parent.name not in ("eigen", "compress")))
    code, output = toolchain.run(base + ["-fno-exceptions", "-fno-rtti", "-O0", "-c", str(source), "-o", str(result)])
    if code != 0:
        return f"all headers in one file:\n{output[:3000]}"
    sections = toolchain.run(["objdump", "-h", str(result)])[1]
    return "a header has a dynamic initializer at namespace scope" if re.search(r"\.(init_array|ctors)\b", sections) else None


headers = sorted(root.rglob("*.hpp"))
results = [nothing_before_main(headers)] + toolchain.each(headers, compile_alone)
toolchain.verdict("headers alone", len(results), [r for r in results if r])
