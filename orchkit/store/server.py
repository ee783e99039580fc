"""The server: how the owner of a file serves the other processes that use it.

One thread a connection. What a stranger sends is not looked at before it has shown the token, which only who may read
the file's folder as its user knows; what may be asked is a short list, and rows are checked before they are taken.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchkit.clock.ids import here
from orchkit.errors import OrchkitError, StoreError
from orchkit.model.records import Letter
from orchkit.store.care import Keep
from orchkit.store.election import Notice
from orchkit.store.holder import Holder
from orchkit.store.schema import SCHEMA_VERSION
from orchkit.store.wire import OwnerGone, entries_of, receive, refuse_unfit_holder, send, told_of

if TYPE_CHECKING:
    from orchkit.store.duck import DuckStore

__all__ = ["Server", "listen"]

_LONGEST: Final = 100  # bytes of a Unix socket's path; the system's bound is 104 or 108
_MOST: Final = 256  # connections at the same time; more wait until one ends
_GREETING: Final = 10.0  # seconds that a stranger may take to show the token
_PAUSE: Final = 0.1  # seconds


class Server:
    """Serve one store to other processes of this machine.

    Parameters
    ----------
    store : DuckStore
        Its owner's.
    listener : socket.socket
        From `listen`.
    address : str
    """

    def __init__(self, store: DuckStore, listener: socket.socket, address: str) -> None:
        self._store = store
        self._token = secrets.token_hex(16)
        self._listener, self._address = listener, address
        self._links: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True, name="orchkit-server").start()

    @property
    def notice(self) -> Notice:
        """Where it can be reached."""
        return Notice(os.getpid(), here(), self._address, self._token)

    def close(self) -> None:
        """Stop serving, in mid-sentence: who is served finds another owner and says again what was not taken."""
        with self._lock:
            self._closed = True
            links, self._links = self._links, set()
        for link in (self._listener, *links):
            _shut(link)
        with suppress(OSError):
            os.unlink(self._address)

    def drop(self) -> None:
        """Close what a forked child has inherited: its parent's clients would wait for it after the parent's end."""
        for link in (self._listener, *self._links):
            link.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                link, _ = self._listener.accept()
            except OSError:
                if not self._closed:  # too many open files, for now
                    threading.Event().wait(_PAUSE)
                continue
            with self._lock:
                if self._closed or len(self._links) >= _MOST:
                    link.close()
                    continue
                self._links.add(link)
            self._begin(link)

    def _begin(self, link: socket.socket) -> None:
        try:
            threading.Thread(target=self._serve, args=(link,), daemon=True, name="orchkit-served").start()
        except RuntimeError:  # no more threads, for now
            self._end(link)

    def _serve(self, link: socket.socket) -> None:
        try:
            link.settimeout(_GREETING)
            who = self._greet(link)
            link.settimeout(None)
            while who is not None:
                self._answer(link, who, receive(link))
        except (OwnerGone, OSError):
            pass
        finally:
            self._end(link)

    def _end(self, link: socket.socket) -> None:
        with self._lock:
            self._links.discard(link)
        link.close()

    def _greet(self, link: socket.socket) -> str | None:
        hello = receive(link, stranger=True)
        token, schema, who = hello if isinstance(hello, list) and len(hello) == 3 else ("", 0, "")
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        send(link, SCHEMA_VERSION)
        return str(who) if schema == SCHEMA_VERSION else None

    def _answer(self, link: socket.socket, who: str, asked: Any) -> None:
        try:
            send(link, [True, self._done(who, asked)])
        except OwnerGone:
            raise
        except Exception as error:
            # A link that breaks makes its client ask again, and somebody's question would never end.
            if self._store.is_closed():
                raise OwnerGone from error  # another one may
            send(link, [False, told_of(_told(error))])

    def _done(self, who: str, asked: Any) -> Any:
        op, *arguments = asked
        return _OPS[op](self._store, who, *arguments)


def _told(error: Exception) -> OrchkitError:
    if isinstance(error, OrchkitError):
        return error
    is_asked_wrong = isinstance(error, (KeyError, TypeError, ValueError, AttributeError))
    what = "did not understand" if is_asked_wrong else "could not do it"
    return StoreError(f"the owner of the store {what}: {type(error).__name__}: {error!s:.300}")


def _push(store: DuckStore, who: str, sent: Any, again: Any, serial: Any = (0, 0)) -> dict[str, str]:
    number, part = msgspec.convert(serial, tuple[int, int])
    return store.append_durably(entries_of(sent), sender=who, again=_flag(again), serial=(number, part))


def _take(store: DuckStore, _: str, run_id: str, holder: Any) -> Any:
    taker = msgspec.convert(holder, Holder)
    refuse_unfit_holder(taker)
    return store.take_for(str(run_id), taker)


def _query(store: DuckStore, _: str, sql: str, parameters: Any) -> bytes:
    return store.arrow(str(sql), parameters)


def _prune(store: DuckStore, _: str, keep: Any, dry_run: Any) -> Any:
    return store.prune(msgspec.convert(keep, Keep), dry_run=_flag(dry_run))


def _compact(store: DuckStore, _: str) -> Any:
    return astuple(store.compact())


def _snapshot(store: DuckStore, _: str, target: Any) -> None:
    store.snapshot(_absolute(target))


def _export(store: DuckStore, _: str, folder: Any, overwrite: Any) -> Any:
    return [astuple(one) for one in store.export(_absolute(folder), overwrite=_flag(overwrite))]


def _post(store: DuckStore, _: str, letter: Any) -> Any:
    return store.post(msgspec.convert(letter, Letter))


def _unread(store: DuckStore, _: str, runs: Any, fenced: Any) -> Any:
    return store.unread(msgspec.convert(runs, list[str]), fenced=_flag(fenced))


def _flag(sent: Any) -> bool:
    if not isinstance(sent, bool):
        raise TypeError(f"{sent!r:.80} is no flag")
    return sent


def _absolute(sent: Any) -> Path:
    # Where the owner stands is not where the client does.
    if not isinstance(sent, str) or "\0" in sent or not Path(sent).is_absolute():
        raise ValueError(f"{sent!r:.80} is no absolute path")
    return Path(sent)


_OPS: Final[dict[str, Callable[..., Any]]] = {
    "push": _push,
    "take": _take,
    "query": _query,
    "prune": _prune,
    "compact": _compact,
    "snapshot": _snapshot,
    "export": _export,
    "post": _post,
    "unread": _unread,
    "outcome": lambda store, _, letter_id: store.outcome(str(letter_id)),
    "head": lambda store, _, run_id: store.head(str(run_id)),
    "heads": lambda store, _: store.heads(),
    "events": lambda store, _, run_id, after=0, limit=None: store.events(str(run_id), after, limit),
    "damage": lambda store, _: store.damage,
    "confirm": lambda store, _: store.confirm(),
}


def listen(path: Path) -> tuple[socket.socket, str] | None:
    """Make the socket at which a store is served; None where no socket can be made."""
    for address in _addresses(path):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _bind(listener, address)
            return listener, address
        except OSError:  # a disk that has no sockets, or a path that is too long
            listener.close()
    return None


def _bind(listener: socket.socket, address: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(address)  # of an owner that was killed
    listener.bind(address)
    try:
        os.chmod(address, 0o600)
        listener.listen(64)
    except OSError:
        os.unlink(address)
        raise


def _addresses(path: Path) -> list[str]:
    name = f"orchkit-{os.getpid()}-{secrets.token_hex(4)}.sock"
    elsewhere = [os.path.join(folder, name) for folder in (tempfile.gettempdir(), "/tmp")]
    return [address for address in (f"{path}.sock", *elsewhere) if len(os.fsencode(address)) <= _LONGEST]


def _shut(link: socket.socket) -> None:
    with suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()
