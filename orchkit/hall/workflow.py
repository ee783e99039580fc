"""The workflow: what users describe, draw, start and simulate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from orchkit.engine.program import Program
from orchkit.errors import DefinitionError
from orchkit.faults import Faults
from orchkit.hall import arguments
from orchkit.hall.definition import Definition
from orchkit.hall.opened import store_for
from orchkit.hall.options import checked_faults
from orchkit.hall.registry import register
from orchkit.hall.run import Run
from orchkit.hall.store import Store
from orchkit.runs import live
from orchkit.runs.approvers import checked_approver
from orchkit.runs.checks import dump_input, refuse_misses
from orchkit.runs.clerk import Approver

if TYPE_CHECKING:
    import os

    import networkx

    from orchkit.hall.checking import CheckReport
    from orchkit.sim.world import World

__all__ = ["Workflow"]

_durability = arguments.choice(live.DURABILITY)


class Workflow(Definition):
    """A graph of steps, described by decorators; edges come from parameter names.

    Parameters
    ----------
    name : str
        Runs are recorded under it.
    input : type, optional
        Annotation of what `start` takes; anything JSON without it.
    output : str, optional
        The node whose value is the result. Without it: the one sink; of alternatives that cannot both run, the one
        that did; else a dict of the sinks that completed.
    redact : iterable of str, optional
        Exact names, upper and lower case told apart, of fields (of models, dataclasses and TypedDicts; not their
        aliases) and keys of dicts. In whatever is recorded of a run (its input, results, answers), at any depth,
        "**********" stands for their values, as it does for each ``SecretStr`` and ``SecretBytes`` without being
        named. Where the type has no room for that text, None is recorded if the type takes it; else the value is
        refused with a `CodecError`. A None stays None. Neither the fields of a NamedTuple, which are recorded
        without their names, nor the columns of a frame are looked at. The messages of values that do not fit leave
        those values out.

    Raises
    ------
    DefinitionError
        If the name is empty, `output` is no name, or `redact` is not several texts.

    Notes
    -----
    Steps get what is recorded, so they get the asterisks too, also in the run that was given the secret: a step
    that needs the secret itself takes it from ``ctx.deps``, which `start` hands over by ``deps=`` and nobody records.

    What runs when is one rule. A node waits until each of its data inputs has settled. Then it runs if all inputs that
    it requires are live and, where routes name it, one of them has picked it. It is skipped when one that it requires
    was skipped, when all its data inputs were, or when every route that names it went elsewhere. A parameter with a
    default takes that when its source was skipped. A target of several routes runs when the first picks it, once.
    ``after=`` orders without data, and waits for the skipped too. A node without inputs starts at once. Nothing else
    holds a node back: neither slow siblings nor a person who is awaited elsewhere.

    A node that fails in spite of its policies fails the run: nothing new starts, what is in flight is cancelled and
    recorded so, and what people were asked stays answerable for a resume. With ``on_error="skip"`` it counts as
    skipped, and a run in which a sink still completes is degraded.

    A path names what ran: ``lookup[3]`` an item, ``enrich/extract`` a node of a called workflow, ``polish#2/critic``
    one of a loop's second round, ``enrich~2/extract`` one of the second attempt at ``enrich``, and
    ``agent/search(3f2a91c0)`` what the body of ``agent`` has called: with its key, or a digest of what it was given.
    So a child keeps its name whatever happens before it, and a resume finds it.

    Values are JSON by pydantic with the type that is annotated. Bytes are kept as they are, ``numpy.ndarray`` as npy,
    frames of pandas and tables of pyarrow as an Arrow IPC stream. Arrays, frames and tables need their annotation
    where they are made and where they are used, also inside containers and models. Nothing is pickled.

    Examples
    --------
    >>> import orchkit as ok
    >>> wf = ok.Workflow("hello", input=str)
    >>> @wf.step
    ... def greet(input: str) -> str:
    ...     return f"Hello {input}"
    >>> wf.simulate("Dana", world=ok.World()).result()
    'Hello Dana'

    Of two branches that a route leads to one is skipped, and what comes after both gets along without it:

    >>> wf = ok.Workflow("letter", input=str)
    >>> @wf.route(to=["answer", "refuse"])
    ... def choose(input: str) -> str:
    ...     return "refuse" if "refund" in input else "answer"
    >>> @wf.step
    ... def answer(input: str) -> str:
    ...     return "Yes."
    >>> @wf.step
    ... def refuse(input: str) -> str:
    ...     return "No."
    >>> @wf.step
    ... def send(answer: str | None = None, refuse: str | None = None) -> str:
    ...     return f"sent: {answer or refuse}"
    >>> run = wf.simulate("my refund", world=ok.World())
    >>> run.result(), [event.node for event in run.log if event.kind == "skipped"]
    ('sent: No.', ['answer'])

    >>> wf = ok.Workflow("login", input=dict, redact=("api_key",))
    >>> @wf.step
    ... def call(input: dict) -> list:
    ...     return list(input.values())
    >>> wf.simulate({"user": "dana", "api_key": "s3cret"}, world=ok.World()).result()
    ['dana', '**********']
    """

    def __init__(
        self, name: str, *, input: Any = object, output: str | None = None, redact: Iterable[str] = ()
    ) -> None:
        super().__init__(name, input=input, output=output, redact=redact)
        self._plain: Program | None = None
        register(self)

    # Looking

    def graph(self) -> networkx.DiGraph[str]:
        """Give the graph as a networkx ``DiGraph``: nodes with ``kind``, edges with ``kind``.

        Returns
        -------
        networkx.DiGraph
            With the workflow's input as the node ``input``, where one takes it.

        Examples
        --------
        >>> import networkx as nx, orchkit as ok
        >>> wf = ok.Workflow("hello", input=str)
        >>> @wf.step
        ... def greet(input: str) -> str: ...
        >>> @wf.step
        ... def send(greet: str) -> str: ...
        >>> sorted(nx.ancestors(wf.graph(), "send"))
        ['greet', 'input']
        """
        import networkx as nx

        checked = self.checked()
        drawn: networkx.DiGraph[str] = nx.DiGraph(name=self.name)
        edges = list(checked.edges())
        if any(edge.source == "input" for edge in edges):
            drawn.add_node("input", kind="input")
        for node in checked.nodes:
            drawn.add_node(node.name, kind=node.kind)
        for edge in edges:
            drawn.add_edge(edge.source, edge.target, kind=edge.kind)
        return drawn

    def svg(self) -> str:
        """Draw the graph as SVG: offline, the same bytes each time."""
        return str(self._repr_mimebundle_()["image/svg+xml"])

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, {len(self._nodes)} nodes)"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from orchkit.hall.drawing import show  # only a notebook draws

        return show(self.checked())

    # Running

    def start(
        self,
        input: Any,
        *,
        store: str | os.PathLike[str] | Store = "orchkit.duckdb",
        durability: str = "group",
        deadline: float | None = None,
        deps: object = None,
        faults: Faults | None = None,
        approver: Approver | None = None,
        on_interrupt: str = "suspend",
    ) -> Run:
        """Start a live run; returns as soon as its admission is durable.

        Inside an async step it returns before that, because waiting would block the engine that has to finish it.

        Parameters
        ----------
        input : object
            What the workflow's ``input=`` describes.
        store : path or Store
            Where the run is recorded.
        durability : {"group", "strict", "exit", "memory"}
            "group": before an effect acts, all that led to it is durable, and its outcome is before any other step
            sees it; so are answers and the end; the rest follows within milliseconds. "strict": every outcome is
            durable before a successor starts. "exit": nothing is durable until the run ends or is suspended, and
            then all of it is. "memory": nothing survives the process, and no file is written.
        deadline : float, seconds, > 0, <= 1e9, optional
            How long the run may take, waits for people included; what is in flight then is cancelled, and the run has
            failed. It goes on while nobody executes the run, and ends with the failure: a resume has none.
        deps : object
            Clients and secrets, as ``ctx.deps``; never recorded.
        faults : Faults, optional
            What goes wrong on purpose.
        approver : callable, optional
            Who answers when nobody sits there: `ok.approvers.auto`, ``scripted``, ``from_file``, or any function that
            gets an `ok.Question` and gives the answer, or None to leave it to a person.
        on_interrupt : {"suspend", "cancel", "detach"}
            What becomes of the run when the cell that awaits it is interrupted: it stops spending and can be resumed,
            it is cancelled, or it goes on without anybody who waits.

        Returns
        -------
        Run

        Raises
        ------
        GraphError
            If the workflow cannot run.
        DefinitionError
            If the input does not fit, or another argument makes no sense.
        StoreError
            If the store cannot take the run; nothing has run then.
        """
        _durability("start", "durability", durability)
        arguments.seconds("start", "deadline", deadline)
        arguments.on_interrupt("start", "on_interrupt", on_interrupt)
        program = self._program(checked_faults(faults))
        refuse_misses(program)
        value = dump_input(program, input)
        approver = checked_approver(program.graph, approver)
        kept = store_for(store, memory=durability == "memory")
        run = live.start(
            program, value, store=kept, durability=durability, deps=deps, approver=approver, deadline=deadline
        )
        run.on_interrupt = on_interrupt
        return Run(run)

    def _program(self, faults: Faults | None) -> Program:
        graph = self.checked()
        if faults is not None:
            return Program(graph, None, faults)
        if self._plain is None or self._plain.graph is not graph:
            self._plain = Program(graph)
        return self._plain

    def simulate(
        self,
        input: Any,
        *,
        world: World,
        faults: Faults | None = None,
        seed: int = 0,
        store: str | os.PathLike[str] | Store | None = None,
        durability: str = "memory",
    ) -> Run:
        """Run once in virtual time; blocks, and works under a running loop.

        Parameters
        ----------
        input : object
        world : World
            How nodes and people behave.
        faults : Faults, optional
        seed : int
            Decides all luck: the same seed gives the same log, event for event.
        store : path or Store, optional
            Where the finished run is recorded, once however often it is simulated; without it, nowhere.
        durability : {"memory", "exit", "group", "strict"}
            What an injected crash leaves: "memory" and "exit" nothing, so the run is lost; with the others it
            goes on from its log, at no cost of time.

        Returns
        -------
        Run
            Finished.

        Raises
        ------
        SimulationError
            If something real could happen by accident, before anything runs.
        DefinitionError
            If the input does not fit, or another argument makes no sense.
        """
        # Only here: who resumes a run in a new process waits for each import.
        from orchkit.runs.simulate import simulate, simulate_into

        _durability("simulate", "durability", durability)
        seed = arguments.seed("simulate", "seed", seed)
        program = self._simulated("simulate", world, faults)
        value = dump_input(program, input)
        survive = durability in ("group", "strict")
        if store is None:
            return Run(simulate(program, value, seed=seed, survive=survive))
        return Run(simulate_into(store_for(store, memory=False), program, value, seed=seed, survive=survive))

    def _simulated(self, where: str, world: World, faults: Faults | None) -> Program:
        from orchkit.runs.simulate import prepare
        from orchkit.sim.world import World

        if not isinstance(world, World):
            raise DefinitionError(f"{where}(world={world!r}): give an ok.World(...)")
        program = prepare(self.checked(), world, checked_faults(faults))
        refuse_misses(program)
        return program

    def check(
        self,
        input: Any,
        *,
        world: World,
        faults: Faults | None = None,
        seed: int = 0,
        points: int | None = None,
    ) -> CheckReport:
        """Crash a simulated run after every record, resume it each time, and compare what it comes to; blocks.

        Parameters
        ----------
        input : object
        world : World
            How nodes and people behave.
        faults : Faults, optional
            What else goes wrong. An ``ok.faults.crash`` among them comes in the resumed runs as well, so these crash
            twice.
        seed : int
            Decides all luck.
        points : int, >= 1, optional
            How many crashes to try, an even sample of the log with its first and its last record. Without it: all. The
            time that all take grows with the square of the log's length.

        Returns
        -------
        CheckReport
            Its `ok`: every resumed run ends equal, and nothing with a recorded outcome executed again. It shows itself.

        Raises
        ------
        SimulationError
            If something real could happen by accident, before anything runs; the same worlds are refused as by
            `simulate`.
        DefinitionError
            If the input does not fit, or another argument makes no sense.

        Notes
        -----
        A crash costs no time. An attempt in flight starts again under its own number, with the same luck and the same
        idempotency key (`CheckReport.repeated`): a modelled one ends when it would have, a body starts from its top.
        So a run in which a body was cut is compared without times, any other to the last digit of each.

        Bodies that the world does not model run once more in every resumed run that comes to them, which is up to two
        times more than there are points; with ``ok.real`` effects do too, under one key each time.

        It knows this world and this seed: what other luck leads to, ask with another `seed`. And it knows nothing of
        what receives an effect, only which effects may come twice.

        Examples
        --------
        >>> import orchkit as ok
        >>> wf = ok.Workflow("letter", input=str)
        >>> @wf.step(retry=ok.Retry(2))
        ... def draft(input: str) -> str:
        ...     return f"Dear {input}"
        >>> @wf.step(effect=True)
        ... def send(draft: str) -> str: ...
        >>> world = ok.World(draft=ok.fake("Dear Dana", latency=3.0), send=ok.skip_effect("sent"))
        >>> report = wf.check("Dana", world=world)
        >>> report
        check of 'letter': 6 crash points, every resumed run ends equal
          all 6 to the last digit of each time
          2 attempts were cut and started again: draft, send
          1 of them is an effect, which its receiver has to know again by its key:
            send: v69d5b1a9da85:send, after record 4
        >>> report.ok, [effect.node for effect in report.doubled]
        (True, ['send'])
        """
        from orchkit.hall.checking import CheckReport
        from orchkit.runs.crashcheck import check_crashes

        seed = arguments.seed("check", "seed", seed)
        most = arguments.count("check", "points", points)
        program = self._simulated("check", world, faults)
        value = dump_input(program, input)
        return CheckReport(self.name, check_crashes(program, value, seed=seed, most=most))
