"""Fingerprints: whether a node is still the node that was recorded."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from types import CellType, CodeType
from typing import Any

from orchkit.model.graph import Graph
from orchkit.model.policies import Fallback, Policy
from orchkit.model.steps import Node, Step
from orchkit.model.text import without_addresses

__all__ = ["fingerprints"]

_PLAIN = (str, int, float, bool, bytes, type(None))


def fingerprints(graph: Graph) -> dict[str, str]:
    """Digest each node: its code, its place in the graph, its policies.

    Comments, formatting, moved lines and kernel restarts do not change it; ``version=`` takes the code's place.
    Constants that a function got from its maker or as defaults count; a docstring counts too, for some use it as a
    prompt. What a step calls is not seen: give it a new ``version`` when that changes. Nor is the model of the shared
    context, a change of which would change every node.
    """
    return {node.name: _fingerprint(graph, node) for node in graph.nodes}


def _fingerprint(graph: Graph, node: Node) -> str:
    # Looked at anew each time a run starts, because autoreload swaps a function's code in place; made anew only
    # when it did, because a sweep of live runs starts thousands.
    code: Any = None if node.function is None else getattr(node.function.fn, "__code__", None)
    if node.body is not None:
        code = (getattr(node.until, "__code__", None), tuple(fingerprints(node.body).values()))
    if node.key is not None:
        code = (code, getattr(node.key, "__code__", None))
    known = graph.fingerprints.get(node.name)
    if known is None or (known[0] is not code and (not isinstance(code, tuple) or known[0] != code)):
        known = graph.fingerprints[node.name] = (code, _digest(_describe(node)))
    return known[1]


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _describe(node: Node) -> str:
    place = (
        node.kind, [(dep.name, dep.source, dep.required) for dep in node.deps], node.after, node.targets, node.over,
        node.limit, node.show, node.prefill, node.timeout, node.effect, node.on_error,
    )  # fmt: skip
    if node.body is not None:
        held = node.feeds, node.rounds, node.then, sorted(fingerprints(node.body).items())
        place = (*place, held)  # type: ignore[assignment]  # only where there is one: others stay as they were recorded
    if node.key is not None or node.quorum is not None or node.stream:
        items = "" if node.key is None else _code_of(node.key), node.quorum, node.stream
        place = (*place, items)  # type: ignore[assignment]  # the same
    if node.undo is not None:
        place = (*place, f"undo {_step_of(node.undo)}")  # type: ignore[assignment]  # as above
    policies = [_describe_policy(policy) for policy in node.policies]
    code = f"version {node.version}" if node.version is not None else ""
    if not code and node.function is not None:
        code = _code_of(node.function.fn) + ascii(node.function.consts)
    if not code and node.until is not None:
        code = _code_of(node.until)
    return without_addresses(ascii((place, policies, code, _describe_answer(node.answer))))


def _describe_answer(answer: Any, seen: tuple[Any, ...] = ()) -> Any:
    """Tell a question's model with its fields, for an answer to the old ones may not fit the new ones."""
    name = getattr(answer, "__qualname__", repr(answer))
    if not isinstance(answer, type) or answer in seen:
        return name
    fields = getattr(answer, "model_fields", None) or getattr(answer, "__dataclass_fields__", None) or {}
    types = {field: getattr(one, "annotation", getattr(one, "type", None)) for field, one in fields.items()}
    told = [
        (field, _describe_answer(types[field], (*seen, answer)), repr(one.default)) for field, one in fields.items()
    ]
    members = list(getattr(answer, "__members__", ()))
    return (name, told, members) if told or members else name


def _describe_policy(policy: Policy) -> str:
    if isinstance(policy, Fallback):
        return f"fallback {[_step_of(o) if callable(o) else ascii(o) for o in policy.options]}"
    fields = {name: getattr(policy, name) for name in policy.__dataclass_fields__}
    return f"{policy.kind} { {name: _name_of(value) for name, value in fields.items()} }"


def _step_of(fn: Callable[..., Any]) -> str:
    """Tell a step that stands beside a node, with the options that it has of its own."""
    if not isinstance(fn, Step) or not fn.options:
        return _code_of(fn)
    own = dict(fn.options)
    version, policies = own["version"], own["policies"]
    code = _code_of(fn) if version is None else f"version {version}"
    return f"{code} {[_describe_policy(policy) for policy in policies]}" if policies else code


def _name_of(value: Any) -> str:
    return getattr(value, "__qualname__", None) or ascii(value)


