"""Holders: the processes that execute runs, and whether one of them still lives."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from orchkit.clock.ids import here, wall_micro
from orchkit.store.rows import Entry, micros, stamp

__all__ = ["LEASE_SECONDS", "RENEW_SECONDS", "Holder", "lives", "this_process"]

LEASE_SECONDS = 60.0
"""How long the word of a process on another machine holds; of one on this machine the system knows better."""

RENEW_SECONDS = 20.0
"""How often it is given again: twice may fail."""


class Holder(msgspec.Struct, frozen=True):
    """A process that may execute runs.

    Attributes
    ----------
    host, boot : str
        The machine, and which of its starts, on Linux also which space of pids: elsewhere a pid means nothing.
    pid : int
    born : str
        When the process began, as the system tells it: a pid is given again.
    until : int, microseconds since 1970 UTC
        When its leases end, unless it renews them.
    """

    host: str
    boot: str
    pid: int
    born: str
    until: int = 0

    @property
    def name(self) -> str:
        """What its leases name it by; its `boot` is in it, for containers that begin together share all the rest."""
        return f"{self.host}:{self.pid}:{self.born}:{crc32(self.boot.encode()):08x}"

    def entry(self) -> Entry:
        """Lay it out as a row that renews its leases from now on."""
        until = stamp(wall_micro() + int(LEASE_SECONDS * 1e6))
        return "holder", (self.name, self.host, self.boot, self.pid, self.born, until)

    @classmethod
    def of(cls, host: str, boot: str, pid: int, born: str, until: Any) -> Holder:
        """Read it back from a row."""
        return cls(host, boot, pid, born, micros(until))


def this_process() -> Holder:
    """Give this process as a holder; a forked child is another one."""
    return _this(os.getpid())


@lru_cache(maxsize=2)
def _this(pid: int) -> Holder:
    return Holder(here(), _boot(), pid, _born(pid) or "")


def lives(holder: Holder) -> bool:
    """Say whether a lease of it holds: exactly on this machine, by its expiry elsewhere."""
    # On Windows os.kill would end it.
    if not _is_near(holder) or sys.platform == "win32" or not _lists_our_pids():
        return holder.until > wall_micro()
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _born(holder.pid) == holder.born


def _is_near(holder: Holder) -> bool:
    # The name of a machine may change while it runs; no two starts have the same identity.
    return holder.boot == _boot() if _boot() else holder.host == here() and not holder.boot


def _lists_our_pids() -> bool:
    # A space of pids that was made without a /proc of its own sees there the processes of another one.
    try:
        return sys.platform != "linux" or os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"  # containers on one machine have pids of their own
    except OSError:
        return _said_by("sysctl", "-n", "kern.bootsessionuuid") or ""


def _born(pid: int) -> str | None:
    """Tell when a process began; None if there is none, or only its remains."""
    if sys.platform != "linux":
        return _said_by("ps", "-o", "lstart=", "-p", str(pid))
    try:
        stat = Path("/proc", "self" if pid == os.getpid() else str(pid), "stat").read_text()
    except OSError:
        return None
    # The name in brackets may hold anything, brackets included.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _said_by(*command: str) -> str | None:
    try:
        # In one language and zone: what two processes are told of a third is compared.
        env = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False, env=env)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None
