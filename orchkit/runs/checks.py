"""Checks: what is looked at before a run begins, live or simulated."""

from __future__ import annotations

from typing import Any

from orchkit.engine.program import Program
from orchkit.errors import DefinitionError
from orchkit.faults import Faults

__all__ = ["dump_input", "refuse_misses"]


def refuse_misses(program: Program) -> None:
    """Refuse a plan with a fault that can hit nothing: a slip in a name would look like a robust workflow.

    Raises
    ------
    DefinitionError
        Naming the fault and what there is to hit.
    """
    # What a step calls as it goes is not known before.
    calling = tuple(f"{site.path}/" for site in program.sites if site.function is not None and site.function.wants_ctx)
    for fault in program.faults.faults if isinstance(program.faults, Faults) else ():
        if fault.kind == "crash" or fault.target.startswith(calling):
            continue
        if not any(fault.hits(*site.aim) for site in program.sites):
            paths = ", ".join(dict.fromkeys(site.path for site in program.sites))
            raise DefinitionError(
                f"{fault!r} hits nothing in workflow {program.graph.name!r}: a target is a node's path ({paths}), "
                "a tag or a provider"
            )


def dump_input(program: Program, value: Any) -> Any:
    """Check a workflow's input and give its JSON.

    Raises
    ------
    DefinitionError
        If it does not fit ``Workflow(input=)``.
    CodecError
        If it cannot be stored.
    """
    try:
        return program.input_codec.dump(value, "input")
    except ValueError as error:
        name = getattr(program.graph.input_type, "__name__", program.graph.input_type)
        raise DefinitionError(f"the input does not fit workflow {program.graph.name!r} ({name}): {error}") from error
