"""The shared context of a run: who sees what, what counts, and who is in conflict."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

import orchkit as ok
from orchkit.model.events import Event
from orchkit.model.shared import recorded_writes, winning_writes
from orchkit.runs.checks import dump_input
from orchkit.runs.simulate import prepare, simulate


class Case(BaseModel):
    notes: list[str] = []
    spent: float = 0.0
    status: str = "new"


MERGE: dict[str, Any] = {"notes": ok.append, "spent": ok.add}


def workflow() -> ok.Workflow:
    wf = ok.Workflow("case", input=list)
    wf.context(Case, merge=MERGE)
    return wf


def run_of(wf: ok.Workflow, input: Any = (), **options: Any) -> ok.Run:
    return wf.simulate(list(input), world=options.pop("world", ok.World()), **options)


def deltas(run: ok.Run) -> list[tuple[str, int, int, Any]]:
    return [(e.node, e.item, e.attempt, e.body) for e in run.log if e.kind == "context"]


# Own writes


def test_a_body_reads_what_it_has_written_and_the_record_is_one_delta() -> None:
    wf = workflow()

    @wf.step
    async def draft(input, ctx: ok.Context):
        before = ctx.shared
        ctx.update(notes=["a"], status="open")
        await ctx.sleep(1)
        ctx.update(notes=["b"], spent=0.5)
        ctx.update(spent=0.25, status="drafted")
        return [before.notes, ctx.shared.model_dump()]

    run = run_of(wf)
    seen = {"notes": ["a", "b"], "spent": 0.75, "status": "drafted"}
    assert run.result() == [[], seen]
    assert deltas(run) == [("draft", -1, 1, {"notes": ["a", "b"], "status": "drafted", "spent": 0.75})]
    assert [event.kind for event in run.log] == [
        "run_started", "started", "context", "completed", "run_ended"
    ]  # fmt: skip
    assert run.shared == Case(**seen)


def test_changing_what_was_read_changes_nothing() -> None:
    wf = workflow()

    @wf.step
    def draft(input, ctx: ok.Context):
        ctx.shared.notes.append("lost")
        mine = ["kept"]
        ctx.update(notes=mine)
        mine.append("lost")
        return ctx.shared.notes

    run = run_of(wf)
    assert run.result() == ["kept"]
    assert run.shared.notes == ["kept"]


def test_a_refused_update_writes_nothing_of_it() -> None:
    wf = workflow()

    @wf.step
    def draft(input, ctx: ok.Context):
        ctx.update(notes=["kept"])
        with pytest.raises(ok.DefinitionError, match=r"ctx\.update in 'draft': Case has no field 'note'; did you mean"):
            ctx.update(spent=9.0, note=["a"])
        with pytest.raises(ok.DefinitionError, match=r"the value for 'spent' does not fit the field"):
            ctx.update(notes=["lost"], spent="much")
        return ctx.shared.model_dump()

    assert run_of(wf).result() == {"notes": ["kept"], "spent": 0.0, "status": "new"}


@pytest.mark.parametrize("verb", ["shared", "update"])
def test_without_a_context_it_says_how_to_have_one(verb: str) -> None:
    wf = ok.Workflow("bare", input=list)

    @wf.step
    def draft(input, ctx: ok.Context):
        return ctx.shared if verb == "shared" else ctx.update(notes=["a"])

    run = run_of(wf)
    with pytest.raises(ok.RunError, match=rf"ctx\.{verb} in 'draft': the workflow has no shared context; describe it"):
        run.result()
    with pytest.raises(ok.DefinitionError, match="workflow 'bare' has no shared context"):
        _ = run.shared


def test_a_variant_keeps_the_context_and_a_second_definition_replaces_it() -> None:
    wf = workflow()

    @wf.step(retry=2)
    def draft(input, ctx: ok.Context):
        ctx.update(notes=["a"])

    assert run_of(wf.using(draft=None)).shared.notes == ["a"]
    wf.context(Case, merge=MERGE | {"status": ok.append})
    assert run_of(wf).shared.status == "new"


# What counts


def test_a_failed_attempt_writes_nothing() -> None:
    wf = workflow()

    @wf.step(retry=ok.Retry(3, wait=ok.backoff(1)))
    async def draft(input, ctx: ok.Context):
        ctx.update(notes=[f"attempt {ctx.attempt}"], spent=1.0)
        if ctx.attempt < 3:
            raise ConnectionError
        return ctx.shared.notes

    run = run_of(wf)
    assert run.result() == ["attempt 3"]
    assert deltas(run) == [("draft", -1, 3, {"notes": ["attempt 3"], "spent": 1.0})]
    assert run.shared.spent == 1.0


def test_an_attempt_that_takes_too_long_writes_nothing() -> None:
    wf = workflow()

    @wf.step(timeout=5.0, on_error="skip")
    async def slow(input, ctx: ok.Context):
        ctx.update(notes=["slow"])
        await ctx.sleep(9)

    @wf.step
    def after_all(input): ...

    run = run_of(wf)
    assert (run.status, deltas(run), run.shared) == ("degraded", [], Case())


def test_of_a_fallback_only_the_step_that_delivered_counts() -> None:
    wf = workflow()

    def first(input, ctx: ok.Context):
        ctx.update(notes=["first"])
        raise ConnectionError

    def second(input, ctx: ok.Context):
        ctx.update(notes=[f"second after {ctx.shared.notes}"])
        return "x"

    @wf.step(retry=2, fallback=ok.Fallback(first, second))
    def draft(input, ctx: ok.Context):
        ctx.update(notes=["draft"], status="drafted")
        raise ConnectionError

    run = run_of(wf)
    assert deltas(run) == [("draft/fallback:second", -1, 1, {"notes": ["second after []"]})]
    assert run.shared == Case(notes=["second after []"])


def test_a_fallback_value_writes_nothing() -> None:
    wf = workflow()

    @wf.step(fallback="canned")
    def draft(input, ctx: ok.Context):
        ctx.update(notes=["draft"])
        raise ConnectionError

    assert run_of(wf).shared == Case()


def test_the_writes_of_a_lost_leg_or_of_another_attempt_do_not_count() -> None:
    """Two legs may both have reached the log; what counts is the one that the value came from."""

    def event(kind: str, leg: int, attempt: int = 1, body: Any = None, status: str = "") -> Event:
        return Event(0, kind, "draft", leg=leg, attempt=attempt, body=body, status=status)

    log = [event("context", 0, body={"x": 0}), event("context", 1, body={"x": 1})]
    assert winning_writes([*log, event("completed", 0)]) == {"x": 0}
    assert winning_writes([*log, event("completed", 1)]) == {"x": 1}
    assert winning_writes([*log, event("completed", 0), event("cancelled", 1)]) == {"x": 0}
    assert winning_writes([*log, event("failed", 1), event("completed", 1, 2)]) == {}
    assert winning_writes([*log, event("completed", 1), event("degraded", 0, status="value")]) == {}
    again = [*log, event("context", 1, body={"x": 2})]
    assert recorded_writes(again, event("started", 1)) == {"x": 2}


def test_modelled_nodes_write_nothing() -> None:
    wf = workflow()

    @wf.step
    def draft(input, ctx: ok.Context):
        ctx.update(notes=["draft"])

    assert run_of(wf, world=ok.World(draft=ok.fake("x"))).shared == Case()


# Who sees what


def test_a_step_sees_its_ancestors_each_once_and_not_its_siblings() -> None:
    wf = workflow()

    @wf.step
    def plan(input, ctx: ok.Context):
        ctx.update(notes=["plan"], spent=1.0)

    @wf.step
    async def left(plan, ctx: ok.Context):
        await ctx.sleep(9)
        ctx.update(notes=["left"], spent=1.0)
        return ctx.shared.notes

    @wf.step
    async def right(plan, ctx: ok.Context):
        await ctx.sleep(1)
        ctx.update(notes=["right"], spent=1.0)
        return ctx.shared.notes

    @wf.step
    async def late(plan, ctx: ok.Context):
        await ctx.sleep(5)
        return ctx.shared.notes

    @wf.step
    def join(left, right, late, ctx: ok.Context):
        return [left, right, late, ctx.shared.notes, ctx.shared.spent]

    assert run_of(wf).result() == [["plan", "left"], ["plan", "right"], ["plan"], ["plan", "left", "right"], 3.0]


def test_what_comes_after_a_step_sees_it() -> None:
    wf = workflow()

    @wf.step
    def first(input, ctx: ok.Context):
        ctx.update(status="checked")

    @wf.step(after="first")
    def second(input, ctx: ok.Context):
        return ctx.shared.status

    assert run_of(wf).result() == "checked"


@pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")
@pytest.mark.parametrize("pick", ["send", "both"])
def test_a_target_sees_the_routes_that_picked_it(pick: str) -> None:
    wf = workflow()

    @wf.route(to=["send", "review"])
    def risk(input, ctx: ok.Context) -> list[str]:
        ctx.update(notes=["risk"])
        return ["send", "review"] if pick == "both" else ["send"]

    @wf.route(to=["send", "apologise"])
    async def verdict(input, ctx: ok.Context) -> list[str]:
        await ctx.sleep(1)
        ctx.update(notes=["verdict"])
        return ["apologise"]

    @wf.step
    def send(input, ctx: ok.Context):
        return ctx.shared.notes

    @wf.step
    def apologise(input, ctx: ok.Context):
        return ctx.shared.notes

    @wf.step
    def review(input, ctx: ok.Context):
        return ctx.shared.notes

    found = run_of(wf).result()
    assert found["send"] == ["risk"]
    assert found["apologise"] == ["verdict"]
    assert found.get("review") == (["risk"] if pick == "both" else None)


@pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")
def test_a_second_route_that_picks_it_later_changes_nothing_that_it_or_its_followers_see() -> None:
    wf = workflow()

    @wf.route(to=["send", "log"])
    def quick(input, ctx: ok.Context) -> list[str]:
        ctx.update(notes=["quick"])
        return ["send", "log"]

    @wf.route(to=["send", "log"])
    async def slow(input, ctx: ok.Context) -> list[str]:
        await ctx.sleep(5)
        ctx.update(notes=["slow"])
        return ["send", "log"]

    @wf.step(retry=ok.Retry(2, wait=ok.backoff(9, jitter=None)))
    async def send(input, ctx: ok.Context):
        if ctx.attempt == 1:
            raise ConnectionError
        return ctx.shared.notes

    @wf.step
    def log(input): ...

    @wf.step
    def done(send, ctx: ok.Context):
        return [send, ctx.shared.notes]

    assert run_of(wf).result()["done"] == [["quick"], ["quick"]]


def test_items_do_not_see_each_other_and_followers_see_them_in_item_order() -> None:
    wf = workflow()

    @wf.step
    def plan(input: list[str], ctx: ok.Context) -> list[str]:
        ctx.update(notes=["plan"])
        return input

    @wf.map(over="plan", limit=2)
    async def lookup(item, ctx: ok.Context):
        await ctx.sleep(9 - ctx.item)
        before = ctx.shared.notes
        ctx.update(notes=[f"found {item}"], spent=0.5)
        return [before, ctx.shared.notes]

    @wf.map(over="lookup")
    def check(item, ctx: ok.Context):
        return [item, ctx.shared.notes]

    @wf.step
    def join(check, ctx: ok.Context):
        return [check, ctx.shared.notes, ctx.shared.spent]

    all_of_them = ["plan", "found a", "found b", "found c"]
    checked, notes, spent = run_of(wf, "abc").result()
    assert notes == all_of_them
    assert spent == 1.5
    assert checked == [[[["plan"], ["plan", f"found {item}"]], all_of_them] for item in "abc"]


def test_an_empty_map_passes_on_what_came_before_it() -> None:
    wf = workflow()

    @wf.step
    def plan(input: list[str], ctx: ok.Context) -> list[str]:
        ctx.update(notes=["plan"])
        return input

    @wf.map(over="plan")
    def lookup(item): ...

    @wf.step
    def join(lookup, ctx: ok.Context):
        return ctx.shared.notes

    assert run_of(wf).result() == ["plan"]


def test_of_a_map_with_lost_items_the_others_count() -> None:
    wf = workflow()

    @wf.map(over="input", on_error="skip")
    def lookup(item, ctx: ok.Context):
        ctx.update(notes=[item])
        if item == "b":
            raise ConnectionError

    assert run_of(wf, "abc").shared.notes == ["a", "c"]


def test_skipped_nodes_bring_nothing_and_what_they_led_to_sees_the_rest() -> None:
    wf = workflow()

    @wf.step
    def plan(input, ctx: ok.Context):
        ctx.update(notes=["plan"])

    @wf.step(on_error="skip")
    def extra(plan, ctx: ok.Context):
        ctx.update(notes=["extra"])
        raise ConnectionError

    @wf.step
    def base(input, ctx: ok.Context):
        ctx.update(notes=["base"])

    @wf.step
    def join(base, ctx: ok.Context, extra=None):
        return ctx.shared.notes

    run = run_of(wf)
    assert run.result() == ["base"]
    assert run.shared.notes == ["plan", "base"]


def test_what_passes_through_an_approval_and_a_model_is_seen_behind_them() -> None:
    wf = workflow()

    @wf.step
    def plan(input, ctx: ok.Context):
        ctx.update(notes=["plan"])
        return "x"

    wf.approval("review", show="plan")

    @wf.step
    def middle(review): ...

    @wf.step
    def last(middle, ctx: ok.Context):
        return ctx.shared.notes

    world = ok.World(review=ok.person(60.0, approve=1.0), middle=ok.fake(1))
    assert run_of(wf, world=world).result() == ["plan"]


def test_a_replacing_chain_ends_with_its_last() -> None:
    wf = workflow()

    @wf.step
    def zero(input, ctx: ok.Context):
        ctx.update(status="zero")

    @wf.step
    def one(zero, ctx: ok.Context):
        before = ctx.shared.status
        ctx.update(status="one")
        return before

    @wf.step
    def two(one, zero, ctx: ok.Context):
        return [one, ctx.shared.status]

    run = run_of(wf)
    assert run.result() == ["zero", "one"]
    assert run.shared.status == "one"


# Conflicts


def forked(*, joined: bool, ordered: bool = False, field: str = "status", **options: Any) -> ok.Workflow:
    wf = workflow()

    @wf.step
    async def left(input, ctx: ok.Context):
        await ctx.sleep(2)
        ctx.update(**{field: "left"})

    @wf.step(after=["left"] if ordered else [])
    def right(input, ctx: ok.Context):
        ctx.update(**{field: "right"})

    @wf.step
    def near(left, ctx: ok.Context):
        return ctx.shared.status

    @wf.step
    async def idle(input, ctx: ok.Context):
        await ctx.sleep(100)

    if joined:

        @wf.step(**options)
        def join(right, near): ...

    return wf


TOLD = (
    "'left' and 'right' both wrote 'status' of the shared context, and neither comes before the other; order them by "
    "after=, or say how the field merges: wf.context(..., merge={'status': ok.append})"
)


@pytest.mark.parametrize("options", [{}, {"on_error": "skip"}, {"fallback": "spare", "retry": 3}])
def test_unordered_writers_conflict_at_the_first_that_has_both_as_ancestors(options: dict[str, Any]) -> None:
    run = run_of(forked(joined=True, **options))
    with pytest.raises(ok.ContextConflict) as caught:
        run.result()
    assert str(caught.value) == f"{TOLD} (run {run.id!r})"
    assert (caught.value.node, caught.value.run_id, run.status) == ("join", run.id, "failed")
    assert [(e.t, e.kind, e.node) for e in run.log][-3:] == [
        (2_000_000, "settled", "join"), (2_000_000, "cancelled", "idle"), (2_000_000, "run_ended", "")
    ]  # fmt: skip
    assert not any(event.kind == "started" and event.node == "join" for event in run.log)
    with pytest.raises(ok.ContextConflict, match="neither comes before the other"):
        _ = run.shared


def test_unordered_writers_conflict_at_the_end() -> None:
    run = run_of(forked(joined=False))
    with pytest.raises(ok.ContextConflict) as caught:
        run.result()
    assert str(caught.value) == f"{TOLD} (run {run.id!r})"
    assert (caught.value.node, run.status, run.log[-1].body) == ("", "failed", None)
    assert run.log[-1].error == f"ContextConflict: {TOLD}"


@pytest.mark.parametrize("joined", [False, True])
def test_ordered_writers_do_not_conflict(joined: bool) -> None:
    assert run_of(forked(joined=joined, ordered=True)).shared.status == "right"


@pytest.mark.filterwarnings("ignore::orchkit.GraphWarning")
def test_items_of_a_map_are_in_no_order() -> None:
    wf = workflow()

    @wf.map(over="input")
    def lookup(item, ctx: ok.Context):
        ctx.update(status=item)

    @wf.map(over="lookup")
    def check(item): ...

    assert run_of(wf, "a").shared.status == "a"
    with pytest.raises(ok.ContextConflict, match=r"'lookup\[0\]' and 'lookup\[1\]' both wrote 'status'") as caught:
        run_of(wf, "ab").result()
    assert caught.value.node == "check"


def test_a_conflict_beside_what_nobody_joins_waits_for_the_end() -> None:
    """Who does not descend from both goes on."""
    run = run_of(forked(joined=False))
    assert [e.status for e in run.log if e.kind == "completed" and e.node in ("near", "idle")] == ["final"] * 2


def test_a_run_that_failed_for_another_reason_says_that() -> None:
    wf = forked(joined=False)

    @wf.step
    def broken(idle):
        raise ValueError("no")

    with pytest.raises(ok.RunError, match="broken failed: ValueError: no") as caught:
        run_of(wf).result()
    assert not isinstance(caught.value, ok.ContextConflict)


def test_a_rule_that_raises_fails_who_reads() -> None:
    def picky(old: str, new: str) -> str:
        raise ValueError(f"{old} and {new}")

    wf = ok.Workflow("case", input=list)
    wf.context(Case, merge={"status": picky})

    @wf.step
    def first(input, ctx: ok.Context):
        ctx.update(status="x")

    @wf.step
    def second(first, ctx: ok.Context): ...

    with pytest.raises(ok.RunError, match="second failed: ValueError: new and x"):
        run_of(wf).result()


def test_items_that_see_the_same_fold_it_once() -> None:
    calls: list[str] = []

    def counted(old: str, new: str) -> str:
        calls.append(new)
        return new

    wf = ok.Workflow("case", input=list)
    wf.context(Case, merge={"notes": ok.append, "status": counted})

    @wf.step
    def plan(input: list[str], ctx: ok.Context) -> list[str]:
        ctx.update(status="planned")
        return input

    @wf.map(over="plan", limit=2)
    def lookup(item, ctx: ok.Context):
        ctx.update(notes=[item])

    run_of(wf, "abcdefghij")
    assert len(calls) < 5


# From outside


def test_it_can_be_read_while_the_run_waits_and_from_its_log_alone(tmp_path: Any) -> None:
    wf = workflow()

    @wf.map(over="input")
    def lookup(item: str, ctx: ok.Context):
        ctx.update(notes=[item])

    @wf.step
    def plan(lookup, ctx: ok.Context):
        ctx.update(status="planned")

    wf.approval("review", show="plan")

    @wf.step
    async def last(review, ctx: ok.Context):
        ctx.update(notes=[f"reviewed {ctx.shared.status}"])
        return ctx.shared.model_dump()

    with ok.open(tmp_path / "lab.duckdb") as store:
        run = wf.start(["a", "b"], store=store).wait_settled(30)
        assert run.shared == Case(notes=["a", "b"], status="planned")
        run.answer("review", True)
        done = {"notes": ["a", "b", "reviewed planned"], "spent": 0.0, "status": "planned"}
        assert run.result(30) == done
        assert run.shared == Case(**done)
        assert store.run(run.id).shared == {
            "lookup[0]": {"notes": ["a"]}, "lookup[1]": {"notes": ["b"]}, "plan": {"status": "planned"},
            "last": {"notes": ["reviewed planned"]},
        }  # fmt: skip
        assert store.resume(run.id, wf).shared == Case(**done)
        found = store.sql("select node, item, body from event where kind = 'context' and node = 'plan'")
        assert found.body.tolist() == ['{"status":"planned"}']


def test_a_suspended_run_goes_on_with_what_was_written(tmp_path: Any) -> None:
    wf = workflow()

    @wf.step
    def plan(input, ctx: ok.Context):
        ctx.update(notes=["plan"])

    wf.approval("review", show="plan")

    @wf.step
    def last(review, ctx: ok.Context):
        return ctx.shared.notes

    path = tmp_path / "lab.duckdb"
    with ok.open(path) as store:
        run_id = wf.start([], store=store).wait_settled(30).id
    with ok.open(path) as store:
        run = store.resume(run_id, wf).wait_settled(30)
        run.answer("review", True)
        assert run.result(30) == ["plan"]


# Cut between a delta and the end of its attempt


def torn(outcomes: list[Any]) -> tuple[ok.Workflow, list[Event]]:
    """Give a workflow whose body does something else each time, and a log that ends with its first delta."""
    wf = workflow()

    @wf.step(retry=ok.Retry(2, wait=ok.backoff(0)))
    def draft(input, ctx: ok.Context):
        does = outcomes.pop(0)
        if isinstance(does, Exception):
            raise does
        if does:
            ctx.update(notes=[does])
        return does

    program = prepare(wf.checked(), ok.World())
    log = simulate(program, dump_input(program, [])).log()
    return wf, log[: [event.kind for event in log].index("context") + 1]


@pytest.mark.parametrize(
    ("again", "notes", "kinds"),
    [
        (["same"], ["same"], ["context", "completed"]),
        (["other"], ["other"], ["context", "context", "completed"]),
        ([""], [], ["context", "context", "completed"]),
        ([ConnectionError(), "other"], ["other"], ["context", "failed", "waiting", "started", "context", "completed"]),
        ([ConnectionError(), ""], [], ["context", "failed", "waiting", "started", "completed"]),
    ],
)
def test_a_delta_without_its_end_does_not_count(again: list[Any], notes: list[str], kinds: list[str]) -> None:
    from orchkit.clock.dice import base_of
    from orchkit.runs.handle import shared_of
    from orchkit.runs.simulate import continue_virtual

    wf, log = torn(outcomes := ["same"])
    outcomes += again
    program = prepare(wf.checked(), ok.World())
    assert shared_of(program, "run", log) == Case()
    events = continue_virtual(program, "run", base_of(0), log).events
    assert [event.kind for event in events] == ["run_started", "started", *kinds, "run_ended"]
    assert shared_of(program, "run", events) == Case(notes=notes)
    assert shared_of(None, "run", events) == ({"draft": {"notes": notes}} if notes else {})


def test_what_redact_keeps_out_of_the_log_is_kept_out_of_the_context_too() -> None:
    class Named(BaseModel):
        token: str = ""

    class Nested(BaseModel):
        notes: list[dict[str, str]] = []

    with pytest.raises(ok.DefinitionError, match="field 'token' is one that redact= keeps out of the log"):
        ok.Workflow("w", input=str, redact=["token"]).context(Named)
    wf = ok.Workflow("w", input=str, redact=["token"])
    wf.context(Nested, merge={"notes": ok.append})

    @wf.step
    async def note(input: str, ctx: ok.Context) -> None:
        ctx.update(notes=[{"token": "s3cret", "said": "hi"}])

    run = wf.simulate("x", world=ok.World())
    assert run.shared.notes == [{"token": "**********", "said": "hi"}]
    assert "s3cret" not in str(run.log)


# What a step says that it writes


@pytest.mark.parametrize("name", ["act", "act/fallback:spare"])
def test_what_a_step_does_not_say_that_it_writes_it_cannot_write(name: str) -> None:
    wf = workflow()

    def spare(input, ctx: ok.Context):
        ctx.update(notes=["spare"], **{"status" if name != "act" else "notes": "spare"})

    @wf.step(writes=["notes"], fallback=spare)
    def act(input, ctx: ok.Context):
        ctx.update(notes=["act"])
        ctx.update(spent=1.0)

    run = run_of(wf)
    told = next(event.error for event in run.log if event.kind == "failed" and event.node == name)
    field = "spent" if name == "act" else "status"
    assert told == f"DefinitionError: ctx.update in {name!r}: {field!r} is not among its writes=['notes']; add it there"


def test_what_it_says_it_can_write() -> None:
    wf = workflow()

    @wf.step(writes=["notes"])
    def act(input, ctx: ok.Context):
        ctx.update(notes=["act"])

    assert run_of(wf).shared.notes == ["act"]