def _code_of(fn: Callable[..., Any]) -> str:
    fn = inspect.unwrap(fn.fn if isinstance(fn, Step) else fn)
    code = getattr(fn, "__code__", None)
    if code is None:
        return repr(fn)
    # The file and the annotations are in no code object: without them the text of another cell might be taken.
    return _code_text(code, code.co_filename, repr(fn.__annotations__)) + _captured(fn, code)


def _captured(fn: Callable[..., Any], code: CodeType) -> str:
    """Tell the plain constants that came to a function from outside: defaults, and variables of its maker."""
    cells = map(_content, getattr(fn, "__closure__", None) or ())
    values: dict[Any, Any] = dict(zip(code.co_freevars, cells, strict=False))
    values |= dict(enumerate(getattr(fn, "__defaults__", None) or ()))
    values |= getattr(fn, "__kwdefaults__", None) or {}
    plain = {name: value for name, value in values.items() if isinstance(value, _PLAIN)}
    return f" with {plain!a}" if plain else ""


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return ...


@lru_cache(maxsize=4096)
def _code_text(code: CodeType, file: str, annotations: str) -> str:
    try:
        tree = _parsed(textwrap.dedent(_source(code)))
    except (OSError, TypeError, SyntaxError):
        # No source (exec, a frozen module): bytecode, which differs between Python versions.
        return f"{sys.version_info[:2]} {_bytecode(code)} {annotations}"
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            statement.decorator_list = []  # policies are told apart on their own, however they were written
    return _dump(tree)


def _source(code: CodeType) -> str:
    # As inspect.getsource, which looks through all modules and splits the rest of the file into tokens, for each step
    # anew: 200 steps took a fifth of a second.
    file = code.co_filename
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    if not lines and file.startswith("<"):
        raise OSError("no source")
    lengths = _lengths(file, lines)
    end = lengths.get((code.co_firstlineno, code.co_name))
    return inspect.getsource(code) if end is None else "".join(lines[code.co_firstlineno - 1 : end])


def _parsed(text: str) -> ast.Module:
    # One at a time: Python 3.11 counts the depth of what it builds for all threads at once (cpython issue 106905),
    # and says so by a SystemError; another thread of the user's may parse too, so it is tried again.
    with _PARSING:
        for _ in range(3):
            try:
                return ast.parse(text)
            except SystemError:
                continue
        return ast.parse(text)


_PARSING = threading.Lock()
_LENGTHS: dict[str, tuple[list[str], dict[tuple[int, str], int]]] = {}


def _lengths(file: str, lines: list[str]) -> dict[tuple[int, str], int]:
    """Tell where each function of a file ends, by the line where it begins, its decorators included, and its name."""
    known = _LENGTHS.get(file)
    if known is None or known[0] is not lines:
        known = _LENGTHS[file] = lines, dict(_ends("".join(lines)))
    return known[1]


def _ends(text: str) -> Iterator[tuple[tuple[int, str], int]]:
    try:
        tree = _parsed(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            begin = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield (begin, node.name), node.end_lineno


def _dump(node: Any) -> str:
    # Not ast.dump, whose text changes with Python's version (3.13 leaves empty lists out, and each version adds
    # fields that are empty for older code), nor repr, to which more characters are printable in each version: an
    # upgrade must not make a waiting run look as if its code had changed.
    if isinstance(node, ast.AST):
        return f"{type(node).__name__}({', '.join(f'{name}={_dump(value)}' for name, value in _told(node))})"
    return f"[{', '.join(map(_dump, node))}]" if isinstance(node, list) else ascii(node)


def _told(node: ast.AST) -> Iterator[tuple[str, Any]]:
    for name, value in ast.iter_fields(node):
        # Python 3.12 has empty texts between the parts of an f-string where others have nothing.
        told = [part for part in value if not _is_empty(part)] if isinstance(node, ast.JoinedStr) else value
        if told is not None and told != []:
            yield name, told


def _is_empty(part: ast.AST) -> bool:
    return isinstance(part, ast.Constant) and part.value == ""


def _bytecode(code: CodeType) -> str:
    consts = [_constant(const) for const in code.co_consts]
    return f"{code.co_code.hex()} {consts} {code.co_names} {code.co_varnames}"


def _constant(const: Any) -> str:
    if isinstance(const, CodeType):
        return _bytecode(const)
    # A set's order changes with the hash seed of the process.
    return f"{{{sorted(map(repr, const))}}}" if isinstance(const, frozenset) else repr(const)
