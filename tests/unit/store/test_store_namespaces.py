"""Two containers on one machine: pids mean nothing to each other, so a lease is told by its expiry alone."""

import shutil
import subprocess
import sys

import pytest
from second import HERE, Second

from orchkit.store.holder import LEASE_SECONDS

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
AS_ROOT_OF_ITS_OWN = [*UNSHARE[:1], "--user", "--map-root-user", *UNSHARE[1:]]


def _namespaces():
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return None
    for command in (UNSHARE, AS_ROOT_OF_ITS_OWN):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return None


COMMAND = _namespaces()
pytestmark = pytest.mark.skipif(COMMAND is None, reason="this machine lets nobody make a space of pids (unshare --pid)")

# The wall of one process, which the lease of the other is judged by: waiting for it takes a minute.
CODE = """
import sys
sys.path[:0] = {paths!r}
from orchkit.clock import ids
from orchkit.store import holder
ahead = int(float(sys.argv[2]))
if ahead:
    holder.wall_micro = lambda: ids.wall_micro() + ahead * 1_000_000
import second
second.serve()
"""


class Contained(Second):
    """A second process that is the first of a space of pids of its own."""

    def __init__(self, path, ahead=0):
        code = CODE.format(paths=[str(HERE.parents[2]), str(HERE)])
        self.process = subprocess.Popen(
            [*COMMAND, sys.executable, "-c", code, str(path), str(ahead)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "open"


def test_a_live_run_of_another_container_is_not_taken(tmp_path):
    path = tmp_path / "lab.duckdb"
    with Contained(path) as owner, Contained(path) as client:
        assert (owner.ask("role"), client.ask("role")) == ("DuckFile", "RemoteFile")
        for holder, taker, run in ((owner, client, "ours"), (client, owner, "theirs")):
            holder.ask("admit", run)
            assert holder.ask("append", run, 1) is None
            said = taker.ask("take", run)
            assert said["error"] == "RunHeld", said
            # Each is the first process of its space, where pid 1 lives whatever becomes of the other.
            assert "is being executed by process 1 on " in said["said"]
        assert client.ask("holders") == owner.ask("holders") == {"ours": 1, "theirs": 1}
        found = owner.ask("sql", "select distinct pid, boot, holder from holder")
        assert [pid for pid, _, _ in found] == [1, 1]
        assert len({boot for _, boot, _ in found}) == len({name for _, _, name in found}) == 2
        assert client.ask("append", "theirs", 2) is None


def test_a_container_that_was_killed_holds_its_run_until_the_lease_expires(tmp_path):
    path = tmp_path / "lab.duckdb"
    with Contained(path) as owner:
        with Contained(path) as holder:
            holder.ask("admit", "theirs")
            assert holder.ask("append", "theirs", 1) is None
            holder.kill()
        assert owner.ask("take", "theirs")["error"] == "RunHeld"
    for ahead, taken in ((LEASE_SECONDS - 30, False), (LEASE_SECONDS + 1, True)):
        with Contained(path, ahead) as taker:
            said = taker.ask("take", "theirs")
            assert said == 1 if taken else said["error"] == "RunHeld"


def test_a_container_whose_lease_expired_is_told_that_its_run_was_given_away(tmp_path):
    # It lives, and did not renew: the wall of who judges it is ahead by more than a lease.
    path = tmp_path / "lab.duckdb"
    with Contained(path, LEASE_SECONDS + 1) as owner, Contained(path) as holder:
        holder.ask("admit", "theirs")
        assert holder.ask("append", "theirs", 1) is None
        assert owner.ask("take", "theirs") == 1
        assert owner.ask("append", "theirs", 2) is None
        said = holder.ask("append", "theirs", 2)
        assert (said["error"], said["run_id"]) == ("RunHeld", "theirs")
        assert owner.ask("events", "theirs") == [1, 2]


INSIDE = """
import subprocess, sys
sys.path.insert(0, {root!r})
from msgspec.structs import replace
from orchkit.clock.ids import wall_micro
from orchkit.store.holder import lives, this_process
if len(sys.argv) > 1:
    print(this_process().born, flush=True)
    sys.stdin.read()
    sys.exit()
command = [sys.executable, "-c", sys.orig_argv[2], "child"]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
    other = replace(this_process(), pid=child.pid, born=child.stdout.readline().strip())
    print(*(lives(replace(other, until=wall_micro() + later)) for later in (10**9, -1)), this_process().pid)
"""


@pytest.mark.parametrize("proc", ["its own", "that of the machine"])
def test_where_the_pids_that_are_listed_are_those_of_others_the_expiry_tells(proc):
    command = COMMAND if proc == "its own" else [part for part in COMMAND if part != "--mount-proc"]
    code = INSIDE.format(root=str(HERE.parents[2]))
    ran = subprocess.run([*command, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout == ("True True 1\n" if proc == "its own" else "True False 1\n")
