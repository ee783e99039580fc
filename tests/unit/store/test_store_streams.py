"""Streams of runs that another process executes: their store is followed to their end."""

import asyncio

import pytest
from second import Second

import orchkit as ok


def began(second, path):
    """Let the other process begin a run, and give it as this one sees it."""
    second.ask("admit", "theirs")
    for n in range(3):
        second.ask("append", "theirs", n)
    store = ok.open(path)
    return store, store.run("theirs")


def test_a_run_of_another_process_is_followed_until_nobody_executes_it(path):
    with Second(path) as second:
        store, run = began(second, path)
        stream = run.stream()
        assert [next(stream).t for _ in range(3)] == [0, 1e-6, 2e-6]
        second.ask("append", "theirs", 3)
        assert next(stream).t == 3e-6
        second.ask("append", "theirs", 4)
        second.ask("release", "theirs")
        last = list(stream)
        assert [(event.seq, event.durable) for event in last] == [(5, True)]
        assert store.run("theirs").status == "orphaned"
        store.close()


def test_it_ends_when_that_process_does(path):
    second = Second(path)
    store, run = began(second, path)

    async def read():
        seen = []
        async for event in run.stream(since=1, partial=True):
            seen.append(event.seq)
            if event.seq == 3:
                await asyncio.to_thread(second.kill)
        return seen

    assert asyncio.run(read()) == [2, 3]
    second.process.stdin.close()
    second.process.stdout.close()
    store.close()


def test_leaving_ends_the_asking(path):
    with Second(path) as second:
        store, run = began(second, path)
        stream = run.stream()
        for _ in range(3):
            next(stream)

        async def wait_for_more():
            reading = asyncio.create_task(anext(stream))
            for _ in range(50):
                await asyncio.sleep(0)
            assert not reading.done()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

        asyncio.run(wait_for_more())
        stream.close()
        with pytest.raises(StopIteration):
            next(stream)
        store.close()


def test_a_store_that_is_closed_meanwhile_is_told(path):
    with Second(path) as second:
        store, run = began(second, path)
        stream = run.stream()
        next(stream)
        store.close()
        with pytest.raises(ok.StoreError, match="is closed; open it again"):
            list(stream)
