"""Fingerprints: what counts as a change of a step, and what does not."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.runs.fingerprint import fingerprints


def scale():
    return 2


def of(step: Callable[..., Any], **options: Any) -> str:
    wf = ok.Workflow("w", input=int)
    wf.step(scale)
    wf.step(**options)(step)
    if "escalate" in options:
        wf.approval(options["escalate"])
    return fingerprints(wf.checked())["step"]


def written(tmp_path: Path, source: str, name: str) -> Callable[..., Any]:
    """A function from a file of its own, as a cell or a module gives it."""
    path = tmp_path / f"{name}.py"
    path.write_text(textwrap.dedent(source))
    scope: dict[str, Any] = {"ok": ok}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    return scope["step"]  # type: ignore[no-any-return]


def executed(source: str) -> Callable[..., Any]:
    """A function without a source, as ``exec`` gives it."""
    scope: dict[str, Any] = {"ok": ok}
    exec(textwrap.dedent(source), scope)
    return scope["step"]  # type: ignore[no-any-return]


BASE = '''
def step(input: int, scale: int = 2) -> int:
    """Scale it."""
    return input * scale + 1
'''
ALIKE = {
    "comments": '''
def step(input: int, scale: int = 2) -> int:  # scales
    """Scale it."""
    # by two
    return input * scale + 1
''',
    "moved lines": "\n\n\nimport os\n\n" + BASE,
    "formatting": '''
def step(
    input: int,
    scale: int = 2,
) -> int:
    """Scale it."""
    return (input * scale
            + 1)
''',
    "indentation": """
if True:
  def step(input: int, scale: int = 2) -> int:
    '''Scale it.'''
    return input*scale + 1
""",
}
CHANGED = {
    "a constant": BASE.replace("+ 1", "+ 2"),
    "a default": BASE.replace("= 2", "= 3"),
    "an operator": BASE.replace("*", "-"),
    "an annotation": BASE.replace("input: int", "input: float"),
    "the returned type": BASE.replace("-> int", "-> float"),
    "a docstring": BASE.replace("Scale it.", "Scale it well."),  # some clients take it as the prompt
    "async": BASE.replace("def", "async def"),
    "an inner decorator": BASE.replace("return", "@str\n    def inner(): ...\n    return"),
}


@pytest.mark.parametrize("what", ALIKE)
def test_what_does_not_change_a_step(tmp_path: Path, what: str) -> None:
    one, other = written(tmp_path, BASE, "one"), written(tmp_path, ALIKE[what], "other")
    assert of(one) == of(other)


@pytest.mark.parametrize("what", CHANGED)
def test_what_changes_a_step(tmp_path: Path, what: str) -> None:
    one, other = written(tmp_path, BASE, "one"), written(tmp_path, CHANGED[what], "other")
    assert of(one) != of(other)


@pytest.mark.parametrize("what", [name for name in CHANGED if name != "the returned type"])
def test_functions_without_a_source_are_told_apart_too(what: str) -> None:
    assert of(executed(BASE)) == of(executed(BASE))
    assert of(executed(BASE)) != of(executed(CHANGED[what]))


def test_constants_inside_nested_functions_count_without_a_source() -> None:
    nested = "def step(input):\n    def inner(): return {}\n    return inner()"
    assert of(executed(nested.format(1))) != of(executed(nested.format(2)))
    assert of(executed(nested.format(1))) == of(executed(nested.format(1)))


def test_constants_of_a_functions_maker_count() -> None:
    def make(scale: Any) -> Callable[..., Any]:
        def step(input):
            return input, scale

        return step

    assert of(make(2)) == of(make(2))
    assert of(make(2)) != of(make(3))
    assert of(make("a")) != of(make("b"))
    assert of(make([])) == of(make([1]))  # may grow while it runs: no constant


def test_defaults_count_by_value_and_not_only_by_how_they_are_written() -> None:
    def make(default: int) -> Callable[..., Any]:
        def step(input, scale=default):
            return input

        return step

    assert of(make(1)) == of(make(1))
    assert of(make(1)) != of(make(2))


def test_a_decorated_function_counts_as_what_it_wraps(tmp_path: Path) -> None:
    def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return wrapper

    one, other = written(tmp_path, BASE, "one"), written(tmp_path, CHANGED["a constant"], "other")
    assert of(logged(one)) == of(one)
    assert of(logged(one)) != of(logged(other))


def test_a_version_takes_the_place_of_the_code() -> None:
    one, other = executed(BASE), executed(CHANGED["a constant"])
    assert of(one, version="1") == of(other, version="1")
    assert of(one, version="1") != of(one, version="2")
    assert of(one, version="1") != of(one, version="1", retry=2)


def spare(input):
    return 1


POLICIES: list[dict[str, Any]] = [
    {},
    {"retry": 2},
    {"retry": 3},
    {"retry": ok.Retry(2, wait=ok.backoff(2))},
    {"retry": ok.Retry(2, on=ValueError)},
    {"timeout": 5},
    {"timeout": 6},
    {"fallback": 1},
    {"fallback": 2},
    {"fallback": spare},
    {"fallback": executed("def step(input): return 1")},
    {"fallback": executed("def step(input): return 2")},
    {"deadline": 5},
    {"hedge": 5},
    {"hedge": 6},
    {"breaker": ok.Breaker(5)},
    {"breaker": ok.Breaker(6)},
    {"breaker": ok.Breaker(5, 60)},
    {"breaker": ok.Breaker(5, key="llm:a")},
    {"bulkhead": 5},
    {"bulkhead": ok.Bulkhead(5, 0)},
    {"rate_limit": ok.RateLimit(5)},
    {"rate_limit": ok.RateLimit(5, 2)},
    {"budget": ok.Budget(calls=5)},
    {"budget": ok.Budget(tokens=5)},
    {"budget": ok.Budget(tokens=5, then="degrade")},
    {"escalate": "review"},
    {"effect": True},
    {"on_error": "skip"},
]


def test_policies_count_each_in_its_own_way() -> None:
    def step(input: int) -> int: ...

    found = [of(step, **options) for options in POLICIES]
    assert len(set(found)) == len(found)
    assert found == [of(step, **options) for options in POLICIES]


def test_a_number_written_in_another_way_is_no_change() -> None:
    def step(input: int) -> int: ...

    for name in ("hedge", "deadline"):
        assert of(step, **{name: 5}) == of(step, **{name: 5.0})


def test_the_place_in_the_graph_counts() -> None:
    def graph(after: str, source: str) -> dict[str, str]:
        wf = ok.Workflow("w")
        wf.step(scale)
        wf.step(spare)
        wf.step(after=after)(executed(f"def step({source}): ..."))
        return fingerprints(wf.checked())

    assert graph("spare", "scale")["step"] != graph("scale", "scale")["step"]
    assert graph("spare", "scale")["step"] != graph("spare", "spare")["step"]
    assert graph("spare", "scale")["spare"] == graph("scale", "spare")["spare"]


def test_an_approvals_question_counts() -> None:
    def asked(**options: Any) -> str:
        wf = ok.Workflow("w")
        wf.step(executed("def step(input): ..."))
        wf.approval("q", **options)
        return fingerprints(wf.checked())["q"]

    found = [asked(), asked(answer=str), asked(timeout=5.0), asked(show="step"), asked(prefill={"a": "step"})]
    assert len(set(found)) == len(found)


def test_a_function_that_autoreload_swaps_in_place_is_looked_at_again() -> None:
    step = executed("def step(input: int) -> int: return input * 2")
    wf = ok.Workflow("w", input=int)
    wf.step(step)
    before = fingerprints(wf.checked())
    step.__code__ = executed("def step(input: int) -> int: return input * 3").__code__  # type: ignore[attr-defined]
    assert fingerprints(wf.checked()) != before


def test_a_question_is_another_one_when_its_answers_have_other_fields() -> None:
    def asking(answer: Any) -> str:
        answer.__qualname__ = "Decision"
        wf = ok.Workflow("w")
        wf.approval("review", answer=answer)
        return fingerprints(wf.checked())["review"]

    class Decision(BaseModel):
        approve: bool

    class Longer(BaseModel):
        approve: bool
        note: str = ""

    class Same(BaseModel):
        approve: bool

    class Typed(BaseModel):
        approve: int

    class Verdict(Enum):
        yes = 1

    class Milder(Enum):
        yes = 1
        perhaps = 2

    class Tree(BaseModel):
        below: Tree

    assert asking(Tree)
    assert asking(Verdict) != asking(Milder)
    assert asking(Decision) == asking(Same)
    assert len({asking(Decision), asking(Longer), asking(Typed)}) == 3


SCRIPT = """
import functools, orchkit as ok
from orchkit.runs.fingerprint import fingerprints
wf = ok.Workflow("w", input=int)
class Busy:
    def __call__(self, error): return True
