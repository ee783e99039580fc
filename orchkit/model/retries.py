"""Retries round retries: a failure that stays is tried as often as their product says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from orchkit.model.graph import Graph
from orchkit.model.policies import Retry, transient
from orchkit.model.problems import Problem
from orchkit.model.steps import Node

__all__ = ["multiplied", "same_failures"]


@dataclass(frozen=True, slots=True)
class _Chain:
    """Nodes within each other that all retry the same failures, the innermost last."""

    path: str
    node: Node
    counts: tuple[int, ...]


def multiplied(graph: Graph) -> Iterator[Problem]:
    """Find nodes that retry a workflow in which something is retried already."""
    for node in graph.nodes:
        retry = _retry(node)
        if retry is None or node.body is None:
            continue
        chains = list(_chains(node.body, retry, node.name, (retry.attempts,)))
        if chains:
            yield _said(node, max(chains, key=lambda chain: prod(chain.counts)), chains)


def same_failures(one: Retry, other: Retry) -> bool:
    """Say whether there are failures that both retry; no where only a function of the user's could tell.

    Examples
    --------
    >>> same_failures(Retry(3), Retry(2, on=ConnectionError))
    True
    >>> same_failures(Retry(3, on=ValueError), Retry(2, on=ConnectionError))
    False
    """
    if one.on is other.on:
        return True
    first, second = _types(one), _types(other)
    if first and second:
        return any(issubclass(a, b) or issubclass(b, a) for a in first for b in second)
    types = (first or second) if transient in (one.on, other.on) else ()
    return any(_is_transient(kind) for kind in types)


def _types(retry: Retry) -> tuple[type[BaseException], ...]:
    on = retry.on
    if isinstance(on, tuple):
        return on
    return (on,) if isinstance(on, type) else ()


def _is_transient(kind: type[BaseException]) -> bool:
    # Made without its __init__, of which nothing is known: only the type counts here.
    try:
        return kind is BaseException or transient(kind.__new__(kind))
    except Exception:
        return False


def _retry(node: Node) -> Retry | None:
    """Give a node's retry, if it tries more than once."""
    retry: Retry | None = node.policy("retry")
    return None if retry is None or retry.attempts < 2 else retry


def _chains(graph: Graph, outer: Retry, path: str, counts: tuple[int, ...]) -> Iterator[_Chain]:
    for node in graph.nodes:
        if _ends_here(node):
            continue
        retry, name = _retry(node), f"{path}/{node.name}"
        is_one = retry is not None and same_failures(outer, retry)
        known = (*counts, retry.attempts) if retry is not None and is_one else counts
        deeper = [] if node.body is None else list(_chains(node.body, outer, name, known))
        yield from deeper
        if is_one and not deeper:
            yield _Chain(name, node, known)


def _ends_here(node: Node) -> bool:
    """Say whether a failure of a node is no failure of what it lies in."""
    return node.on_error == "skip" or any(policy.kind in ("fallback", "escalate") for policy in node.policies)


def _said(node: Node, worst: _Chain, chains: list[_Chain]) -> Problem:
    product = " x ".join(map(str, worst.counts))
    others = ", ".join(repr(chain.path) for chain in chains if chain is not worst)
    text = (
        f"{node.kind} {node.name!r} and {worst.path!r} within it both retry, so a failure that stays costs "
        f"{product} = {prod(worst.counts)} attempts; let one of them retry, and take retry= from the other"
    )
    return Problem(f"{text}; so with {others}" if others else text, (node, worst.node), "retry")
