"""Steps as values: what a function asks for, what it gives, and how it stands in a graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from orchkit.errors import DefinitionError
from orchkit.model.codec import ANY
from orchkit.model.places import Place
from orchkit.model.policies import Policy
from orchkit.model.signatures import NOTHING, Asked, hints_of, parameters_of

if TYPE_CHECKING:
    from orchkit.model.graph import Graph

__all__ = ["ITEM", "RESERVED", "Const", "Function", "Node", "Param", "Ref", "Step", "const", "describe", "read", "ref"]

RESERVED = frozenset({"input", "item", "ctx", "error"})
"""Parameter names with a meaning of their own; no node may bear one."""

ITEM = "item"
"""What an approval for each item shows of it: the element itself."""

NodeKind = Literal["step", "map", "route", "approval", "call", "loop"]


@dataclass(frozen=True, slots=True)
class Const:
    """A parameter's fixed value; made by `const`."""

    value: Any


@dataclass(frozen=True, slots=True)
class Ref:
    """A parameter's explicit source; made by `ref`."""

    name: str


def const(value: Any) -> Any:
    """Mark a parameter's default as configuration, not as an edge.

    Examples
    --------
    >>> def draft(plan: list, temperature: float = const(0.2)) -> str: ...
    """
    return Const(value)


def ref(source: Any) -> Any:
    """Name a parameter's source explicitly: a step's function, or its name. It survives renames of the parameter.

    Examples
    --------
    >>> ref("plan")
    Ref(name='plan')
    """
    name = source if isinstance(source, str) else getattr(source, "__name__", None)
    if not name:
        raise DefinitionError(f"ref({source!r}): give a step's function or its name")
    return Ref(name)


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter that an edge feeds; `field` says which part of the source's value, "" the whole."""

    name: str
    source: str
    annotation: Any
    required: bool
    default: Any = None
    field: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    """A function as the engine sees it.

    Attributes
    ----------
    params : tuple of Param
        Its data inputs; ``item``, ``ctx`` and ``error`` are flags instead.
    """

    fn: Callable[..., Any]
    name: str
    params: tuple[Param, ...]
    returns: Any
    is_async: bool
    item: Param | None = None
    wants_ctx: bool = False
    wants_error: bool = False
    consts: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One node, as it was written and, once its graph is built, as it is bound.

    Attributes
    ----------
    fn : callable or None
        As it was decorated; None for an approval.
    function : Function or None
        What was read of it when the graph was built.
    deps : tuple of Param
        What it waits for and gets: data edges, a map's list, what an approval shows.
    undo : callable, Step or None
        What takes back what it has done, when the run fails later.
    workflow : object or None
        The workflow that it holds, as it was given: it has a ``checked()`` that gives its graph.
    body : Graph or None
        That graph, once this one is built.
    feeds : tuple of (str, str)
        What that workflow gets, as pairs of field and source; a field of "" is the whole.
    dynamic : bool
        It is what a body has called, and bears a name that no user can give.
    until : callable or None
        Of a loop: ``until(result, round)``, whether a round was good enough.
    over : str or None
        Of a map, and of an approval for each item: the node whose list it goes over.
    key : callable or None
        Of a map: what an item is known by to dice and effects; without one, its index.
    quorum : int, float or None
        Of a map: how many of its items must deliver, or which share of them.
    stream : bool
        Of a map over a map: whether an item begins as soon as its own source has delivered.
    writes : tuple of str or None
        Which fields of the shared context it may write; None if it does not say.
    place : Place or None
        Where a node without a function was written.
    """

    name: str
    kind: NodeKind
    fn: Callable[..., Any] | None = None
    function: Function | None = None
    deps: tuple[Param, ...] = ()
    after: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    over: str | None = None
    limit: int | None = None
    answer: Any = None
    show: str | None = None
    prefill: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    policies: tuple[Policy, ...] = ()
    effect: bool = False
    undo: Any = None
    on_error: Literal["fail", "skip", "collect"] = "fail"
    provider: str | None = None
    tags: tuple[str, ...] = ()
    version: str | None = None
    workflow: Any = None
    body: Graph | None = None
    feeds: tuple[tuple[str, str], ...] = ()
    until: Any = None
    rounds: int = 1
    then: Literal["last", "fail"] = "last"
    dynamic: bool = False
    key: Callable[[Any], Any] | None = None
    quorum: int | float | None = None
    stream: bool = False
    writes: tuple[str, ...] | None = None
    place: Place | None = field(default=None, compare=False)

    def policy(self, kind: str) -> Any:
        """Give the policy of a kind, or None."""
        return next((policy for policy in self.policies if policy.kind == kind), None)


@dataclass(frozen=True, slots=True)
class Step:
    """A function made a step outside any graph, to be handed to policies.

    Parameters
    ----------
    fn : callable
        Plain or async; it gets its inputs by name.
    options : tuple of (str, object)
        Fields of the node that it becomes when a body calls it.

    Examples
    --------
    >>> import orchkit as ok
    >>> @ok.step
    ... def canned(input: str) -> str:
    ...     return f"We are looking into {input}."
    >>> ok.Fallback(canned)
    Fallback(canned)
    """

    fn: Callable[..., Any]
    options: tuple[tuple[str, Any], ...] = ()
    __name__: str = field(default="", init=False)

    def __post_init__(self) -> None:
        name = getattr(self.fn, "__name__", "")
        if not callable(self.fn) or not name:
            raise DefinitionError(f"step({self.fn!r}): give a function with a name, written with def")
        object.__setattr__(self, "__name__", name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as it is."""
        return self.fn(*args, **kwargs)


