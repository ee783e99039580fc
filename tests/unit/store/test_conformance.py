"""Both stores keep the promises of `conformance.StoreConformance`; and any event survives."""

import itertools

import pytest
from conformance import START, StoreConformance, head
from hypothesis import given, settings
from hypothesis import strategies as st

from orchkit.model.events import KINDS, Event, canonical_digest, encode_log
from orchkit.store.duck import DuckStore
from orchkit.store.memory import MemoryStore


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self):
        store = MemoryStore()
        yield store
        store.close()


class TestDuckStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path):
        store = DuckStore(tmp_path / "lab.duckdb")
        yield store
        store.close()


@pytest.fixture(scope="module", params=["memory", "duck"])
def kept(request, tmp_path_factory):
    store = MemoryStore() if request.param == "memory" else DuckStore(tmp_path_factory.mktemp("any") / "lab.duckdb")
    yield store
    store.close()


TEN_YEARS = 10 * 366 * 86_400 * 1_000_000
NUMBERS = itertools.count()

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
micros = st.integers(0, TEN_YEARS)
events = st.builds(
    Event,
    t=micros,
    kind=st.sampled_from(sorted(KINDS)),
    node=text,
    item=st.integers(-1, 2**31 - 1),
    generation=st.integers(1, 2**31 - 1),
    leg=st.integers(0, 2**31 - 1),
    attempt=st.integers(0, 2**31 - 1),
    status=text,
    dur=st.just(-1) | micros,
    cost=st.floats(allow_nan=False),
    tokens=st.integers(0, 2**63 - 1),
    error=text,
    by=text,
    key=text,
    body=json_values,
)


@settings(max_examples=60, deadline=None)
@given(log=st.lists(events, max_size=8), started=st.sampled_from([0, START]))
def test_any_log_survives_exactly(kept, log, started):
    run_id = f"any{next(NUMBERS)}"
    journal = kept.admit(head(run_id, started=started))
    log = [Event(0, "run_started"), *log]
    for event in log:
        journal.append(event)
    found = kept.events(run_id)
    assert found == log
    # Bytes tell 1 from 1.0 and 0.0 from -0.0, which == does not.
    assert encode_log(found) == encode_log(log)
    assert canonical_digest(found) == canonical_digest(log)
