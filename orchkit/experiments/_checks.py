"""Checks: the arguments of an experiment, refused at the call with how to mend them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from reprlib import repr as brief
from typing import Any

from orchkit.engine.program import Program, Site
from orchkit.errors import DefinitionError, OrchkitError
from orchkit.experiments._plan import Plan
from orchkit.faults.plan import Faults
from orchkit.hall.workflow import Workflow
from orchkit.runs.checks import dump_input
from orchkit.runs.simulate import prepare
from orchkit.sim.world import World

__all__ = ["plan_of"]


def plan_of(
    arms: Mapping[str, Workflow],
    *,
    inputs: Sequence[Any],
    world: World,
    faults: Any,
    seeds: int | Sequence[int],
) -> Plan:
    """Check the arguments of an experiment and fix them.

    Raises
    ------
    DefinitionError
        For the first one that is wrong, with how to mend it.
    """
    copies = _checked_arms(arms)
    levels = _checked_faults(faults)
    numbers = _checked_seeds(seeds)
    if not isinstance(world, World):
        raise DefinitionError(f"Experiment(world={brief(world)}): give an ok.World(...)")
    if isinstance(inputs, (str, bytes, Mapping)) or not isinstance(inputs, Sequence) or not len(inputs):
        raise DefinitionError(f"Experiment(inputs={brief(inputs)}): give a list with one workflow input a case")
    sites = {name: _sites(wf) for name, wf in copies.items()}
    _refuse_unknown_names(world, sites)
    _refuse_idle_faults(levels, sites)
    programs = tuple(_programs(name, wf, _narrowed(world, sites[name]), levels) for name, wf in copies.items())
    values = tuple(_values(name, row[0], inputs) for name, row in zip(copies, programs, strict=True))
    return Plan(copies, levels, numbers, len(inputs), world, programs, values)


def _checked_arms(arms: Any) -> dict[str, Workflow]:
    example = "{'plain': wf, 'retry': wf.using(draft=ok.Retry(3))}"
    if not isinstance(arms, Mapping) or not arms:
        raise DefinitionError(f"Experiment({brief(arms)}): give a dict of arms by name, such as {example}")
    for name, wf in arms.items():
        if not isinstance(name, str) or not name.strip():
            raise DefinitionError(f"Experiment: the arm {name!r} needs a name in words, such as {example}")
        if not isinstance(wf, Workflow):
            raise DefinitionError(f"Experiment: the arm {name!r} is {brief(wf)}; give an ok.Workflow")
    copies = {name: wf.using() for name, wf in arms.items()}
    _refuse_other_graphs({name: _shape_of(wf) for name, wf in copies.items()})
    return copies


def _shape_of(wf: Workflow) -> dict[str, str]:
    return {node.name: node.kind for node in wf.checked().nodes}


def _refuse_other_graphs(shapes: dict[str, dict[str, str]]) -> None:
    (first, nodes), *others = shapes.items()
    for name, own in others:
        differ = sorted({node for node in own.keys() | nodes.keys() if own.get(node) != nodes.get(node)})
        if differ:
            raise DefinitionError(
                f"Experiment: the arms {first!r} and {name!r} differ in {', '.join(differ)}; arms have the same nodes "
                "and differ in policies: make them by wf.using(...)"
            )


def _checked_faults(faults: Any) -> dict[str, Faults | None]:
    if faults is None:
        return {"none": None}
    if isinstance(faults, Faults):
        return {"faults": faults}
    if not isinstance(faults, Mapping) or not faults:
        raise DefinitionError(
            f"Experiment(faults={brief(faults)}): give an ok.Faults(...), None, or a dict of them by name, such as "
            "{'calm': None, 'storm': ok.Faults(...)}"
        )
    for name, plan in faults.items():
        if not isinstance(name, str) or not name.strip():
            raise DefinitionError(f"Experiment(faults=...): {name!r} needs a name in words, such as 'storm'")
        if plan is not None and not isinstance(plan, Faults):
            raise DefinitionError(f"Experiment(faults={{{name!r}: {brief(plan)}}}): give an ok.Faults(...) or None")
    return dict(faults)


def _checked_seeds(seeds: Any) -> Sequence[int]:
    wrong = f"Experiment(seeds={brief(seeds)}): give how many, such as 200, or a range or list of different integers"
    try:
        numbers = range(index(seeds)) if hasattr(seeds, "__index__") else [index(seed) for seed in seeds]
    except TypeError:
        raise DefinitionError(wrong) from None
    if not len(numbers) or isinstance(seeds, bool):
        raise DefinitionError(wrong)
    if len(set(numbers)) < len(numbers):
        # The same seed twice is the same trial twice; it would make n, and so every interval, a lie.
        raise DefinitionError(f"{wrong}; one of these comes twice")
    return numbers


def _sites(wf: Workflow) -> list[Site]:
    seats = Program(wf.checked()).seats
    return [site for seat in seats for site in (seat.site, *seat.fallbacks) if isinstance(site, Site)]


def _refuse_unknown_names(world: World, sites: dict[str, list[Site]]) -> None:
    known = {site.path for own in sites.values() for site in own}
    for path in world.models:
        if path not in known:
            raise DefinitionError(
                f"Experiment(world=...): {path!r} is no node of any arm; there are: {', '.join(sorted(known))}"
            )


def _narrowed(world: World, sites: list[Site]) -> World:
    known = {site.path for site in sites}
    return World({path: model for path, model in world.models.items() if path in known}, name=world.name)


def _refuse_idle_faults(levels: dict[str, Faults | None], sites: dict[str, list[Site]]) -> None:
    # A storm that can hit nothing would make every arm look robust.
    every = [site for own in sites.values() for site in own]
    for name, plan in levels.items():
        for fault in plan.faults if plan is not None else ():
            if fault.kind != "crash" and not any(fault.hits(*site.aim) for site in every):
                paths = ", ".join(sorted({site.path for site in every}))
                raise DefinitionError(
                    f"Experiment(faults=...): {fault!r} of {name!r} hits nothing in any arm; its target is a path "
                    f"({paths}), a tag or a provider"
                )


def _programs(name: str, wf: Workflow, world: World, levels: dict[str, Faults | None]) -> tuple[Program, ...]:
    try:
        return tuple(prepare(wf.checked(), world, plan) for plan in levels.values())
    except OrchkitError as error:
        raise error.with_note(f"in the arm {name!r} of the experiment") from error.__cause__


def _values(name: str, program: Program, inputs: Sequence[Any]) -> tuple[Any, ...]:
    values = []
    for case, value in enumerate(inputs):
        try:
            values.append(dump_input(program, value))
        except DefinitionError as error:
            raise error.with_note(f"it is inputs[{case}] of the experiment, for the arm {name!r}") from error.__cause__
    return tuple(values)
