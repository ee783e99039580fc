"""The views, each against a log written by hand."""

import pytest
from conformance import START, head

from orchkit.model.events import Event
from orchkit.store.duck import DuckStore
from orchkit.store.schema import __doc__ as documentation

S = 1_000_000


def started(t, node, n=1, **more):
    return Event(t * S, "started", node, attempt=n, **more)


def ended(t, kind, node, n=1, status="", dur=1, **more):
    return Event(t * S, kind, node, attempt=n, status=status, dur=dur * S, **more)


LOG = [
    Event(0, "run_started", body={"input": 7}),
    # a retry that works, after a fault
    started(1, "fetch"),
    Event(1 * S, "injected", "fetch", attempt=1, status="fail", body=["f1", 1.0]),
    ended(2, "failed", "fetch", 1, "error", cost=0.5, tokens=10, error="ConnectionError: gone", body={"type": "x"}),
    Event(2 * S, "waiting", "fetch", attempt=1, dur=3 * S),
    started(5, "fetch", 2),
    ended(7, "completed", "fetch", 2, "ok", 2, cost=0.25, tokens=5, body=[1, 2]),
    Event(7 * S, "settled", "fetch", status="completed"),
    # map items: one times out and is cancelled on its second try, one is skipped
    started(8, "each", item=0),
    started(8, "each", item=1),
    ended(9, "failed", "each", 1, "timeout", item=0, error="AttemptTimeout: too long"),
    started(9, "each", 2, item=0),
    ended(9, "failed", "each", 1, "error", item=1, error="ValueError: no"),
    Event(9 * S, "skipped", "each", 1, status="error", error="ValueError: no"),
    Event(10 * S, "cancelled", "each", 0, attempt=2, dur=1 * S),
    # a fallback delivers
    started(10, "draft"),
    ended(11, "failed", "draft", 1, "error", error="OSError: down"),
    started(11, "draft/fallback:canned"),
    ended(12, "completed", "draft/fallback:canned", 1, "ok", body="sorry"),
    Event(12 * S, "degraded", "draft", status="step", error="OSError: down"),
    Event(12 * S, "settled", "draft", status="degraded"),
    # an effect with two attempts, one that goes on, one given up, and one done in two generations
    started(13, "send", key="send"),
    ended(14, "failed", "send", 1, "timeout", key="send", error="AttemptTimeout: x"),
    started(15, "send", 2, key="send"),
    ended(16, "completed", "send", 2, "ok", key="send"),
    started(16, "pay", key="pay[0]", item=0),
    started(16, "pay", key="pay[1]", item=1),
    ended(17, "failed", "pay", 1, "error", key="pay[1]", item=1, error="E: x"),
    started(17, "post", key="post"),
    ended(18, "completed", "post", 1, "ok", key="post"),
    started(19, "post", key="post", generation=2),
    ended(20, "completed", "post", 1, "ok", key="post", generation=2),
    started(20, "drop", key="drop"),
    Event(21 * S, "cancelled", "drop", attempt=1, dur=1 * S, key="drop"),
    # questions: answered, expired, open, and one per item
    Event(22 * S, "asked", "review", dur=60 * S, body={"show": "text"}),
    Event(23 * S, "answered", "review", by="dana", body={"approve": True}),
    Event(23 * S, "settled", "review", status="completed"),
    Event(23 * S, "asked", "legal", dur=5 * S, body={"show": None}),
    Event(28 * S, "expired", "legal"),
    Event(28 * S, "settled", "legal", status="failed", error="ApprovalExpired: nobody"),
    Event(28 * S, "asked", "check", item=0, body={"show": 0}),
    Event(28 * S, "asked", "check", item=1, body={"show": 1}),
    Event(29 * S, "answered", "check", item=1, by="ana", body=False),
    Event(29 * S, "skipped", "never"),
    # two legs of a hedge
    started(30, "ask_model", leg=0),
    started(31, "ask_model", leg=1),
    ended(32, "completed", "ask_model", 1, "ok", leg=1),
    Event(32 * S, "cancelled", "ask_model", leg=0, attempt=1, dur=2 * S),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = DuckStore(tmp_path_factory.mktemp("views") / "lab.duckdb")
    main, beside = store.admit(head("main")), store.admit(head("beside", workflow="other"))
    for event in LOG:
        main.append(event)
        # Rows of another run with the same names lie between.
        beside.append(Event(event.t + 1, event.kind, event.node, event.item, attempt=event.attempt, key=event.key))
    yield store
    store.close()


def rows(store, columns, view, where="true"):
    order = "order by t, node, item, leg, attempt" if view == "attempt" else ""
    return store.fetch(f"select {columns} from {view} where run = 'main' and {where} {order}")


def test_attempt(store):
    found = rows(store, "node, item, leg, attempt, t, status, dur, cost, tokens, error, injected", "attempt", "t < 13")
    assert found == [
        ("fetch", None, 0, 1, 1.0, "error", 1.0, 0.5, 10, "ConnectionError: gone", 1),
        ("fetch", None, 0, 2, 5.0, "completed", 2.0, 0.25, 5, None, 0),
        ("each", 0, 0, 1, 8.0, "timeout", 1.0, 0.0, 0, "AttemptTimeout: too long", 0),
        ("each", 1, 0, 1, 8.0, "error", 1.0, 0.0, 0, "ValueError: no", 0),
        ("each", 0, 0, 2, 9.0, "cancelled", 1.0, 0.0, 0, None, 0),
        ("draft", None, 0, 1, 10.0, "error", 1.0, 0.0, 0, "OSError: down", 0),
        ("draft/fallback:canned", None, 0, 1, 11.0, "completed", 1.0, 0.0, 0, None, 0),
    ]


def test_attempt_tells_generations_and_legs_apart_and_what_is_open(store):
    found = rows(store, "node, generation, leg, status, dur", "attempt", "node in ('post', 'ask_model', 'pay') ")
    assert found == [
        ("pay", 1, 0, "open", None),
        ("pay", 1, 0, "error", 1.0),
        ("post", 1, 0, "completed", 1.0),
        ("post", 2, 0, "completed", 1.0),
        ("ask_model", 1, 0, "cancelled", 2.0),
        ("ask_model", 1, 1, "completed", 1.0),
    ]


def test_node_run(store):
    assert rows(store, "node, item, generation, status, t, error", "node_run", "status <> 'open'") == [
        ("fetch", None, 1, "completed", 7.0, None),
        ("each", 1, 1, "skipped", 9.0, "ValueError: no"),
        ("draft", None, 1, "degraded", 12.0, None),
        ("review", None, 1, "completed", 23.0, None),
        ("legal", None, 1, "failed", 28.0, "ApprovalExpired: nobody"),
        ("never", None, 1, "skipped", 29.0, None),
    ]


def test_effect(store):
    assert rows(store, "node, item, idempotency_key, status, attempts, completed", "effect") == [
        ("drop", None, "main:drop", "cancelled", 1, 0),
        ("pay", 0, "main:pay[0]", "open", 1, 0),
        ("pay", 1, "main:pay[1]", "failed", 1, 0),
        ("post", None, "main:post", "completed", 2, 2),
        ("send", None, "main:send", "completed", 2, 1),
    ]


def test_approval(store):
    columns = 'node, item, asked, timeout, status, settled, "by", shown, answer'
    assert rows(store, columns, "approval") == [
        ("review", None, 22.0, 60.0, "answered", 23.0, "dana", '{"show":"text"}', '{"approve":true}'),
        ("legal", None, 23.0, 5.0, "expired", 28.0, None, '{"show":null}', None),
        ("check", 0, 28.0, None, "asked", None, None, '{"show":0}', None),
        ("check", 1, 28.0, None, "answered", 29.0, "ana", '{"show":1}', "false"),
    ]


def wrote(t, node, n=1, **more):
    return Event(t * S, "context", node, attempt=n, **more)


WRITES = [
    # what an attempt that failed wrote does not count, and of one that was cut the last record does
    wrote(1, "plan", body={"notes": ["failed"]}),
    ended(1, "failed", "plan", 1, "error"),
    wrote(3, "plan", 2, body={"notes": ["cut"]}),
    wrote(4, "plan", 2, body={"notes": ["said"], "größe": 1.5}),
    ended(4, "completed", "plan", 2, "final"),
    # items, a fallback that delivers as a step, and one that delivers a plain value
    wrote(5, "each", item=1, body={"notes": [None]}),
    ended(5, "completed", "each", 1, "final", item=1),
    wrote(6, "draft", body={"notes": ["draft"]}),
    ended(6, "completed", "draft", 1, "ok"),
    wrote(7, "draft/fallback:spare", body={"notes": ["spare"]}),
    ended(7, "completed", "draft/fallback:spare", 1, "ok"),
    Event(7 * S, "settled", "draft", status="degraded"),
    wrote(8, "plain", body={"notes": ["plain"]}),
    ended(8, "completed", "plain", 1, "ok"),
    Event(8 * S, "degraded", "plain", status="value", body="x"),
    Event(8 * S, "settled", "plain", status="degraded"),
    # one that failed after all, one that has not settled, and two generations
    wrote(9, "late", body={"notes": ["late"]}),
    ended(9, "completed", "late", 1, "ok"),
    Event(9 * S, "settled", "late", status="failed"),
    wrote(9, "open", body={"notes": ["open"]}),
    ended(9, "completed", "open", 1, "ok"),
    *(
        event
        for n in (1, 2)
        for event in (
            wrote(9 + n, "again", generation=n, body={"notes": [n]}),
            ended(9 + n, "completed", "again", 1, "final", generation=n),
        )
    ),
    # a long body, and one with bytes
    wrote(12, "long", body={"notes": ["y" * 5000]}),
    ended(12, "completed", "long", 1, "final"),
    wrote(13, "bytes", body={"notes": [b"x"]}),
    ended(13, "completed", "bytes", 1, "final"),
]


def test_lineage_is_what_counts_of_what_was_written(tmp_path):
    store = DuckStore(tmp_path / "lab.duckdb")
    main, beside = store.admit(head("main")), store.admit(head("beside"))
    for event in WRITES:
        main.append(event)
        beside.append(started(event.t // S, event.node))
    found = store.fetch("select * exclude (run) from lineage where run = 'main'")
    assert [row for row in found if row[0] != "long"] == [
        ("plan", None, 1, 2, "größe", "1.5", 4.0),
        ("plan", None, 1, 2, "notes", '["said"]', 4.0),
        ("each", 1, 1, 1, "notes", "[null]", 5.0),
        ("draft", None, 1, 1, "notes", '["spare"]', 7.0),
        ("again", None, 1, 1, "notes", "[1]", 10.0),
        ("again", None, 2, 1, "notes", "[2]", 11.0),
        ("bytes", None, 1, 1, None, None, 13.0),
    ]
    assert [len(row[5]) for row in found if row[0] == "long"] == [5004]
    assert store.fetch("select count(*) from lineage where run <> 'main'") == [(0,)]
    store.close()


def test_run_sums_up(store):
    (row,) = rows(store, "workflow, mode, seed, epoch_us(started), durability, status, t, events, cost, tokens", "run")
    assert row == ("triage", "live", 0, START, "group", "open", 32.0, len(LOG), 0.75, 15)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([Event(0, "run_started", body={"input": 1})], "open"),
        ([Event(0, "run_started"), Event(9, "suspended")], "suspended"),
        ([Event(0, "run_started"), Event(9, "suspended"), Event(9, "resumed")], "open"),
        *(([Event(0, "run_started"), Event(9, "run_ended", status=one)], one) for one in ("completed", "failed")),
        ([Event(9, "run_ended", status="failed"), Event(9, "resumed")], "open"),
        (
            [
                *(Event(9, "run_ended", status="failed"), Event(9, "resumed")),
                *(Event(9, "run_ended", status="cancelled"), Event(9, "resumed")),
                Event(9, "run_ended", status="completed"),
            ],
            "completed",
        ),
    ],
)
def test_status_of_a_run_is_that_of_its_last_end(tmp_path, events, status):
    store = DuckStore(tmp_path / "lab.duckdb")
    journal = store.admit(head())
    for event in events:
        journal.append(event)
    assert store.fetch("select status, events, cost, tokens from run") == [(status, len(events), 0.0, 0)]
    store.close()


def test_a_run_that_was_cut_off_before_its_start_is_not_listed(tmp_path):
    """Nothing of it has happened; it would look like unfinished work for ever."""
    store = DuckStore(tmp_path / "lab.duckdb")
    store.admit(head())
    assert store.fetch("select * from run") == []
    store.close()


def test_runs_come_in_order_of_admission(store):
    assert store.fetch("select run from run") == [("main",), ("beside",)]


def test_times_of_events(store, tmp_path):
    found = store.fetch("select t, epoch_us(wall) from event where run = 'main' and kind in ('waiting', 'asked')")
    assert found[0] == (2.0, START + 2 * S)
    other = DuckStore(tmp_path / "lab.duckdb")
    other.admit(head("virtual", mode="virtual", started=0)).append(Event(5 * S, "run_started"))
    assert other.fetch("select t, wall from event") == [(5.0, None)]
    other.close()


@pytest.mark.parametrize("name", ["event", "attempt", "node_run", "effect", "approval", "run"])
def test_every_column_is_documented_and_no_other(store, name):
    columns = [row[0] for row in store.fetch(f"describe {name}")]
    block = next(block for block in documentation.split("\n\n") if block.startswith(f"    {name} "))
    documented = [line[8:].partition("  ")[0] for line in block.splitlines()[1:]]
    assert sorted(", ".join(documented).split(", ")) == sorted(columns)
