"""One of each pattern, of steps that have bodies, and a world for it in which things fail and take their time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orchkit as ok

patterns = ok.patterns
SLOW = ok.dist.exponential(mean=2.0)


@dataclass(frozen=True)
class Shown:
    """A pattern, its input, what its real bodies come to (people say yes), and a world of its own."""

    wf: ok.Workflow
    given: Any
    result: Any
    world: ok.World
    people: ok.World


def kind(letter: str) -> str:
    return "billing" if "invoice" in letter else "support"


def billing(letter: str) -> str:
    return f"paid {letter}"


def support(letter: str) -> str:
    return f"helped {letter}"


def small(question: str) -> str:
    return question[:3]


async def check(answer: str, question: str) -> bool:
    return answer == question


async def large(question: str) -> str:
    return question.upper()


def split(book: str) -> list[str]:
    return book.split()


async def work(item: str) -> str:
    return item[0]


def merge(results: list[str]) -> str:
    return "".join(results)


def write(letter: str, before: str | None, remarks: Any) -> str:
    return letter if before is None else before + remarks


def critic(draft: str) -> bool | str:
    return draft.endswith("!!") or "!"


def lead(case: str, notes: list[Any]) -> list[tuple[str, str]]:
    return [("law", case), ("sums", case + "?")] if not notes else []


async def law(order: str) -> str:
    return f"law of {order}"


async def sums(order: str, case: str) -> int:
    return len(order + case)


def brief(notes: list[Any]) -> list[Any]:
    return [note["said"] for note in notes]


def triage(letter: str) -> tuple[str | None, str]:
    return "desk", letter + " via desk"


def desk(letter: str) -> tuple[str | None, str]:
    return None, letter


def eager(question: str, said: dict[str, str]) -> str:
    return "yes"


def careful(question: str, said: dict[str, str]) -> str:
    return said.get("eager", "no")


def chair(said: dict[str, str]) -> str:
    return max(said.values())


def chemist(board: list[Any]) -> str | None:
    return "salt" if len(board) == 1 else None


def cook(board: list[Any]) -> str | None:
    return "soup" if board[-1]["note"] == "salt" else None


def enough(result: list[Any], round: int) -> bool:
    return result[-1]["note"] == "soup"


def verdict(board: list[Any]) -> list[str]:
    return [note["by"] for note in board]


def book(trip: str) -> str:
    return f"seat to {trip}"


def cancel(booking: str) -> str:
    return f"no {booking}"


def pay(trip: str, book: str) -> str:
    return f"paid {book}"


def hold() -> str:
    return "later"


def search(question: str) -> list[str]:
    return ["owls hunt", "tea is hot"]


def about(item: str, question: str) -> bool:
    return question in item


def tell(passages: list[str]) -> str:
    return passages[0]


def borne_out(answer: str, passages: list[str]) -> bool:
    return answer in passages


def some(*values: Any, **model: Any) -> Any:
    return ok.fake(lambda inputs, rng: rng.choice(values), latency=SLOW, **model)


def gallery() -> dict[str, Shown]:
    """Give one of each, made anew."""
    none = ok.World()
    approve = ok.World(review=ok.person(60.0, approve=1.0))
    checked = {"small": some("a", "b"), "check": some(True, False), "large": some("A", error=0.2)}
    return {
        "router": Shown(
            patterns.router("router", classify=kind, to=[billing, support], input=str),
            "my invoice",
            "paid my invoice",
            ok.World(kind=some("billing", "support"), billing=some("b", error=0.3), support=some("s")),
            none,
        ),
        "cascade": Shown(
            patterns.cascade("cascade", weak=small, verify=check, strong=large, input=str),
            "hello",
            "HELLO",
            ok.World(checked),
            none,
        ),
        "vote": Shown(
            patterns.vote("vote", voter=large, n=3, input=str), "yes", "YES", ok.World(large=some("A", "B")), none
        ),
        "quorum": Shown(
            patterns.quorum("quorum", voters=[small, large, billing], need=1, input=str),
            "yes",
            "yes",
            ok.World(small=some("a", "b", error=0.4), large=some("a", "b", error=0.4), billing=some("a", error=0.4)),
            none,
        ),
        "critic_loop": Shown(
            patterns.critic_loop("critic", write=write, judge=critic, rounds=3, input=str),
            "hey",
            "hey!!",
            ok.World({"rounds/write": some("a", "b", error=0.1), "rounds/critic": some(True, "no", "why")}),
            none,
        ),
        "map_reduce": Shown(
            patterns.map_reduce("mapped", split=split, work=work, reduce=merge, limit=2, input=str),
            "once upon a time",
            "ouat",
            ok.World(split=some(["a", "b", "c"]), work=some("x", "y", error=0.05), merge=some("m")),
            none,
        ),
        "supervisor": Shown(
            patterns.supervisor("case", plan=lead, workers=[law, sums], report=brief, rounds=2, limit=1, input=str),
            "fee",
            ["law of fee", 7],
            ok.World(
                {
                    "rounds/work/law": some("l", error=0.1),
                    "rounds/work/sums": some(1, 2),
                    "rounds/lead": some([("law", "a"), ("sums", "b")], []),
                }
            ),
            none,
        ),
        "handoff": Shown(
            patterns.handoff("office", agents=[triage, desk], turns=3, input=str),
            "letter",
            "letter via desk",
            ok.World(
                {"turns/triage": some((None, "t"), ("desk", "d")), "turns/desk": some((None, "d"), ("triage", "t"))}
            ),
            none,
        ),
        "debate": Shown(
            patterns.debate("talk", debaters=[eager, careful], judge=chair, rounds=2, input=str),
            "late?",
            "yes",
            ok.World({"rounds/eager": some("a", "b"), "rounds/careful": some("a", "b")}, chair=some("c")),
            none,
        ),
        "blackboard": Shown(
            patterns.blackboard("lab", sources=[chemist, cook], solved=enough, conclude=verdict, rounds=3, input=str),
            "powder",
            ["input", "chemist", "cook"],
            ok.World({"rounds/chemist": some("salt", None), "rounds/cook": some("soup", None)}),
            none,
        ),
        "saga": Shown(
            patterns.saga("trip", steps=[(book, cancel), (pay, None)], input=str),
            "Rome",
            {"book": "seat to Rome", "pay": "paid seat to Rome"},
            ok.World({"book": some("b"), "pay": some("p", error=0.5), "book/undo:cancel": some("c")}),
            none,
        ),
        "human_gate": Shown(
            patterns.human_gate("gate", propose=small, otherwise=large, timeout=300.0, input=str),
            "hello",
            "hel",
            ok.World(
                small=some("a"), large=some("A"), review=ok.person(ok.dist.exponential(200.0), approve=0.5, absent=0.1)
            ),
            approve,
        ),
        "human_escalation": Shown(
            patterns.human_escalation("ask", propose=small, verify=check, late=hold, timeout=300.0, input=str),
            "hello",
            "by hand",
            ok.World(
                small=some("a"),
                check=some(True, False),
                hold=some("later"),
                person=ok.person(ok.dist.exponential(200.0), answers="by hand", absent=0.1),
            ),
            ok.World(person=ok.person(60.0, answers="by hand")),
        ),
        "retrieval": Shown(
            patterns.retrieval(
                "search", retrieve=search, relevant=about, write=tell, grounded=borne_out, otherwise=hold, input=str
            ),
            "owls",
            "owls hunt",
            ok.World(about=some(True, False), tell=some("t"), borne_out=some(True, False), hold=some("h")),
            none,
        ),
    }
