"""Fingerprints are the same under every Python: an upgrade is no change of a step."""

from __future__ import annotations

import orchkit as ok
from orchkit.runs.fingerprint import fingerprints


async def step(input: int, scale: float = ok.const(1.5)) -> str:
    """Have what Pythons tell in different ways.

    Nothing in brackets, texts of many parts, an indented docstring, a young character 🫨 and an old one é.
    """

    class Kept:
        def inner(self) -> None: ...

    match input:
        case 0:
            return ""
        case _ if scale:
            pass
    text = f"{input}: {input!r:>{scale}}tail{scale=} {{}} 🫨"
    return " ".join([f"", text, *[], repr(Kept), repr(lambda *a, **k: {**k})])  # fmt: skip  # noqa: F541


def spare() -> str:
    return "🫨"


def test_fingerprints_are_as_every_python_gave_them() -> None:
    wf = ok.Workflow("w", input=int)
    wf.step(retry=ok.Retry(2, wait=ok.backoff(1)), timeout=5, fallback=ok.Fallback(spare, "🫨"))(step)
    wf.step(version="2")(spare)
    wf.approval("review", show="step", timeout=60)
    # The same by 3.11.7, 3.12.1 and 3.13.0; other numbers mean that waiting runs are refused after an upgrade.
    assert fingerprints(wf.checked()) == {
        "step": "fa05dadde1998574",
        "spare": "f7213fa371044f84",
        "review": "393265d0c1f1723e",
    }
