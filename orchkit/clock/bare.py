"""The bare host: virtual time, nothing but the heap.

A body without a model runs as a fibre of its own. It may sleep by its context; awaiting another loop's futures is
refused by name, because nothing here could wake it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from orchkit.clock.kernel import BODY, OUTCOME, Fibre, Kernel, Waiter, micro, suspend

__all__ = ["BareHost"]


class _Body(Fibre):
    """A body in virtual time; posts its result to the fibre that began it."""

    __slots__ = ("kernel", "owner", "owner_token")

    def __init__(self, kernel: Kernel, owner: Fibre) -> None:
        super().__init__(owner.key)
        self.kernel = kernel
        self.owner = owner
        self.owner_token = owner.token

    def finished(self, value: Any) -> None:
        if self.owner.token == self.owner_token:
            self.kernel.arm(self.owner, self.kernel.now, OUTCOME, value)


class _Waiter:
    __slots__ = ("_fibre", "_kernel", "_said")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._fibre: Fibre | None = None
        self._said: tuple[Any, ...] = ()

    def wake(self, value: Any, /) -> None:
        self._said = (value,)
        if self._fibre is not None:
            self._kernel.arm(self._fibre, self._kernel.now, BODY)

    async def wait(self) -> Any:
        if not self._said:
            self._fibre = self._kernel.current
            await suspend()
        return self._said[0]


class BareHost:
    """Run bodies on the kernel itself, in virtual time.

    Parameters
    ----------
    kernel : Kernel
    """

    virtual = True

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def run(self) -> None:
        """Fire until nothing is left that could resume anybody."""
        kernel = self.kernel
        heap, fire = kernel.heap, kernel.fire
        while heap:
            fire()

    def stamp(self) -> None:
        """Nothing to do: there is no other time than the kernel's."""

    def go_on(self, act: Callable[[], None]) -> None:
        """Act as soon as the body that asks waits: it is a fibre, and may be resumed by what follows."""
        self.kernel.after = act

    def waiter(self) -> Waiter:
        """Give what the body that is at work can wait for."""
        return _Waiter(self.kernel)

    def begin(self, fibre: Fibre, body: Callable[[], Coroutine[Any, Any, Any]]) -> object:
        """Start a body as a fibre of its own."""
        child = _Body(self.kernel, fibre)
        self.kernel.start(child, body())
        return child

    def follow(self, handle: object, fibre: Fibre) -> None:
        """Post the body's result to the fibre as it waits now."""
        assert isinstance(handle, _Body)
        handle.owner_token = fibre.token

    def stop(self, handle: object) -> None:
        """Throw the cancellation into the body's fibre; it may clean up in virtual time, and nobody waits for it."""
        assert isinstance(handle, _Body)
        if self.kernel.current is not handle:  # else it ends the run itself, and goes on to its own end
            self.kernel.throw(handle)

    def post(self, fibre: Fibre, token: int, value: Any) -> None:
        """Resume at this instant; there are no other threads here."""
        if fibre.token == token:
            self.kernel.arm(fibre, self.kernel.now, OUTCOME, value)

    async def sleep(self, seconds: float) -> None:
        """Sleep in virtual time."""
        kernel = self.kernel
        fibre = kernel.current
        assert fibre is not None
        kernel.arm(fibre, kernel.now + micro(seconds), BODY)
        await suspend()

    async def call_sync(
        self, fn: Callable[..., Any], kwargs: dict[str, Any], ended: Callable[[], None] | None = None
    ) -> Any:
        """Call inline: a thread would let virtual time run away from it."""
        return fn(**kwargs)
