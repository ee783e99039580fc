"""Where something was written is quoted in its user's words, and nothing fails where there are none."""

from __future__ import annotations

import functools
import linecache
import textwrap
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import orchkit as ok
from orchkit.model.places import Place, here, place_of, source_of

TRIAGE = '''\
import orchkit as ok

wf = ok.Workflow("triage", input=str, output="nothing")


@wf.step
def lookup(input: str) -> list[str]: ...


@wf.step(
    retry=3,
    after=["plam"],
)
async def draft(
    input: str,
    lokup: list[str],
) -> dict[
    str, int
]:
    """Draft: of "lokup" nothing is said here."""
    lokup = 3


def spare(drft): ...


wf.approval(
    "review",
    show="darft",
)


@wf.route(to=["review", "sent"])
def risk(draft: dict) -> str: ...


@wf.step(fallback=spare)
def send(draft: dict[str, int], review: bool) -> str: ...
'''


def module(folder: Path, text: str, name: str = "triage") -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_each_problem_quotes_the_line_that_it_is_about(tmp_path: Path) -> None:
    with pytest.raises(ok.GraphError) as caught:
        module(tmp_path, TRIAGE).wf.checked()
    assert str(caught.value) == textwrap.dedent("""\
        workflow 'triage' has 6 problems:
          - 'draft' has a parameter 'lokup', which is no node: did you mean 'lookup'?
              lokup: list[str],   (triage.py:16)
          - 'draft' comes after 'plam', which is no node: there are: lookup, draft, review, risk, send
              after=["plam"],   (triage.py:12)
          - 'review' has a parameter 'darft', which is no node: did you mean 'draft'?
              show="darft",   (triage.py:29)
          - route 'risk' leads to 'sent', which is no node: did you mean 'send'?
              @wf.route(to=["review", "sent"])   (triage.py:33)
          - fallback 'spare' of 'send' asks for 'drft'; it gets the node's inputs by name (draft, input, review), \
and 'error' and 'ctx' if it asks; did you mean 'draft'?
              def send(draft: dict[str, int], review: bool) -> str: ...   (triage.py:38)
              def spare(drft): ...   (triage.py:24)
          - the workflow's output is 'nothing', which is no node: there are: lookup, draft, review, risk, send
              wf = ok.Workflow("triage", input=str, output="nothing")   (triage.py:3)""")
    assert len(caught.value.problems) == 6
    assert not any("triage.py" in problem for problem in caught.value.problems)


def test_nothing_fails_where_the_source_is_gone(tmp_path: Path) -> None:
    wf = module(tmp_path, TRIAGE).wf
    (tmp_path / "triage.py").unlink()
    linecache.clearcache()
    with pytest.raises(ok.GraphError, match=r"'lookup'\?\n +\(triage\.py:10\)"):
        wf.checked()


def test_nothing_fails_where_the_source_is_another_by_now(tmp_path: Path) -> None:
    wf = module(tmp_path, TRIAGE).wf
    (tmp_path / "triage.py").write_text("x = (1\n'''\n")
    with pytest.raises(ok.GraphError, match="did you mean 'lookup'"):
        wf.checked()


def test_what_no_file_holds_is_not_quoted() -> None:
    scope: dict[str, object] = {}
    exec("def draft(plam): ...", scope)
    wf = ok.Workflow("prompt")
    wf.step(scope["draft"])
    with pytest.raises(ok.GraphError) as caught:
        wf.checked()
    assert str(caught.value).endswith("there are: input, draft")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("/home/dana/work/triage.py", "(triage.py:7)"),
        ("C:\\Users\\dana\\triage.py", "(triage.py:7)"),
        ("/tmp/ipykernel_123/456.py", "(a cell, line 7)"),
        ("C:\\Temp\\ipykernel_123\\456.py", "(a cell, line 7)"),
        ("<ipython-input-3-0123456789ab>", "(cell In[3], line 7)"),
        ("<string>", ""),
    ],
)
def test_no_folder_of_a_machine_is_told(file: str, told: str) -> None:
    assert Place(file, 7).quote() == told


def test_long_lines_are_cut() -> None:
    def draft(input: str, temperature: float = ok.const(0.25), instructions: str = ok.const("Be brief.")) -> str: ...

    place = place_of(draft)
    assert place is not None
    assert " ...   (" in place.quote("input")


def test_wrappers_are_looked_through() -> None:
    def inner(input): ...

    @functools.wraps(inner)
    def outer(*args): ...

    place = place_of(inner)
    assert place is not None
    assert place_of(outer) == place_of(functools.partial(inner)) == place_of(ok.step(inner)) == place
    assert place_of(max) is None
    assert place_of(3) is None


def test_the_source_of_a_function_goes_from_its_decorators_to_its_last_expression() -> None:
    @functools.cache
    def inner(n: int) -> int:
        def deeper() -> int:
            return max(
                n,
                3,
            )

        if n:
            return n
        return [
            deeper() for _ in range(n)
        ][-1]  # fmt: skip

    place = place_of(inner)
    assert place is not None
    assert place.code is not None
    source = textwrap.dedent(source_of(place.code))
    assert source.startswith("@functools.cache\ndef inner(n: int) -> int:\n")
    assert source.endswith("    ][-1]  # fmt: skip\n")
    compile(source, "inner", "exec")


def test_here_is_the_line_that_asks() -> None:
    place = here()
    assert place is not None
    assert place.quote() == f"place = here()   (test_model_places.py:{place.line})"
