"""The workflows whose logs are kept in ``v*/``. Never change one: its logs are read back over it."""

import orchkit as ok


def triage() -> ok.Workflow:
    """Make a workflow with one of everything: map, retry, time-out, fallback, route, question, effects."""
    wf = ok.Workflow("triage", input=str)

    @wf.step
    async def plan(input: str) -> list[str]:
        return [f"{input} {part}" for part in ("order", "payment", "héros \U0001f680")]

    @wf.map(over=plan, limit=2, retry=ok.Retry(3, wait=ok.backoff(base=1, jitter=None)), on_error="skip")
    async def lookup(item: str) -> str:
        return f"found {item}"

    @wf.step(timeout=10, retry=ok.Retry(2, wait=ok.backoff(base=0.5)), fallback="We are looking into it.")
    async def draft(lookup: list[str | None]) -> str:
        return f"draft of {len(lookup)}"

    @wf.route(to=["review", "apologise"])
    def decide(draft: str) -> str:
        return "apologise" if draft.startswith("We are") else "review"

    wf.approval("review", show=draft, answer=bool, timeout=3600)

    @wf.step(effect=True)
    async def send(draft: str, review: bool | None) -> str:
        return f"sent: {review}"

    @wf.step(effect=True, retry=ok.Retry(2, wait=ok.backoff(base=0.1, jitter=None)))
    async def apologise(draft: str) -> str:
        return "sorry"

    return wf


WORKFLOWS = {"triage": triage}
