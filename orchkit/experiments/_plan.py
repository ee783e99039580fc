"""The plan of an experiment: what will run, fixed, and its digest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

from orchkit.engine.program import Program
from orchkit.faults.plan import Faults
from orchkit.hall.workflow import Workflow
from orchkit.model.text import without_addresses
from orchkit.sim.world import World

__all__ = ["Plan", "describe_stack"]


@dataclass(frozen=True)
class Plan:
    """What an experiment will run.

    Attributes
    ----------
    arms : dict of str to Workflow
        Copies.
    faults : dict of str to Faults or None
    seeds : sequence of int
    cases : int
    programs : tuple of tuple of Program
        By arm, then faults.
    inputs : tuple of tuple
        By arm, then case: JSON.
    """

    arms: dict[str, Workflow]
    faults: dict[str, Faults | None]
    seeds: Sequence[int]
    cases: int
    world: World
    programs: tuple[tuple[Program, ...], ...]
    inputs: tuple[tuple[Any, ...], ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Numbers of seeds, cases, faults and arms: the order in which trials run, arms fastest."""
        return len(self.seeds), self.cases, len(self.faults), len(self.arms)

    @property
    def size(self) -> int:
        """How many trials."""
        seeds, cases, faults, arms = self.shape
        return seeds * cases * faults * arms

    @property
    def shape_text(self) -> str:
        """The factors in words."""
        seeds, cases, faults, arms = self.shape
        return f"{arms} arms x {faults} faults x {cases} cases x {seeds} seeds"

    @cached_property
    def digest(self) -> str:
        """Digest what decides the numbers: policies, world, faults, inputs and seeds; 32 hex digits.

        Code is not in it: functions count by their names.
        """
        world = f"{self.world.name!r} {self.world!r}"
        parts = [
            list(self._stacks()),
            world,
            [_describe_faults(*pair) for pair in self.faults.items()],
            self.inputs,
        ]
        text = json.dumps([*parts, list(self.seeds)], ensure_ascii=True, default=bytes.hex)
        return blake2b(without_addresses(text).encode(), digest_size=16).hexdigest()

    def _stacks(self) -> Iterator[list[Any]]:
        for name, wf in self.arms.items():
            for node in wf.checked().nodes:
                yield [name, node.name, [repr(policy) for policy in node.policies]]


def describe_stack(wf: Workflow, node: str) -> list[str]:
    """Write out a node's policies, outermost first."""
    return [without_addresses(repr(policy)) for policy in wf.policies(node)]


def _describe_faults(name: str, plan: Faults | None) -> list[Any]:
    if plan is None:
        return [name, None]
    return [
        name,
        [f"{fault!r} {'' if fault.error is None else repr(fault.error())}" for fault in plan.faults],
    ]
