#!/usr/bin/env python3
"""Every function of quern that takes views takes Eigen objects, and tests/eigen calls it with one.

A function takes views when one of its parameters is one, or is called View, Src or Dst as those are that any view fits. It takes Eigen
objects through a line of QUERN_EIGEN_FORWARD or an overload in eigen/operations.hpp or compress/eigen.hpp. What is not meant to is listed
here, with the reason. An observer takes them through an observe() of its own.
"""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
include = root / "include" / "quern"
ROOMS = ["core", "calibrate", "codec", "convert", "convention", "ops", "pack", "scheme", "metric", "train", "compress"]
FORWARDS = [include / "eigen" / "operations.hpp", include / "compress" / "eigen.hpp"]
VIEW = re.compile(r'\b(vector|matrix|tensor|volume|nd|packed|batch)_view<|\b(View|Src|Dst|Batch) (const& )?\w+\b')

WITHOUT = {
    # views to begin with
    "quern::transposed": "of views", "quern::sliced": "of views", "quern::broadcast": "of views",
    # structs of views
    "quern::gemm_batch": "takes a batch_view",
    # not data
    "quern::choose_params": "takes ranges, which observers hand out as views",
    "quern::identify": "takes a trace, an array of structs",
    "quern::calibrate::entropy_threshold": "takes the counts of a histogram", "quern::calibrate::l2_error": "takes the counts of a histogram",
    "quern::calibrate::l2_search": "takes the counts of a histogram",
    "quern::compress::check_weights": "a check of the library's own", "quern::compress::column_absmax": "a step of smooth_scales",
}


def without_comments(text):
    return re.sub(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|^\s*#[^\n]*', lambda m: m.group() if m.group()[0] == '"' else "", text, flags=re.M)


def functions(text):
    """(namespace, declaration up to the first brace) of every function at namespace scope."""
    scopes, statement = [], ""
    for token in re.findall(r'[{};]|[^{};]+', text):
        if token == "{":
            head = " ".join(statement.split())
            space = re.search(r'(inline )?namespace ([\w:]*)$', head)
            if space:
                scopes.append(None if space.group(1) else space.group(2))
            else:
                if "(" in head and all(isinstance(s, (str, type(None))) for s in scopes):
                    yield "::".join(s for s in scopes if s), head
                scopes.append(0)
            statement = ""
        elif token == "}":
            if scopes:
                scopes.pop()
            statement = ""
        elif token == ";":
            statement = ""
        else:
            statement += token


def name_and_parameters(head):
    at = 0
    while True:
        m = re.compile(r'(\w+)\s*\(').search(head, at)
        if m is None:
            return None, ""
        if m.group(1) not in ("requires", "noexcept", "decltype", "alignas"):
            return m.group(1), head[m.end():]
        depth, at = 1, m.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(head[at], 0)
            at += 1


def main():
    found = {}
    problems = []
    for room in ROOMS:
        for header in sorted((include / room).glob("*.hpp")):
            if header in FORWARDS:
                continue
            text = without_comments(header.read_text())
            for space, head in functions(text):
                name, parameters = name_and_parameters(head)
                if name and name != "operator" and not re.search(r"detail\b", space) and VIEW.search(parameters):
                    found.setdefault(f"{space}::{name}", f"{room}/{header.name}")
            if re.search(r'\n  void observe\w*\((vector|matrix)_view<T> batch', text) and "template <foreign Object>" not in text:
                problems.append(f"{room}/{header.name}: its observe() takes no Eigen object; overload it as the other observers do")

    taken = set()
    for header in FORWARDS:
        text = header.read_text()
        taken |= {f"{scope}::{name}" for scope, name in re.findall(r'^QUERN_EIGEN_FORWARD\(([\w:]+), (\w+),', text, re.M)}
        for space, head in functions(without_comments(text)):
            if "QUERN_EIGEN_FORWARD" not in head and "detail" not in space.split("::"):
                taken.add(f"{space}::{name_and_parameters(head)[0]}")
    for name in sorted(found.keys() - taken - WITHOUT.keys()):
        problems.append(f"{found[name]}: {name} takes views, but no Eigen objects; give it a line in {'compress/eigen' if '::compress' in name else 'eigen/operations'}.hpp")
    for name in sorted(WITHOUT.keys() & taken | WITHOUT.keys() - found.keys()):
        problems.append(f"{name} need not be listed in tests/structure/eigen.py")

    tests = "\n".join(without_comments(p.read_text()) for p in sorted((root / "tests" / "eigen").glob("*.cpp")))
    for name in sorted(taken):
        short = name.removeprefix("quern::")
        if not re.search(r'(?<![\w:])' + short + r'\s*(<[^;()]*>)?\(', tests):
            problems.append(f"{name}: tests/eigen does not call it")
    for problem in problems:
        print(problem)
    print(f"eigen: {len(problems)} problems" if problems else f"eigen: {len(taken)} functions take Eigen objects, {len(WITHOUT)} need not")
    return 1 if problems else 0


sys.exit(main())
