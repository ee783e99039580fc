"""The world: which nodes are modelled, and how.

Nothing real happens by accident: a node with an effect is refused before the first trial unless the world says what
to do with it, and so is an approval without a person.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchkit.clock.dice import CHOICE, ERROR, LATENCY, VALUE
from orchkit.clock.kernel import micro
from orchkit.errors import DefinitionError, SimulationError
from orchkit.model.graph import Graph
from orchkit.model.paths import ESCALATE, FALLBACK, UNDO, static_path
from orchkit.model.policies import Escalate, Fallback, option_name
from orchkit.model.protocols import Dice, Draw
from orchkit.model.steps import Node
from orchkit.model.text import shown
from orchkit.model.wording import nearest
from orchkit.sim.dist import Dist, of

__all__ = ["Fake", "Person", "World", "fake", "person", "real", "skip_effect"]


class _Real:
    """Run the node's own body, effects and all."""

    def __repr__(self) -> str:
        return "ok.real"


real: Final = _Real()
"""In a world: run this node's own body in virtual time, effects and all."""


class SimulatedError(Exception):
    """What a modelled attempt fails with; transient, as a flaky model call is."""


def _rate(what: str, value: float) -> float:
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and 0 <= value <= 1):
        raise DefinitionError(f"{what}={value!r}: a rate is between 0 and 1")
    return float(value)


@dataclass(frozen=True, slots=True, repr=False)
class Fake:
    """A modelled step; made by `fake`.

    Attributes
    ----------
    value : object or callable
    latency : Dist
    error : float, 0..1
    cost : float, USD
    """

    value: Any
    latency: Dist
    error: float
    cost: float

    @property
    def wants_inputs(self) -> bool:
        """Whether the value is a function of them."""
        return callable(self.value)

    def decide(self, inputs: dict[str, Any], dice: Dice) -> Draw:
        """Draw latency and error, and work out the value.

        Parameters
        ----------
        inputs : dict
            The node's, by name; empty if `wants_inputs` is False.
        dice : Dice
            The attempt's. Latency and error each have a word of their own, so neither depends on the other.

        Returns
        -------
        Draw
        """
        latency = micro(self.latency.quantile(dice.uniform(LATENCY)))
        if dice.uniform(ERROR) < self.error:
            return Draw(latency, error=SimulatedError("modelled failure"), cost=self.cost)
        value = self.value(inputs, dice.generator()) if callable(self.value) else self.value
        return Draw(latency, value, cost=self.cost)

    def __repr__(self) -> str:
        parts = [getattr(self.value, "__name__", None) or repr(self.value), f"latency={self.latency!r}"]
        parts += [f"error={shown(self.error)}"] if self.error else []
        parts += [f"cost={shown(self.cost)}"] if self.cost else []
        return f"fake({', '.join(parts)})"


def fake(value: Any, *, latency: float | Dist = 0.0, error: float = 0.0, cost: float = 0.0) -> Fake:
    """Model a step.

    Parameters
    ----------
    value : object or callable
        What it returns, as it is (a list is the value), or ``fn(inputs, rng)``: a dict of the node's inputs by
        name (``input`` and, in a map, ``item`` among them, if the step asks for them), and a ``random.Random`` of
        this attempt. Its value must fit the step's annotation.
    latency : float or Dist, seconds, >= 0
    error : float, 0..1
        Probability that an attempt fails, after its latency, with an error that is worth a retry.
    cost : float, USD, >= 0
        Of each attempt, failed ones included.

    Returns
    -------
    Fake

    Raises
    ------
    DefinitionError
        If a number is out of range, or the function does not take two arguments, or is async.

    Notes
    -----
    Each attempt draws anew and independently: a model that is asked again is as likely to fail as before. Real
    models are not so kind on hard questions (`reference/failures.md` §1.5). A modelled step runs no body, and so
    writes nothing to the shared context.

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.fake("found it", latency=ok.dist.lognormal(p50=1, p99=9), error=0.02)
    fake('found it', latency=ok.dist.lognormal(p50=1, p99=9), error=0.02)
    >>> ok.fake(lambda inputs, rng: rng.choice(["send", "review"]), latency=0.2).wants_inputs
    True
    """
    if isinstance(cost, bool) or not (isinstance(cost, (int, float)) and 0 <= cost < float("inf")):
        raise DefinitionError(f"ok.fake(cost={cost!r}): USD an attempt, 0 or more")
    if callable(value):
        _takes_two("ok.fake", value)
    return Fake(value, of(latency), _rate("ok.fake(error)", error), float(cost))


def _takes_two(who: str, fn: Callable[..., Any]) -> None:
    name = getattr(fn, "__name__", repr(fn))
    if inspect.iscoroutinefunction(fn):
        raise DefinitionError(f"{who}({name}): a model answers at once; write it with def, and say latency=")
    try:
        inspect.signature(fn).bind({}, None)
    except TypeError as error:
        raise DefinitionError(f"{who}({name}): a function gets (inputs, rng); {error}") from None
    except ValueError:
        pass  # a builtin that does not tell its parameters


