"""Refuse words that the project no longer uses, and two classes of one name.

hack/retired_words.toml holds the words: names that Python code defines, and words of the strings
that users read (metrics, help, logs, errors, Events, charts, dashboards). Docstrings and comments
of Python code are left to the reviewer. One line a fault; exit code 1 if there is one. Run by
hack/verify.sh, from any folder.
"""

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WORDS = ROOT / "hack/retired_words.toml"
CLASSES_OF = "predictor/**/*.py"


class Fault(NamedTuple):
    """A retired word and where it stands; `word` is what the allow list names."""

    path: str
    line: int
    word: str
    text: str


def bindings(source: str) -> Iterator[tuple[int, str]]:
    """Names that Python code defines, with their lines.

    A name that it only uses is defined in another file of the project, which is checked as well,
    or elsewhere (`from hypothesis import given`), where the project does not choose it.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
                yield node.lineno, name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name


def identifiers(source: str, retired: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Names defined in Python code that are retired, without the underscores around them."""
    for line, name in sorted(bindings(source)):
        word = name.strip("_")
        if word in retired:
            yield line, word, f"{name} is retired; say {retired[word]}"


def strings_of(source: str) -> Iterator[tuple[int, str]]:
    """String literals of Python code that are no docstrings, with their lines."""
    tree = ast.parse(source)
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.lineno, node.value


def phrases(
    texts: Iterator[tuple[int, str]], retired: Mapping[str, str]
) -> Iterator[tuple[int, str, str]]:
    """Retired words in texts, in any case; a space in a word is any white space."""
    patterns = {
        word: re.compile(rf"(?<!\w){re.escape(word)}(?!\w)".replace(r"\ ", r"\s+"), re.I)
        for word in retired
    }
    for line, text in texts:
        for word, pattern in patterns.items():
            if pattern.search(text):
                yield line, word, f"{word!r} is retired; say {retired[word]}"


def double_classes(sources: Mapping[str, str]) -> Iterator[Fault]:
    """Classes whose name another class of the package has, too."""
    homes: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append((path, node.lineno))
    for name, places in homes.items():
        for path, line in places[1:]:
            first = places[0][0]
            yield Fault(path, line, name, f"class {name}: {first} has a class of that name")


def files(globs: Sequence[str]) -> dict[str, str]:
    """The texts of files, by their path from the root. Raises ValueError for an empty glob."""
    texts: dict[str, str] = {}
    for glob in globs:
        paths = sorted(path for path in ROOT.glob(glob) if path.is_file())
        if not paths:
            raise ValueError(f"{WORDS.name}: {glob} matches no file")
        texts |= {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}
    return texts


def faults(words: Mapping[str, Any]) -> Iterator[Fault]:
    where = words["files"]
    for path, source in files(where["identifiers"]).items():
        yield from (Fault(path, *place) for place in identifiers(source, words["identifiers"]))
    readers = {path: strings_of(source) for path, source in files(where["python_strings"]).items()}
    for path in files(where["models_texts"]):
        readers.pop(path, None)
    for path, source in files(where["texts"]).items():
        readers[path] = iter(enumerate(source.splitlines(), 1))
    for path, texts in readers.items():
        yield from (Fault(path, *place) for place in phrases(texts, words["strings"]))
    yield from double_classes(files([CLASSES_OF]))


def check(words: Mapping[str, Any]) -> list[str]:
    """One line a fault, and one for everything that the allow list need no longer allow."""
    allowed = {(path, word) for path, listed in words["allow"].items() for word in listed}
    unused = set(allowed)
    lines = []
    for fault in faults(words):
        if (fault.path, fault.word) in allowed:
            unused.discard((fault.path, fault.word))
        else:
            lines.append(f"{fault.path}:{fault.line}: {fault.text}")
    for path, word in sorted(unused):
        lines.append(f"{WORDS.name}: {path} no longer has {word!r}; remove it from the allow list")
    return lines


def main() -> int:
    with WORDS.open("rb") as file:
        lines = check(tomllib.load(file))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
