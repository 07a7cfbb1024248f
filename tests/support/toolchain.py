"""What the drivers that call the compiler themselves share: its command line, a pool of two, and the verdict."""
import argparse
import concurrent.futures
import os
import subprocess
import sys


def parser(description):
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    p.add_argument("--include", action="append", default=[], help="an include directory of quern or of what it needs")
    p.add_argument("--work", default=".", help="where objects and programs go")
    return p


def command(options, compiler=None):
    """The compiler and the flags that every call needs. The first include directory is quern's own, the rest foreign."""
    dirs = [d for d in options.include if d]
    line = [compiler or options.compiler, "-std=c++20"]
    for position, directory in enumerate(dirs):
        if directory != "/usr/include":
            line += ["-I" if position == 0 else "-isystem", directory]
    return line


def run(line, **more):
    """(exit code, everything it printed)."""
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, **more)
    return done.returncode, done.stdout


def each(jobs, work):
    """[work(job) for job in jobs], as many at a time as there are cores."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        return list(pool.map(work, jobs))


def verdict(what, total, failures):
    """Prints the failures and a closing line; exits with the verdict."""
    for failure in failures:
        print(failure)
        print("-" * 80)
    print(f"{what}: {total - len(failures)} passed, {len(failures)} failed")
    if total == 0:
        print(f"{what}: nothing was found to check")
    sys.exit(1 if failures or total == 0 else 0)
