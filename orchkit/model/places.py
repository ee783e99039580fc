"""Places: where a user wrote something, and the words that stand there, for messages.

Nothing is read before somebody asks for the words, and whatever is missing (no source, no notebook) is left out.
"""

from __future__ import annotations

import functools
import io
import linecache
import ntpath
import posixpath
import re
import sys
import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

__all__ = ["Place", "here", "place_of", "source_of"]

_LONGEST = 110
_OF_A_KERNEL = re.compile(r"^(ipykernel_\d+|xpython_\d+)$")
_OF_IPYTHON = re.compile(r"^<ipython-input-(\d+)-")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file or of a notebook's cell.

    Parameters
    ----------
    file : str
        As Python knows it.
    line : int, from 1
        For a function the first of its decorators.
    code : CodeType, optional
        Of the function that begins there.
    """

    file: str
    line: int
    code: CodeType | None = None

    def quote(self, word: str = "") -> str:
        """Give the line that bears a word, or that begins the definition, and where it is.

        Parameters
        ----------
        word : str
            What is complained of: the line of the signature or of a decorator that bears it is quoted.

        Returns
        -------
        str
            Such as ``async def draft(lokup: list[str]) -> str:   (cell In[4], line 3)``; without the words where there
            is no source, and nothing where there is no file either.
        """
        lines = _lines(self.file)
        rest = lines[self.line - 1 :]
        offset = _offset(word, rest, *(_statement if self.code is None else _head)(rest)) if rest else 0
        text = rest[offset].strip() if rest else ""
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
        where = _name(self.file, self.line + offset, bool(lines))
        return "   ".join(filter(None, (text, where)))


def place_of(fn: Any) -> Place | None:
    """Give where a function was written; None for what is no function of Python's, or was made without a file."""
    code = _code_of(fn)
    return None if code is None else Place(code.co_filename, code.co_firstlineno, code)


def here(*rooms: str) -> Place | None:
    """Give the line that is being executed, in the nearest frame that belongs to none of these packages."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_in(frame.f_globals.get("__name__", ""), rooms):
        frame = frame.f_back
    return None if frame is None else Place(frame.f_code.co_filename, frame.f_lineno)


def _is_in(module: str, rooms: Sequence[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in (__name__, *rooms))


def source_of(code: CodeType) -> str:
    """Give the text of a function up to its last expression, decorators included; "" if there is none."""
    # Not inspect.getsource, which looks through all modules for the file, and splits what follows into tokens.
    return "".join(_lines(code.co_filename)[code.co_firstlineno - 1 : _end(code)])


def _end(code: CodeType) -> int:
    ends = (end or 0 for _, end, _, _ in code.co_positions())
    return max(*ends, *(_end(inner) for inner in code.co_consts if isinstance(inner, CodeType)), code.co_firstlineno)


def _code_of(fn: Any) -> CodeType | None:
    for _ in range(100):  # a chain of wrappers; one that bites its tail ends too
        inner = fn.func if isinstance(fn, functools.partial) else getattr(fn, "__wrapped__", None)
        inner = getattr(fn, "fn", None) if inner is None and not hasattr(fn, "__code__") else inner
        if inner is None:
            break
        fn = inner
    code = getattr(fn, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _lines(file: str) -> list[str]:
    try:
        linecache.checkcache(file)
        return linecache.getlines(file)
    except Exception:  # a loader of somebody's; a message must not fail for want of its quotation
        return []


def _offset(word: str, lines: Sequence[str], head: int, first: int) -> int:
    """Find the line that bears a word: from the first one to the end of the head, else before it, else the first."""
    bears = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)") if word else None
    found = (i for i in (*range(first, head), *range(first)) if bears is not None and bears.search(lines[i]))
    return next(found, first)


def _head(lines: Sequence[str]) -> tuple[int, int]:
    """Count the lines of decorators and signature, and those before ``def``; 1 and 0 where that cannot be told."""
    depth, def_ = 0, -1
    for token in _tokens(lines):
        depth += _DEPTHS.get(token.string, 0)
        if token.string == "def" and depth == 0:
            def_ = token.start[0] - 1
        elif token.string == ":" and depth == 0 and def_ >= 0:
            return token.start[0], def_
    return 1, 0


def _statement(lines: Sequence[str]) -> tuple[int, int]:
    """Count the lines of a statement, none of them before it."""
    end = next((token.start[0] for token in _tokens(lines) if token.type == tokenize.NEWLINE), 1)
    return end, 0


_DEPTHS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def _tokens(lines: Sequence[str]) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO("".join(lines)).readline)
    except (SyntaxError, IndentationError, tokenize.TokenError):
        return


def _name(file: str, line: int, is_known: bool) -> str:
    """Name a line as its user knows it: never by the whole path, which is another on each machine."""
    cell = _cell(file)
    if cell is not None:
        return f"({cell}, line {line})"
    if file.startswith("<"):  # made by exec, or typed at a prompt
        return f"({file}, line {line})" if is_known else ""
    return f"({_base(file)}:{line})"


def _cell(file: str) -> str | None:
    numbered = _number_in_shell(file)
    if numbered:
        return f"cell {numbered}"
    old = _OF_IPYTHON.match(file)
    if old is not None:
        return f"cell In[{old[1]}]"
    # A kernel that is gone, or has forgotten: the name of the file is a digest of the cell's text.
    return "a cell" if _OF_A_KERNEL.match(_base(_parent(file))) else None


def _number_in_shell(file: str) -> str:
    shell_module: Any = sys.modules.get("IPython")
    get: Callable[[], Any] | None = getattr(shell_module, "get_ipython", None)
    try:
        shell = None if get is None else get()
        told = None if shell is None else shell.compile.format_code_name(file)
        return "" if told is None else str(told[1])
    except Exception:  # a shell of another make
        return ""


def _parent(file: str) -> str:
    return ntpath.dirname(file) if "\\" in file else posixpath.dirname(file)


def _base(file: str) -> str:
    return ntpath.basename(file)  # splits at both kinds of slashes
