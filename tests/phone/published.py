"""Stubs against the published API, which chaquopy-stubs generates as Python from the real libraries."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

# How Python's stubs write the primitive types of arguments.
PRIMITIVES = {"jint": "int", "jlong": "long", "jfloat": "float", "jdouble": "double", "jboolean": "boolean"}
# Of results they keep less.
RESULTS = {
    "int": {"int", "long"},
    "float": {"float", "double"},
    "bool": {"boolean"},
    "str": {"String"},
    "None": {"void"},
}
MEMBER = re.compile(
    r"^  (?:public|protected|abstract|static|final|default| |<[^>]*>)* ?([^\s(]+ )?([\w.$]+)(\((.*)\))?[^(]*;"
)


def differences(classes: Path, published: Path) -> Iterator[str]:
    """What compiled stubs have, in a folder of classes, and the published API, in site-packages, has not."""
    files = sorted(classes.rglob("*.class"))
    listed = subprocess.run(
        ["javap", "-protected", *map(str, files)], capture_output=True, text=True, check=True
    ).stdout
    for text in re.split(r"^Compiled from .*\n", listed, flags=re.MULTILINE)[1:]:
        head, *members = text.splitlines()
        name = re.search(r"(?:class|interface) ([\w.$]+)", head)
        assert name, head
        if name[1].endswith("$DefaultImpls"):  # Kotlin's compiler adds it
            continue
        place = _class(published, name[1])
        if place is None:
            yield f"there is no {name[1]}"
            continue
        for member in members:
            if re.search(r"\b(values|valueOf|access\$\w+)\b", member):  # compilers add these
                continue
            if found := MEMBER.match(member):
                result, named, called, arguments = found.groups()
                if not _has(place, named, called is not None, _types(arguments or ""), (result or "").strip()):
                    yield f"{name[1]} has no {member.strip()}"


def _class(published: Path, name: str) -> ast.ClassDef | None:
    """The published class, "android.graphics.Bitmap$Config"."""
    package, _, nested = name.rpartition(".")
    top, *inner = package.split(".")
    file = published.joinpath(f"{top}-stubs", *inner, "__init__.pyi")
    if not file.is_file():
        return None
    body = ast.parse(file.read_text(encoding="utf-8")).body
    found = None
    for part in nested.split("$"):
        found = next((node for node in body if isinstance(node, ast.ClassDef) and node.name == part), None)
        if found is None:
            return None
        body = found.body
    return found


def _has(place: ast.ClassDef, named: str, called: bool, arguments: list[str], result: str) -> bool:
    if not called:
        return any(isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == named for node in place.body)
    if "." in named and not arguments:
        return True  # a constructor that the compiler may have added
    wanted = "__init__" if "." in named else named
    methods = [node for node in place.body if isinstance(node, ast.FunctionDef) and node.name == wanted]
    return any(_matches(method, arguments, None if wanted == "__init__" else result) for method in methods)


def _matches(method: ast.FunctionDef, arguments: list[str], result: str | None) -> bool:
    given = [argument for argument in (*method.args.posonlyargs, *method.args.args) if argument.arg != "self"]
    if [_type(argument.annotation) for argument in given] != arguments:
        return False
    returned = ast.unparse(method.returns) if method.returns else "None"
    if result is None:
        return True
    short = _short(result)
    return short in RESULTS.get(returned, {_short(returned)})


def _type(annotation: ast.expr | None) -> str:
    assert annotation is not None
    text = ast.unparse(annotation)
    for python, java in PRIMITIVES.items():
        if f"java.{python}" in text:
            return java
    return "String" if text.startswith("str |") else _short(text)


def _types(arguments: str) -> list[str]:
    return [_short(argument) for argument in re.sub(r"<[^<>]*>", "", arguments).split(", ") if argument]


def _short(name: str) -> str:
    """The class' own name: "Config" of "android.graphics.Bitmap$Config", "I" of the parameter "_Launcher__I"."""
    return re.sub("_.*__", "", re.split(r"[.$]", re.sub(r"[<\[].*", "", name))[-1])
