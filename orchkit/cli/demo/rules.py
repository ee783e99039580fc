"""Reading a customer's message by rules: what is it about, how soon must somebody act, which sum does it name.

Plain regular expressions, so that the demo needs no model and no network. They were written looking at the messages
with odd numbers only; ``tests/unit/cli/test_demo_rules.py`` measures them on those with even numbers.
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
    urgency: Urgency = Field(description="high: harm, fraud or a deadline within two days; low: can wait for weeks")
    amount: float | None = Field(description="the sum in EUR that the message is about, if written in digits")
    trouble: float = Field(
        description="how surely the customer reports that the shop, its carrier or its product did wrong: -1 to 1",
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
    return Facts(topic=topic, urgency=_urgency_of(text, praise=praise), amount=_amount_of(text), trouble=trouble)


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


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(rf"\b(?:{pattern})" for pattern in patterns), re.IGNORECASE)


_TOPICS: dict[Topic, re.Pattern[str]] = {
    "account": _any(
        r"accounts?\b", r"log(?:s|ged)? ?(?:me )?(?:in|out)\b", r"login", r"password", r"profile\b", r"surname",
        r"loyalty points", r"badges?\b", r"user ?name", r"the app\b", r"reset (?:mail|link)", r"newsletter",
        r"address book", r"e-?mail address", r"my (?:personal )?data\b", r"dark background", r"birthday voucher",
    ),
    "refund": _any(
        r"refund", r"return(?:s|ed|ing)?\b", r"money back", r"my money\b", r"cancel", r"withdraw", r"swap\b",
        r"take it back", r"changed my mind", r"store credit", r"receipt is", r"owe me", r"send the money",
    ),
    "billing": _any(
        r"invoice", r"\bbill(?:s|ed|ing)?\b", r"charg(?:e|ed|ing)\b", r"vat\b", r"debit", r"coupon", r"discount",
        r"pric(?:e|es)\b", r"pay(?:ing|ment|ments)?\b", r"paid\b", r"transferred", r"currency", r"receipt\b", r"voucher",
        r"gift card", r"debt", r"booked\b", r"overcharg", r"trial\b", r"bank\b", r"ways of paying", r"reminder",
    ),
    "delivery": _any(
        r"deliver", r"parcel", r"tracking", r"driver", r"courier", r"carrier\b", r"van\b", r"ship(?:s|ped|ping|ment)?\b",
        r"where is my order", r"doorstep", r"letterbox", r"pick(?:ed)? up", r"crew take", r"warehouse", r"arriv(?:e|es|al)\b",
        r"neighbour", r"postman", r"sent to the wrong",
    ),
    "damage": _any(
        r"brok(?:e|en)\b", r"damag", r"shatter", r"scratch", r"crack", r"chip\b", r"chipped", r"torn\b", r"dent", r"bent\b",
        r"burnt", r"stain", r"gouge", r"sticky after", r"came off", r"hole\b", r"ripped", r"mould", r"dirty", r"footprint",
        r"splinter", r"leak", r"squashed", r"crooked", r"smashed", r"missing (?:a |its |the |one )?\w+ ?(?:leg|screw|lid|foot|part)",
        r"three legs", r"in pieces", r"zip(?:per)?\b", r"snapped", r"loose\b", r"split\b", r"peel(?:s|ing|ed)\b", r"flak(?:es|ing)",
    ),
    "product": _any(
        r"is (?:the|it|this) .{0,30}(?:safe|suitable|dishwasher|machine|made|washable)", r"manual\b", r"dimensions", r"size\b",
        r"spare", r"does (?:it|the)\b", r"description", r"advertis", r"solid\b", r"instructions", r"turns itself", r"stinks?\b",
        r"smells?\b", r"rusts?\b", r"batter(?:y|ies)", r"fits?\b", r"colou?r\b", r"material", r"made of", r"would love",
        r"version\b", r"singly", r"hum(?:s|ming)\b", r"noise", r"loud", r"come (?:back|apart)", r"kg\b", r"allerg", r"non-stick",
        r"\w+ (?:vacuum|grinder|juicer|kettle|mixer|toaster|heater|fan|pan|pot|pillow|knife|timer|thermometer|cooker|candles)\b",
    ),
    "other": _any(
        r"showroom", r"school paper", r"sponsor", r"catalogue", r"course\b", r"advent", r"internship", r"job\b", r"cookies?\b",
        r"website\b", r"chat window", r"fake shop", r"tv spot", r"i'm a potter", r"shop assistant", r"ignore (?:all )?previous",
        r"test\b", r"parking", r"interview", r"partners\b", r"window\b", r"letter\b", r"hiring",
    ),
}  # fmt: skip
# Who asks for a return tells why; who writes about a broken thing names its price: the more specific topic first.
_WEIGHT: dict[Topic, float] = {
    "account": 1.5, "refund": 1.6, "billing": 1.05, "delivery": 1.3, "damage": 1.25, "product": 0.8, "other": 1.2,
}  # fmt: skip


def _topic_of(text: str) -> Topic:
    scores = {topic: _WEIGHT[topic] * min(3, len(pattern.findall(text))) for topic, pattern in _TOPICS.items()}
    best = max(scores, key=lambda topic: scores[topic])
    return best if scores[best] else "product" if "?" in text else "other"


_DANGER = _any(
    r"hospital", r"emergency", r"burns? on", r"x-ray", r"bleed", r"smells? of gas", r"swallow", r"sick in the night",
    r"doctor", r"paediatrician", r"fire\b(?! lane)", r"smok(?:e|ing)\b", r"electric shock", r"sparks?\b", r"injur", r"ambulance",
    r"order confirmations? for things", r"somebody is in my", r"before they get in", r"hacked", r"fake shop", r"stolen\b",
    r"phishing", r"fraud", r"debt collector", r"court\b", r"lawyer", r"overdrawn", r"ice on my", r"ring me immediately",
    r"every hour", r"recall", r"explod", r"caught fire", r"poison",
)  # fmt: skip
_DEADLINE = _any(
    r"today[.,!]", r"tonight", r"right (?:now|away)", r"this (?:very )?(?:minute|morning|afternoon|evening)", r"in (?:one|two|an|three) hours?",
    r"tomorrow", r"at once", r"immediately", r"close in", r"quick(?:ly)?,? (?:please|,)", r"please answer quickly", r"today is",
)  # fmt: skip
_LATER = _any(
    r"no (?:hurry|rush|action|drama|answer)", r"not a big thing", r"just (?:letting|an idea|kidding)", r"some day", r"any time",
    r"only (?:telling|for my)", r"i can live with", r"out of curiosity", r"just curious", r"worth a try", r"lovely idea",
    r"would thank you", r"i'd love", r"is there any", r"might want to", r"for the designers", r"not that i mind", r"no problem to report",
    r"will .{0,30}come back", r"what song", r"school paper", r"but others may", r"best way", r"which ways",
)  # fmt: skip


def _urgency_of(text: str, *, praise: bool) -> Urgency:
    if praise:
        return "low"
    if _LATER.search(text):
        return "low"
    if _DANGER.search(text) or len(_DEADLINE.findall(text)) > 1 or (_DEADLINE.search(text) and "help" in text.lower()):
        return "high"
    return "normal"


_TROUBLE = _any(
    r"broke(?:n|s)?\b", r"torn\b", r"missing\b", r"vanish", r"lost\b", r"wrong\b", r"twice\b", r"stinks?\b", r"smells? of", r"scratch",
    r"cracked", r"chipped", r"burn(?:t|s)\b", r"rusts?\b", r"faulty\b", r"damaged\b", r"leak", r"late\b", r"fell (?:off|apart)", r"stopped\b",
    r"(?:came|comes) off", r"disappeared", r"instead of", r"promised", r"never (?:comes|came|arrived)", r"still (?:no|not|waiting|missing)\b",
    r"(?:does|do|did|was|is|has|have)(?:n't| not) (?!yet|yours)", r"won't", r"cannot\b", r"nobody", r"no (?:answer|reply|money)\b", r"refus",
    r"(?:days|weeks|months) (?:later|ago|now)", r"crooked", r"hole\b", r"shatter", r"bent\b", r"dent(?:s|ed)?\b", r"disappoint", r"empty\b",
    r"(?:you|they|was|were) (?:\w+ )?(?:refunded|charged|debited|booked|billed|took|sent)", r"says? ", r"supposed to", r"too (?:small|big|short|much)",
    r"again\b", r"useless", r"rude", r"dirty", r"stain", r"smashed", r"loose\b", r"dead\b", r"ruin", r"unacceptable", r"defect", r"pity",
    r"(?:two|three|four|five|six|\d+) (?:times|hours|days|weeks|months|calls)",
)  # fmt: skip
_ASKING = _any(
    r"can (?:i|you|we|the)", r"could (?:i|you|we)", r"may (?:i|we)", r"would (?:you|it|love|like)", r"i'd (?:like|love)", r"do (?:you|i)\b", r"is (?:it|there)\b",
    r"how (?:do|much|many|long|can)", r"where (?:do|can|is|in)", r"which \w+ (?:is|do|does|was|are)", r"will (?:the|it|you)", r"are (?:you|the)", r"please (?:send|split|cancel|change|set|add)",
)  # fmt: skip
_OWN = _any(
    r"my (?:own )?(?:mistake|fault)", r"silly me", r"i (?:forgot|tripped|typed|dropped|lost)", r"not your fault", r"not blaming",
    r"changed my mind", r"just (?:kidding|letting)", r"not a complaint", r"not (?:one|a single)", r"no problem", r"nothing (?:broken|wrong|late|missing)",
)  # fmt: skip
_DELIGHT = _any(
    r"thank(?:s| you)", r"merci", r"lovely", r"beautiful", r"wonderful", r"perfect", r"best\b", r"kudos", r"impressed", r"five stars",
    r"ten out of ten", r"love(?:d|ly)?\b", r"great\b", r"good\b", r"worth every", r"unbelievabl", r"insanely", r"proud", r"fine(?:r)?\b", r"pretty\b",
    r"bravo", r"compliment", r"delight", r"happy\b", r"polite", r"comfortable", r"excellent", r"fantastic", r"superb", r"awesome", r"brilliant", r"amaz",
    r"saved my", r"well done", r"glad\b", r"wish every", r"recommend", r"cheers", r"praise", r"smile",
)  # fmt: skip


def _trouble_in(text: str) -> float:
    """Weigh signs of trouble against those of a question, of praise and of the customer's own mistake."""
    signs = min(3, len(_TROUBLE.findall(text)))
    asking = bool(_ASKING.search(text)) + ("?" in text)
    delight = min(2, len(_DELIGHT.findall(text)))
    score = 0.5 + signs - 1.5 * asking - delight - 2.0 * bool(_OWN.search(text))
    return max(-1.0, min(1.0, score / 3))


def _is_praise(text: str) -> bool:
    return bool(_DELIGHT.search(text)) and "?" not in text and not re.search(r"\bplease (?!give|keep)", text, re.IGNORECASE)
