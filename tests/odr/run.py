#!/usr/bin/env python3
"""One program from units compiled with different flags and compilers: they exchange data, compute the same bits, and share no
code that was compiled for one unit's instruction set.

    run.py [--full]     two units; --full: the other compiler, every -O, -march=native and builds without exceptions
"""
import itertools
import pathlib
import re
import shutil
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "support"))
import toolchain

parser = toolchain.parser(__doc__)
parser.add_argument("--full", action="store_true")
options = parser.parse_args()
work = pathlib.Path(options.work)
work.mkdir(parents=True, exist_ok=True)

AVX2 = "-mavx2 -mfma -mf16c"
AVX512 = AVX2 + " -mavx512f -mavx512cd -mavx512bw -mavx512dq -mavx512vl"
# name, flags that choose instructions (units with the same may share code), other flags
UNITS = [
    ("plain_O0", "", "-O0"),
    ("avx512_contract", AVX512, "-O1 -ffp-contract=fast"),  # 13 s to compile; 18 with -O2
]
if options.full:
    UNITS = [
        ("plain_O0", "", "-O0"),
        ("avx2_contract", AVX2, "-O2 -ffp-contract=fast -std=c++2b"),  # where clang 14 takes std::is_constant_evaluated() for true
        ("avx512_O1", AVX512, "-O1 -ffp-contract=off"),
        ("plain_O2", "", "-O2"),
        ("native_O3", "-march=native", "-O3"),
        ("avx512_O0", AVX512, "-O0"),
        ("sse41_O2", "-msse4.1 -mssse3", "-O2"),
        ("avx512vnni_O3", AVX512 + " -mavx512vnni", "-O3 -ffp-contract=fast"),
        ("scalar_O2", "-mpopcnt -mlzcnt -mbmi -mbmi2 -mmovbe", "-O2"),
        ("noexcept_O1", "", "-O1 -fno-exceptions -fno-rtti"),
        ("xsimd_O1", "", "-O1 -DQUERN_BASELINE=QUERN_BASELINE_XSIMD"),
    ]
machine = toolchain.run([options.compiler, "-dumpmachine"])[1]
if "x86_64" not in machine:  # elsewhere there is one baseline and the flags that the compiler takes
    UNITS = [u for u in UNITS if "-m" not in u[1]] + [("native_O2", "-march=native", "-O2")]

jobs = [(options.compiler, *unit) for unit in UNITS]
if options.full:
    other = "clang++" if "clang" not in pathlib.Path(options.compiler).name else "g++"
    if shutil.which(other):
        jobs += [(other, "other_" + name, *flags) for name, *flags in UNITS[:6]]
    else:
        print(f"{other} is not installed: one compiler only")
    # GCC announces this licence by macros, so that the headers refuse it; clang does not, so that they have to keep the bits.
    jobs += [(c, "unsafe_math", "", "-O2 -funsafe-math-optimizations") for c in {j[0] for j in jobs} if "clang" in pathlib.Path(c).name]


def build(job):
    compiler, name, chosen, rest = job
    line = toolchain.command(options, compiler) + chosen.split() + rest.split()
    return toolchain.run(line + [f"-DUNIT={name}", "-c", "-o", str(work / f"{name}.o"), str(here / "unit.cpp")])


(work / "units.inc").write_text("".join(f"QUERN_UNIT({name})\n" for _, name, *_ in jobs))
failures = [f"{job[1]} does not compile:\n{out[:4000]}" for job, (code, out) in zip(jobs, toolchain.each(jobs, build)) if code]
if failures:
    toolchain.verdict("odr", len(jobs), failures)

objects = [str(work / f"{name}.o") for _, name, *_ in jobs]
line = toolchain.command(options) + ["-I", str(work), "-O1", str(here / "main.cpp"), *objects, "-o", str(work / "odr"), "-pthread"]
code, output = toolchain.run(line)
if code == 0:
    code, output = toolchain.run([str(work / "odr")])
    print(output)
if code != 0:
    failures.append(output)

# Functions of quern that an object exports weakly: the linker keeps one of them for the whole program. That is fine between
# units whose instructions are the same, and for code of instructions that every CPU has: quern::error's virtual functions, and
# destructors of aggregates. C++ has no way to mark an aggregate's implicit constructors always_inline; optimized builds
# inline them anyway, units at -O0 do not (docs/decisions/0003-one-definition.md), so there they are let through.
IMPLICIT = re.compile(r"^quern::(?:\w+::)*(\w+)(?:<.*>)?::\1\((?:quern::.*&+)?\)$")
SPECIAL_CODE = re.compile(r"%[yz]mm|\tv\w+\s.*%xmm|\t(lzcnt|popcnt|andn|bextr|bls\w+|mulx|pdep|pext|rorx|sarx|shlx|shrx|movbe)\b")


def weak_functions(path):
    listing = toolchain.run(["nm", "--defined-only", path])[1]
    mangled = re.findall(r"^\S* W (\S+)$", listing, re.M)
    names = toolchain.run(["c++filt"] + mangled)[1].splitlines() if mangled else []
    return {symbol: name for symbol, name in zip(mangled, names) if re.match(r"([^(]* )?quern::", name)}


def special(path, symbol):
    code = toolchain.run(["objdump", "-d", "--no-show-raw-insn", f"--disassemble={symbol}", path])[1]
    return SPECIAL_CODE.search(code) is not None


weak = {job[1]: weak_functions(path) for job, path in zip(jobs, objects)}
where = {job[1]: path for job, path in zip(jobs, objects)}
flags = {job[1]: job[2] for job in jobs}
optimization = {job[1]: job[3] for job in jobs}
shared, dangerous = {}, {}
for a, b in itertools.combinations(weak, 2):
    if flags[a] != flags[b]:
        for symbol in weak[a].keys() & weak[b].keys():
            shared.setdefault(symbol, set()).update((a, b))
for symbol, units in shared.items():
    implicit = IMPLICIT.match(weak[next(iter(units))][symbol])
    guilty = [unit for unit in sorted(units)
              if special(where[unit], symbol) and not (implicit and "-O0" in optimization[unit])]
    if guilty:
        name = weak[guilty[0]][symbol]
        failures.append(f"{name}\n  is in {', '.join(sorted(units))}; the linker keeps one, and {guilty[0]} compiled it to "
                        "instructions that other units' CPUs may lack")
names = sorted({weak[next(iter(units))][symbol] for symbol, units in shared.items()})
print(f"{sum(map(len, weak.values()))} weak functions of quern in {len(jobs)} objects; shared across flags: {len(shared)}")
for name in names:
    print(f"    {name}")
# Nothing of quern may run before main: an object with a dynamic initializer at namespace scope has a table of them.
for job, path in zip(jobs, objects):
    if re.search(r"\.(init_array|ctors)\b", toolchain.run(["objdump", "-h", path])[1]):
        failures.append(f"{job[1]}: code at namespace scope runs before main")
toolchain.verdict("odr", 2 * len(jobs) + 1, failures[:40])