def describe(fn: Callable[..., Any], *, what: str) -> Function:
    """Read a function's signature.

    Parameters
    ----------
    fn : callable
        Plain or async, with named parameters.
    what : str
        How to call it in messages, such as ``step 'draft'``.

    Returns
    -------
    Function

    Raises
    ------
    DefinitionError
        For a lambda, ``*args``, ``**kwargs``, positional-only parameters, or an annotation that names nothing.
    """
    function, problems = read(fn, what=what)
    if function is None or problems:
        raise DefinitionError("\n".join(problems))
    return function


def read(fn: Callable[..., Any], *, what: str) -> tuple[Function | None, list[str]]:
    """Read what can be read of a function's signature, and say all that is wrong with it."""
    fn = fn.fn if isinstance(fn, Step) else fn
    name = getattr(fn, "__name__", "")
    if not callable(fn) or not name:
        return None, [f"{what}: {fn!r} is not a function; write it with def or async def"]
    problems = []
    if name == "<lambda>":
        problems.append(f"{what}: a lambda has no name to resume by; write it with def")
    try:
        hints = _hints(fn, what)
    except DefinitionError as error:
        problems.append(str(error))
        hints = {}
    try:
        parameters = _signature(fn, what)
    except DefinitionError as error:
        return None, [*problems, str(error)]
    params: list[Param] = []
    consts: list[tuple[str, Any]] = []
    item: Param | None = None
    flags = set()
    for parameter in parameters:
        if parameter.nameless:
            problems.append(f"{what}: parameter {parameter.nameless!r} has no name to be fed by; use named parameters")
            continue
        annotation = hints.get(parameter.name, ANY)
        default = parameter.default
        if parameter.name in ("ctx", "error"):
            flags.add(parameter.name)
        elif isinstance(default, Const):
            consts.append((parameter.name, default.value))
        elif parameter.name == "item":
            item = Param("item", "item", annotation, True)
        elif isinstance(default, Ref):
            params.append(Param(parameter.name, default.name, annotation, True))
        else:
            required = default is NOTHING
            params.append(Param(parameter.name, parameter.name, annotation, required, None if required else default))
    return Function(
        fn=fn,
        name=name,
        params=tuple(params),
        returns=hints.get("return", ANY),
        is_async=inspect.iscoroutinefunction(fn),
        item=item,
        wants_ctx="ctx" in flags,
        wants_error="error" in flags,
        consts=tuple(consts),
    ), problems


def _signature(fn: Callable[..., Any], what: str) -> list[Asked]:
    try:
        return parameters_of(fn)
    except ValueError as error:
        raise DefinitionError(f"{what}: {error}; wrap it in a function with named parameters") from error


def _hints(fn: Callable[..., Any], what: str) -> dict[str, Any]:
    try:
        return hints_of(fn)
    except NameError as error:
        raise DefinitionError(
            f"{what}: annotation names {error.name!r}, which is not known where the function is defined; "
            "define it at module level, or in a cell above"
        ) from error
    except Exception as error:  # an annotation in quotes is code, and may raise anything
        raise DefinitionError(
            f"{what}: an annotation cannot be read: {type(error).__name__}: {error}; correct it"
        ) from error