exec("def step(input, k=ok.const(object())): return input in {'a', 'b', 'c', 'd'} or (lambda: 1)")
wf.step(retry=ok.Retry(2, on=Busy()))(step)
wf.step(functools.wraps(step)(lambda input: 1))
print(fingerprints(wf.checked()))
"""


def test_fingerprints_are_the_same_in_another_process_with_another_hash_seed() -> None:
    root = str(Path(ok.__file__).parents[1])
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def by_first(item: Any) -> str:
    return str(item)[0]


def by_last(item: Any) -> str:
    return str(item)[-1]


def test_what_a_map_has_of_its_own_counts_and_a_map_without_it_is_as_before() -> None:
    def prints(**options: Any) -> str:
        wf = ok.Workflow("w", input=list)

        @wf.map(over="input")
        def first(item: int) -> int: ...

        @wf.map(over="first", **options)
        def step(item: int) -> int: ...

        return fingerprints(wf.checked())["step"]

    told = [{}, {"quorum": 1}, {"quorum": 0.5}, {"stream": True}, {"key": by_first}, {"key": by_last}, {"limit": 1},
            {"on_error": "skip"}, {"on_error": "collect"}]  # fmt: skip
    assert len({prints(**options) for options in told}) == len(told)
    assert prints(quorum=None, stream=False, key=None) == prints()


def test_a_map_has_the_fingerprint_that_it_had_before_it_could_do_more() -> None:
    wf = ok.Workflow("w", input=list)

    @wf.map(over="input", limit=2, version="1")
    def step(item: int) -> int: ...

    wf.approval("review", show="step")
    assert fingerprints(wf.checked()) == BEFORE


BEFORE = {"step": "f6e009388733c429", "review": "481fd5e5c888fd2a"}
