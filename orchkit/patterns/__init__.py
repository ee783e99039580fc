"""The gallery: patterns of orchestration, each a short function that makes a workflow of your own steps.

Read them as examples of how to write one: they use nothing but what ``import orchkit as ok`` gives, and `_wiring`,
which lets your steps keep their own parameter names. A pattern's docstring says what theory expects of it, and
``tests/truth/test_patterns.py`` holds it to that.

**Names.** A step keeps its name; worlds, faults, policies and logs know it by that: ``wf.using(small=ok.Retry(3))``.
Steps that a pattern adds of its own are listed in its docstring, and none of yours may bear such a name.

**Parameters.** One rule for all. A pattern offers each step values, listed in its docstring in order, by role. A
parameter that is named like a role, or like the step that made the value, gets that one. Each other parameter gets the
first offered value that none has taken. What is left over is not used; a parameter that is left over is an error.
``ctx`` and ``item`` mean what they always do, and a parameter with a default is left as it is unless it bears such a
name: write ``temperature=ok.const(0.2)``. So with ``answer`` and ``input`` on offer, ``check(answer, input)``,
``check(input, answer)``, ``check(reply, question)`` and ``check(reply)`` are all right.

**Options.** A step made by ``ok.step`` brings its own, such as its provider, also into a loop, where `using` does not
reach.

**More.** What a pattern returns is a workflow: add steps to it, name it in ``wf.call``, compare it with others in an
`Experiment`.

>>> import orchkit as ok
>>> def small(question: str) -> str: ...
>>> def check(reply: str, question: str) -> bool: ...
>>> def large(question: str) -> str: ...
>>> wf = ok.patterns.cascade("qa", weak=small, verify=check, strong=large, input=str)
>>> wf.using(large=ok.Retry(3)).policies("large")
(Retry(3),)
"""

from orchkit.patterns.blackboard import Board, blackboard
from orchkit.patterns.cascade import cascade
from orchkit.patterns.critic import critic_loop
from orchkit.patterns.debate import debate
from orchkit.patterns.handoff import handoff
from orchkit.patterns.human import human_escalation, human_gate
from orchkit.patterns.mapreduce import map_reduce
from orchkit.patterns.quorum import quorum
from orchkit.patterns.retrieval import retrieval
from orchkit.patterns.router import router
from orchkit.patterns.saga import saga
from orchkit.patterns.supervisor import supervisor
from orchkit.patterns.vote import vote

__all__ = [
    "router",
    "cascade",
    "vote",
    "quorum",
    "critic_loop",
    "map_reduce",
    "supervisor",
    "handoff",
    "debate",
    "Board",
    "blackboard",
    "saga",
    "human_gate",
    "human_escalation",
    "retrieval",
]
