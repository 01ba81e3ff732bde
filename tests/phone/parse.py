"""Print where the syntax of Swift or Kotlin files is wrong, a line each; in a Python that has tree-sitter."""

import sys
from collections.abc import Iterator
from pathlib import Path

import tree_sitter_kotlin
import tree_sitter_swift
from tree_sitter import Language, Node, Parser

LANGUAGES = {".swift": tree_sitter_swift, ".kt": tree_sitter_kotlin, ".kts": tree_sitter_kotlin}


def wrong(node: Node) -> Iterator[Node]:
    if node.type == "ERROR" or node.is_missing:
        yield node
    for child in node.children:
        yield from wrong(child)


for name in sys.argv[1:]:
    parser = Parser(Language(LANGUAGES[Path(name).suffix].language()))
    for node in wrong(parser.parse(Path(name).read_bytes()).root_node):
        print(f"{name}:{node.start_point.row + 1}: {node.text.decode()[:80]!r}")
