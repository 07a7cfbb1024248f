#!/usr/bin/env python3
"""Every sentence with which calibrate/, compress/, codec/ and train/ refuse a call is matched by a test.

A sentence is the pieces of a fail(): its literals, and gaps where values stand. A test matches it with a string literal that can be cut
out of it, at least eight characters of which are the sentence's own, seven of them in a row, and that fits no other sentence of these
rooms: "must be equal" says nothing. Sentences that are the same word for word count once.
"""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ["calibrate", "codec", "compress", "train"]
GAP = None
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')


def unescaped(text):
    return text.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")


def without_comments(text):
    return re.sub(r'("(?:[^"\\\n]|\\.)*")|//[^\n]*', lambda m: m.group(1) or "", text)


def arguments(text, at):
    """The arguments of the call whose opening parenthesis is at text[at]."""
    parts, depth, start, i = [], 0, at + 1, at
    while True:
        c = text[i]
        if c == '"':
            i = LITERAL.match(text, i).end()
            continue
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                return parts + [text[start:i].strip()]
        elif c == "," and depth == 1:
            parts.append(text[start:i].strip())
            start = i + 1
        i += 1


def sentences():
    found = {}
    for room in ROOMS:
        for header in sorted((root / "include/quern" / room).iterdir()):
            text = without_comments(header.read_text())
            for call in re.finditer(r"\bfail\(errc::", text):
                pieces = []
                for part in arguments(text, text.index("(", call.start()))[1:]:
                    literals = LITERAL.findall(part)
                    if literals and LITERAL.sub("", part).strip() == "":
                        pieces += list(unescaped("".join(literals)))
                    elif not pieces or pieces[-1] is not GAP:
                        pieces.append(GAP)
                found.setdefault(tuple(pieces), []).append(f"{room}/{header.name}")
    return found


def fits(text, pieces):
    """Whether `text` can be cut out of the sentence and has eight characters of the sentence's own."""
    best = [0] * (len(pieces) + 1)                                        # own characters matched so far, by place in the sentence
    for c in text:
        after = [-1] * (len(pieces) + 1)
        for place, own in enumerate(best):
            if own < 0:
                continue
            here = place
            while True:
                if here < len(pieces) and pieces[here] is GAP:
                    if c not in " ;:":
                        after[here] = max(after[here], own)           # a value's character
                    here += 1
                    continue
                if here < len(pieces) and pieces[here] == c:
                    after[here + 1] = max(after[here + 1], own + 1)
                break
        best = after
    return max(best) >= 8


def runs(pieces):
    """All runs of seven characters."""
    text = "".join("\0" if piece is GAP else piece for piece in pieces)
    return {text[i:i + 7] for i in range(len(text) - 6) if "\0" not in text[i:i + 7]}


known = sentences()
parts = {s: runs(s) for s in known}
literals = set()
for folder in ROOMS + ["errors"]:
    for source in (root / "tests" / folder).glob("*.cpp"):
        literals |= {unescaped(t) for t in LITERAL.findall(without_comments(source.read_text()))}
matched = set()
for text in literals:
    if len(text) >= 8:
        mine = runs(text)
        those = [s for s in known if mine & parts[s] and fits(text, s)]
        if len(those) == 1:
            matched.add(those[0])

missing = [s for s in known if s not in matched]
for s in missing:
    print(f"{', '.join(known[s])}: no test matches \"{''.join('…' if p is GAP else p for p in s)}\"")
print(f"refusals: {len(known) - len(missing)} of {len(known)} sentences are matched by a test")
sys.exit(1 if missing else 0)
