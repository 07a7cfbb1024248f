#!/usr/bin/env python3
"""Wrong code fails to compile, with the sentence that explains it.

Each tests/compile_fail/*.cpp starts with comments:

    // expect: a part of the sentence that the compiler must print     (one or more)
    // flags: -ffast-math                                              (optional: only with the mistake)

It must compile as it is, and fail with every expected sentence when -DMISTAKE and the flags are added.
"""
import pathlib
import re
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "support"))
import toolchain

options = toolchain.parser(__doc__).parse_args()


def check(path):
    head = re.findall(r"^// (expect|flags): (.*)$", path.read_text(), re.M)
    sentences = [text.strip() for kind, text in head if kind == "expect"]
    flags = [flag for kind, text in head if kind == "flags" for flag in text.split()]
    if not sentences:
        return f"{path.name}: no '// expect:' line"
    line = toolchain.command(options) + ["-fsyntax-only", str(path)]
    code, output = toolchain.run(line)
    if code != 0:
        return f"{path.name}: does not compile without the mistake:\n{output}"
    if "clang" in pathlib.Path(options.compiler).name:
        flags.append("-ferror-limit=0")  # one file may hold several mistakes
    code, output = toolchain.run(line + ["-DMISTAKE"] + flags)
    if code == 0:
        return f"{path.name}: compiles in spite of the mistake"
    missing = [s for s in sentences if s not in output]
    if missing:
        return f"{path.name}: the compiler did not say '{missing[0]}' but:\n{output[:4000]}"
    return None


cases = sorted(here.glob("*.cpp"))
results = toolchain.each(cases, check)
toolchain.verdict("compile-fail", len(cases), [r for r in results if r])