@dataclass(frozen=True, slots=True)
class Person:
    """A modelled person; made by `person`.

    Attributes
    ----------
    delay : Dist
    approve : float, 0..1, or None
    answers : object or callable
    absent : float, 0..1
    """

    delay: Dist
    approve: float | None
    answers: Any
    absent: float

    @property
    def wants_inputs(self) -> bool:
        """Whether the answer is a function of what was shown."""
        return callable(self.answers)

    def decide(self, inputs: dict[str, Any], dice: Dice) -> Draw:
        """Draw whether they answer, when, and what.

        Parameters
        ----------
        inputs : dict
            What is shown, by name; empty if `wants_inputs` is False.
        dice : Dice
            The question's. Absence, delay and verdict each have a word of their own.

        Returns
        -------
        Draw
            Its latency is None for one who never answers.
        """
        if dice.uniform(CHOICE) < self.absent:
            return Draw(None)
        latency = micro(self.delay.quantile(dice.uniform(LATENCY)))
        if self.approve is not None:
            return Draw(latency, dice.uniform(VALUE) < self.approve, by="simulated person")
        value = self.answers(inputs, dice.generator()) if callable(self.answers) else self.answers
        return Draw(latency, value, by="simulated person")


def person(delay: float | Dist, *, approve: float | None = None, answers: Any = None, absent: float = 0.0) -> Person:
    """Model who answers an approval.

    Parameters
    ----------
    delay : float or Dist, seconds, >= 0
        From the question to the answer.
    approve : float, 0..1
        Probability of yes; sets the answer model's one required bool. Give it or `answers`.
    answers : object or callable
        A whole answer, or ``fn(inputs, rng)``: a dict of what is shown, and this question's ``random.Random``.
    absent : float, 0..1
        Probability that they never answer. An approval without a time-out then ends the run in `RunStuck`.

    Returns
    -------
    Person

    Raises
    ------
    DefinitionError
        If a number is out of range, or not exactly one of `approve` and `answers` is given.

    Notes
    -----
    Under a time-out of T a question stays without an answer with probability ``a + (1 - a) P(delay > T)``, a being
    `absent`; an answer at T itself counts. Everybody is asked anew and has no queue: people who are busy with other
    runs are not modelled.

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.person(ok.dist.lognormal(p50=600, p99=7200), approve=0.9, absent=0.05).absent
    0.05
    """
    if (approve is None) == (answers is None):
        raise DefinitionError("ok.person(...): give either approve=probability or answers=an answer or a function")
    if callable(answers):
        _takes_two("ok.person", answers)
    return Person(
        of(delay),
        None if approve is None else _rate("ok.person(approve)", approve),
        answers,
        _rate("ok.person(absent)", absent),
    )


def skip_effect(value: Any) -> Fake:
    """Model an effect that must not act: it takes no time and gives this value.

    Parameters
    ----------
    value : object or callable
        As in `fake`.

    Returns
    -------
    Fake

    Examples
    --------
    >>> skip_effect("sent").value
    'sent'
    """
    return fake(value)


