"""Reading a customer's message by rules: its topic, how soon somebody must act, which sum it names.

Plain regular expressions, so that the demo needs no model and no network. They were written looking at the
messages with odd numbers only; ``tests/unit/cli/test_demo_rules.py`` measures them on the even ones.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, Field

__all__ = ["Facts", "Topic", "Urgency", "read_by_rules"]

Topic = Literal["delivery", "damage", "billing", "refund", "product", "account", "praise", "other"]
Urgency = Literal["low", "normal", "high"]


class Facts(BaseModel):
    """What one message says."""

    topic: Topic = Field(description="what the customer wants dealt with")
    urgency: Urgency = Field(description="high: harm, fraud, a deadline within two days; low: can wait for weeks")
    amount: float | None = Field(description="the sum in EUR that the message is about, if written in digits")
    trouble: float = Field(
        description="-1 to 1: how surely the customer reports that shop, carrier or product did wrong",
        ge=-1,
        le=1,
    )


def read_by_rules(text: str) -> Facts:
    """Read a message by rules alone.

    Examples
    --------
    >>> facts = read_by_rules("The lamp arrived broken. It cost 64,90 EUR and I want my money back.")
    >>> facts.amount, facts.trouble > 0
    (64.9, True)
    """
    text = text.replace("’", "'")
    trouble = _trouble_in(text)
    praise = trouble <= 0 and _is_praise(text)
    topic: Topic = "praise" if praise else _topic_of(text)
    urgency = _urgency_of(text, praise=praise)
    return Facts(topic=topic, urgency=urgency, amount=_amount_of(text), trouble=trouble)


_NUMBER = r"\d{1,3}(?:[., ]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?"
_SUM = re.compile(rf"(?:€|\beur)\s?({_NUMBER})\b|(?<![\d.,])({_NUMBER})\s?(?:€|eur\b|euros?\b)", re.IGNORECASE)
_BARE_SUM = re.compile(r"(?<![\d.,:])(\d+[.,]\d{2})(?![\d.,:])")


def _amount_of(text: str) -> float | None:
    found = _SUM.search(text)
    if found is not None:
        return _number(found[1] or found[2])
    bare = _BARE_SUM.search(text)  # "not paying 74.60": two decimals are money
    return None if bare is None else _number(bare[1])


def _number(digits: str) -> float | None:
    whole, _, cents = re.sub(r"[., ](?=\d{1,2}$)", "|", digits).partition("|")
    value = float(f"{re.sub('[., ]', '', whole)}.{cents or 0}")
    return value if 0 < value < 1e9 else None


def _any(patterns: str) -> re.Pattern[str]:
    parts = (part.strip() for part in patterns.split(";"))
    return re.compile("|".join(rf"\b(?:{part})" for part in parts), re.IGNORECASE)


_TOPICS: dict[Topic, re.Pattern[str]] = {
    "account": _any(
        r"""
        accounts?\b; log(?:s|ged)? ?(?:me )?(?:in|out)\b; login; password; profile\b; surname;
        loyalty points; badges?\b; user ?name; the app\b; reset (?:mail|link); newsletter; address book;
        e-?mail address; my (?:personal )?data\b
        """
    ),
    "refund": _any(
        r"""
        refund; return(?:s|ed|ing)?\b; money back; my money\b; cancel; withdraw; swap\b; take it back;
        changed my mind; store credit; owe me; send the money
        """
    ),
    "billing": _any(
        r"""
        invoice; \bbill(?:s|ed|ing)?\b; charg(?:e|ed|ing)\b; vat\b; debit; coupon; discount; pric(?:e|es)\b;
        pay(?:ing|ment|ments)?\b; paid\b; transferred; currency; receipt\b; voucher; gift card; debt;
        booked\b; overcharg; trial\b; bank\b; ways of paying; reminder
        """
    ),
    "delivery": _any(
        r"""
        deliver; parcel; tracking; driver; courier; carrier\b; van\b; ship(?:s|ped|ping|ment)?\b;
        where is my order; doorstep; letterbox; pick(?:ed)? up; warehouse; arriv(?:e|es|al)\b; neighbour;
        postman; sent to the wrong
        """
    ),
    "damage": _any(
        r"""
        brok(?:e|en)\b; damag; shatter; scratch; crack; chip\b; chipped; torn\b; dent; bent\b; burnt; stain;
        gouge; came off; hole\b; ripped; mould; dirty; splinter; leak; squashed; crooked; smashed;
        missing (?:a |its |the |one )?\w+ ?(?:leg|screw|lid|foot|part); in pieces; zip(?:per)?\b; snapped;
        loose\b; split\b; peel(?:s|ing|ed)\b; flak(?:es|ing)
        """
    ),
    "product": _any(
        r"""
        is (?:the|it|this) .{0,30}(?:safe|suitable|dishwasher|machine|made|washable); manual\b; dimensions;
        size\b; spare; does (?:it|the)\b; description; advertis; solid\b; instructions; stinks?\b;
        smells?\b; rusts?\b; batter(?:y|ies); fits?\b; colou?r\b; material; made of; would love; version\b;
        singly; hum(?:s|ming)\b; noise; loud; come (?:back|apart); kg\b; allerg; non-stick;
        \w+ (?:vacuum|grinder|juicer|kettle|mixer|toaster|heater|fan|pan|pot|pillow|knife|timer)\b;
        \w+ (?:thermometer|cooker|candles)\b
        """
    ),
    "other": _any(
        r"""
        showroom; sponsor; catalogue; course\b; advent; internship; job\b; cookies?\b; website\b;
        chat window; fake shop; shop assistant; ignore (?:all )?previous; test\b; parking; interview;
        partners\b; window\b; letter\b; hiring
        """
    ),
}
# Who asks for a return tells why, and who writes about a broken thing names its price.
_WEIGHT: dict[Topic, float] = {
    "account": 1.5, "refund": 1.6, "billing": 1.05, "delivery": 1.3, "damage": 1.25, "product": 0.8,
    "other": 1.2,
}  # fmt: skip


def _topic_of(text: str) -> Topic:
    scores = {topic: _WEIGHT[topic] * min(3, len(words.findall(text))) for topic, words in _TOPICS.items()}
    best = max(scores, key=lambda topic: scores[topic])
    return best if scores[best] else "product" if "?" in text else "other"


_DANGER = _any(
    r"""
    hospital; emergency; burns? on; x-ray; bleed; smells? of gas; swallow; doctor; paediatrician;
    fire\b(?! lane); smok(?:e|ing)\b; electric shock; sparks?\b; injur; ambulance; hacked; fake shop;
    stolen\b; phishing; fraud; debt collector; court\b; lawyer; overdrawn; ring me immediately;
    every hour; recall; explod; caught fire; poison
    """
)
_DEADLINE = _any(
    r"""
    today[.,!]; tonight; right (?:now|away); this (?:very )?(?:minute|morning|afternoon|evening);
    in (?:one|two|an|three) hours?; tomorrow; at once; immediately; close in;
    quick(?:ly)?,? (?:please|,); please answer quickly; today is
    """
)
_LATER = _any(
    r"""
    no (?:hurry|rush|action|drama|answer); not a big thing; just (?:letting|an idea|kidding); some day;
    any time; only (?:telling|for my); i can live with; out of curiosity; just curious; worth a try;
    lovely idea; would thank you; i'd love; is there any; might want to; for the designers;
    not that i mind; no problem to report; will .{0,30}come back; but others may; best way; which ways
    """
)


def _urgency_of(text: str, *, praise: bool) -> Urgency:
    if praise or _LATER.search(text):
        return "low"
    return "high" if _DANGER.search(text) or len(_DEADLINE.findall(text)) > 1 else "normal"


_TROUBLE = _any(
    r"""
    broke(?:n|s)?\b; torn\b; missing\b; vanish; lost\b; wrong\b; twice\b; stinks?\b; smells? of;
    scratch; cracked; chipped; burn(?:t|s)\b; rusts?\b; faulty\b; damaged\b; leak; late\b;
    fell (?:off|apart); stopped\b; (?:came|comes) off; disappeared; instead of; promised;
    never (?:comes|came|arrived); still (?:no|not|waiting|missing)\b;
    (?:does|do|did|was|is|has|have)(?:n't| not) (?!yet|yours); won't; cannot\b; nobody;
    no (?:answer|reply|money)\b; refus; (?:days|weeks|months) (?:later|ago|now); crooked; hole\b;
    shatter; bent\b; dent(?:s|ed)?\b; disappoint; empty\b;
    (?:you|they|was|were) (?:\w+ )?(?:refunded|charged|debited|booked|billed|took|sent); says? ;
    supposed to; too (?:small|big|short|much); again\b; useless; rude; dirty; stain; smashed; loose\b;
    dead\b; ruin; unacceptable; defect; pity;
    (?:two|three|four|five|six|\d+) (?:times|hours|days|weeks|months|calls)
    """
)
_ASKING = _any(
    r"""
    can (?:i|you|we|the); could (?:i|you|we); may (?:i|we); would (?:you|it|love|like);
    i'd (?:like|love); do (?:you|i)\b; is (?:it|there)\b; how (?:do|much|many|long|can);
    where (?:do|can|is|in); which \w+ (?:is|do|does|was|are); will (?:the|it|you); are (?:you|the);
    please (?:send|split|cancel|change|set|add)
    """
)
_OWN = _any(
    r"""
    my (?:own )?(?:mistake|fault); silly me; i (?:forgot|tripped|typed|dropped|lost); not your fault;
    not blaming; changed my mind; just (?:kidding|letting); not a complaint; not (?:one|a single);
    no problem; nothing (?:broken|wrong|late|missing)
    """
)
_DELIGHT = _any(
    r"""
    thank(?:s| you); merci; lovely; beautiful; wonderful; perfect; best\b; kudos; impressed; five stars;
    ten out of ten; love(?:d|ly)?\b; great\b; good\b; worth every; unbelievabl; insanely; proud;
    fine(?:r)?\b; pretty\b; bravo; compliment; delight; happy\b; polite; comfortable; excellent;
    fantastic; superb; awesome; brilliant; amaz; saved my; well done; glad\b; wish every; recommend;
    cheers; praise; smile
    """
)


def _trouble_in(text: str) -> float:
    """Weigh signs of trouble against those of a question, of praise and of the customer's own mistake."""
    signs = min(3, len(_TROUBLE.findall(text)))
    asking = bool(_ASKING.search(text)) + ("?" in text)
    delight = min(2, len(_DELIGHT.findall(text)))
    score = 0.5 + signs - 1.5 * asking - delight - 2.0 * bool(_OWN.search(text))
    return max(-1.0, min(1.0, score / 3))


def _is_praise(text: str) -> bool:
    wish = re.search(r"\bplease (?!give|keep)", text, re.IGNORECASE)
    return bool(_DELIGHT.search(text)) and "?" not in text and not wish
