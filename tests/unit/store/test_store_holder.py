"""Holders: a lease ends with its process on this machine, and by its expiry elsewhere."""

import os
import subprocess
import sys

import pytest
from conformance import head, note, wait_durable
from msgspec.structs import replace

from orchkit.clock.ids import wall_micro
from orchkit.errors import RunHeld
from orchkit.store.duck import DuckStore
from orchkit.store.holder import LEASE_SECONDS, RENEW_SECONDS, Holder, _born, _said_by, lives, this_process
from orchkit.store.rows import stamp

HOUR = 3_600_000_000


def test_this_process_lives_and_is_told_from_its_namesakes():
    me = this_process()
    assert lives(me)
    assert me.pid == os.getpid()
    assert not lives(replace(me, born="of another process that had this pid"))


def test_two_processes_that_differ_in_their_space_of_pids_alone_have_two_names():
    # The first processes of two containers with one host name, begun within a hundredth of a second.
    me = this_process()
    assert replace(me, boot=f"{me.boot}1").name != me.name


def test_a_process_that_ended_is_gone_at_once_also_before_somebody_waits_for_it():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = replace(this_process(), pid=child.pid, born=_born(child.pid))
    assert lives(other)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is still there, as a zombie
    assert not lives(other)
    child.communicate()
    assert not lives(other)


def test_what_this_machine_cannot_know_of_is_told_by_the_expiry():
    elsewhere = replace(this_process(), boot="elsewhere")
    assert lives(replace(elsewhere, until=wall_micro() + HOUR))
    assert not lives(replace(elsewhere, until=wall_micro() - 1))


def test_a_machine_that_was_renamed_is_the_same():
    assert lives(replace(this_process(), host="of yesterday", until=wall_micro() - 1))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one space of pids")
def test_another_container_of_this_machine_has_pids_of_its_own():
    assert this_process().boot.endswith(f":{os.stat('/proc/self/ns/pid').st_ino}")


def test_the_language_and_the_zone_of_a_process_do_not_matter(monkeypatch):
    command = ("sh", "-c", "echo $LC_ALL $TZ")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert _said_by(*command) == "C UTC"


def test_a_row_says_until_when():
    table, row = this_process().entry()
    assert table == "holder"
    assert row[0] == this_process().name
    again = Holder.of(*row[1:])
    assert replace(again, until=0) == this_process()
    assert 0 < again.until - wall_micro() <= LEASE_SECONDS * 1e6
    assert RENEW_SECONDS * 2 < LEASE_SECONDS


def test_a_run_of_another_machine_is_held_until_its_lease_expires(tmp_path):
    store = DuckStore(tmp_path / "lab.duckdb")
    journal = store.admit(head())
    journal.append(note(1))
    wait_durable(journal)
    journal.release()
    far = replace(this_process(), host="far", boot="far", pid=7)
    for until, held in ((wall_micro() + HOUR, True), (wall_micro() - 1, False)):
        entry, row = far.entry()
        store._writer.push([(entry, (*row[:-1], stamp(until))), ("lease", ("r1", far.name))])
        assert (store.holders().get("r1") is not None) == held
        if held:
            with pytest.raises(RunHeld, match="by process 7 on far"):
                store.take("r1")
    assert store.take("r1")[1] == [note(1)]
    store.close()


def test_a_lease_is_renewed_while_a_run_is_held_and_not_otherwise(tmp_path, monkeypatch):
    now = [wall_micro()]
    monkeypatch.setattr("orchkit.store.duck.wall_micro", lambda: now[0])
    store = DuckStore(tmp_path / "lab.duckdb")
    journal = store.admit(head())

    def renewals():
        return store.fetch("select count(*) from holder")[0][0]

    for n in range(5):
        journal.append(note(n))
        wait_durable(journal)
        assert renewals() == n + 1
        journal.append(note(n))
        wait_durable(journal)
        assert renewals() == n + 1
        now[0] += int(RENEW_SECONDS * 1e6)
    journal.release()
    store._writer.flush()
    count = renewals()
    now[0] += HOUR
    store.admit(head("virtual", mode="virtual")).append(note(1))
    assert renewals() == count
    store.close()