class World:
    """How nodes behave in simulation; live code is untouched.

    Parameters
    ----------
    models : mapping of str to model, optional
        By node path, for paths that are no Python names, such as ``"draft/fallback:canned"``.
    name : str, default ""
        Part of every draw's key, so worlds of different names have different luck.
    **nodes
        The same by keyword: `fake`, `person`, `skip_effect`, or `real` to run the node's own body.

    Raises
    ------
    DefinitionError
        For a value that is no model.

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.World(draft=ok.fake("A refund is on its way.", latency=3.0))
    World(draft=fake('A refund is on its way.', latency=ok.dist.constant(3)))
    """

    def __init__(self, models: Mapping[str, Any] | None = None, /, *, name: str = "", **nodes: Any) -> None:
        self.name = name
        self.models: dict[str, Any] = {**(models or {}), **nodes}
        for path, model in self.models.items():
            if model is not real and not isinstance(model, (Fake, Person)):
                raise DefinitionError(
                    f"World({path}={model!r}): use ok.fake(value), ok.person(...), ok.skip_effect(value) or ok.real"
                )

    def __repr__(self) -> str:
        return f"World({', '.join(f'{path}={model!r}' for path, model in self.models.items())})"

    def model(self, path: str) -> Any:
        """Give the model of a node path; None runs its own body.

        Parameters
        ----------
        path : str

        Returns
        -------
        Fake, Person or None
        """
        model = self.models.get(path)
        return None if model is real else model

    def fit_to(self, graph: Graph) -> World:
        """Check that this world can stand in for a graph, and shape `approve=` persons to its questions.

        Parameters
        ----------
        graph : Graph

        Returns
        -------
        World
            This one, fitted.

        Raises
        ------
        SimulationError
            With every effect, person and name that does not fit, at once.
        """
        return self._fitted(graph, "", self._unknown(graph))

    def within(self, graph: Graph, prefix: str) -> World:
        """Fit this world to a graph that a step goes through as it goes, by ``ctx.call`` or ``ctx.ask``.

        Parameters
        ----------
        graph : Graph
        prefix : str
            What the paths of its nodes begin with.

        Returns
        -------
        World

        Raises
        ------
        SimulationError
            With every effect and person that does not fit, at once.
        """
        return self._fitted(graph, prefix, ())

    def _fitted(self, graph: Graph, prefix: str, unknown: Iterable[str]) -> World:
        nodes = list(_nodes(graph, self.models, prefix))
        problems = [*unknown, *self._unsafe(nodes)]
        models = dict(self.models)
        for path, node in nodes:
            model = models.get(path)
            if isinstance(model, Person) and node.kind == "approval" and model.approve is not None:
                try:
                    models[path] = _ApprovingPerson(model, node.answer)
                except SimulationError as error:
                    problems.append(f"{path!r}: {error}")
        if problems:
            lines = "\n".join(f"  - {problem}" for problem in problems)
            raise SimulationError(f"this world does not fit workflow {graph.name!r}:\n{lines}")
        fitted = World(name=self.name)
        fitted.models = models
        return fitted

    def _unknown(self, graph: Graph) -> Iterable[str]:
        kinds = {path: node.kind for path, node in _nodes(graph)}
        paths = [place for path, node in _nodes(graph) for place in _places(path, node)]
        # What a step calls as it goes is not known before.
        calling = tuple(f"{path}/" for path, node in _nodes(graph) if node.function and node.function.wants_ctx)
        for path, model in self.models.items():
            if path not in paths and path.startswith(calling):
                continue
            if path not in paths:
                yield f"{path!r} is no node of it; {nearest(path, sorted(paths), most=3)}"
            elif isinstance(model, Person) and kinds.get(path) != "approval":
                yield f"{path!r} is a step, not an approval: model it by ok.fake(value)"

    def _unsafe(self, nodes: Iterable[tuple[str, Node]]) -> Iterable[str]:
        for path, node in nodes:
            if node.kind == "approval" and not isinstance(self.models.get(path), Person):
                yield f"{path!r} asks a person: say who answers, {_entry(path, 'ok.person(delay=..., approve=...)')}"
            elif node.effect:
                for place in _places(path, node):
                    if place not in self.models:
                        yield (
                            f"{place!r} has an effect on the world: say {_entry(place, 'ok.skip_effect(value)')}, or "
                            "ok.real if it may act"
                        )


def _nodes(graph: Graph, models: Mapping[str, Any] | None = None, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Give all nodes with their paths; of workflows within nodes that these models stand in for, none."""
    for node in graph.nodes:
        path = static_path(prefix + node.name) if node.dynamic else prefix + node.name
        yield path, node
        escalate: Escalate | None = node.policy("escalate")
        if escalate is not None:
            asked = graph.templates[escalate.to]
            own = f"{path}{ESCALATE}{escalate.to}"
            # Who answers the approval answers it wherever a failed node escalates to it, unless that says otherwise.
            yield (own if models is None or own in models else prefix + escalate.to), asked
            if models is None:
                yield prefix + escalate.to, asked
        if node.body is not None and (models is None or models.get(path, real) is real):
            yield from _nodes(node.body, models, f"{path}/")


def _places(path: str, node: Node) -> list[str]:
    """Give the places of a node where code can run: its own, its undo, and each step among its fallbacks."""
    policy: Fallback | None = node.policy("fallback")
    options = () if policy is None else policy.options
    undo = [] if node.undo is None else [f"{path}{UNDO}{option_name(node.undo)}"]
    return [path, *undo] + [f"{path}{FALLBACK}{option_name(one)}" for one in options if callable(one)]


def _entry(path: str, model: str) -> str:
    return f"{path}={model}" if path.isidentifier() else f"ok.World({{{path!r}: {model}, ...}})"


class _ApprovingPerson:
    """A person whose yes or no is put into the answer model's one required bool."""

    def __init__(self, person: Person, answer: Any) -> None:
        self.person = person
        self.field = _one_bool(answer)

    wants_inputs = False

    def decide(self, inputs: dict[str, Any], dice: Dice) -> Draw:
        """Draw as the person does, and shape the answer."""
        draw = self.person.decide(inputs, dice)
        if draw.latency is None or self.field is None:
            return draw
        return Draw(draw.latency, {self.field: draw.value}, by=draw.by)


def _one_bool(answer: Any) -> str | None:
    if answer is bool:
        return None
    fields = getattr(answer, "model_fields", {})
    bools: list[str] = [name for name, spec in fields.items() if spec.annotation is bool and spec.is_required()]
    others = [name for name, spec in fields.items() if spec.is_required() and name not in bools]
    if len(bools) != 1 or others:
        name = getattr(answer, "__name__", answer)
        raise SimulationError(
            f"ok.person(approve=) needs an answer model whose one required field is a bool; {name} is not: use answers="
        )
    return bools[0]
