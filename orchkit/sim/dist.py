"""Distributions of durations, each by its quantile function: one uniform a draw keeps paired arms paired.

Every distribution is in seconds, and no draw is above 1e12 of them. Rejection methods would need a varying number of
draws and break the pairing.
Quantile functions of the exponential, Weibull, gamma and lognormal: Johnson, Kotz and Balakrishnan, "Continuous
Univariate Distributions", vol. 1, 2nd ed., 1994, chapters 19, 21, 17 and 14; each is tested against scipy.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from math import exp, floor, isfinite, log, log1p
from statistics import NormalDist

from orchkit.clock.dice import unit
from orchkit.errors import DefinitionError
from orchkit.model.text import is_number, shown

__all__ = ["Dist", "constant", "empirical", "exponential", "gamma", "lognormal", "mixture", "of", "weibull"]

_NORMAL = NormalDist()
_Z99 = _NORMAL.inv_cdf(0.99)
_FIRST, _LAST = unit(0), unit(2**64 - 1)  # the smallest and the largest draw
_LONGEST = 1e12  # seconds, 31,000 years: times are recorded as 64-bit microseconds, and durations add up
_FEW = 6


@dataclass(frozen=True, slots=True, repr=False)
class Dist:
    """A distribution of durations; made by the functions of ``ok.dist``.

    Attributes
    ----------
    text : str
        How it was made, as code.
    quantile : callable
        ``quantile(u)`` for u in (0, 1), in seconds.

    Examples
    --------
    >>> import orchkit as ok
    >>> answers = ok.dist.lognormal(p50=3, p99=15)
    >>> answers.quantile(0.5), round(answers.quantile(0.99), 9)
    (3.0, 15.0)
    """

    text: str
    quantile: Callable[[float], float]

    def __repr__(self) -> str:
        return f"ok.dist.{self.text}"


def _check(text: str, ok: bool, rule: str) -> None:
    if not ok:
        raise DefinitionError(f"ok.dist.{text}: {rule}")


def _made(text: str, quantile: Callable[[float], float]) -> Dist:
    # A wide tail may reach beyond what a log can hold with a chance of 1e-10, and must not break that one trial.
    def capped(u: float) -> float:
        try:
            return min(quantile(u), _LONGEST)
        except OverflowError:
            return _LONGEST

    if capped(_LAST) < _LONGEST:
        return Dist(text, quantile)
    _check(text, capped(0.999) < _LONGEST, "one draw in a thousand is above 1e12 seconds; make it narrower")
    return Dist(text, capped)


def constant(seconds: float) -> Dist:
    """Give the same duration each time.

    Parameters
    ----------
    seconds : float, seconds, >= 0, < 1e12

    Returns
    -------
    Dist

    Raises
    ------
    DefinitionError
        If it is out of range.

    Examples
    --------
    >>> constant(2.5).quantile(0.9)
    2.5
    """
    text = f"constant({shown(seconds)})"
    _check(text, is_number(seconds) and seconds >= 0, "seconds must be 0 or more and finite")
    return _made(text, lambda u: seconds)


def exponential(mean: float) -> Dist:
    """Memoryless.

    Parameters
    ----------
    mean : float, seconds, > 0

    Returns
    -------
    Dist

    Raises
    ------
    DefinitionError
        If it is out of range.

    Notes
    -----
    Quantile ``-mean * ln(1 - u)``. Measured answer times of models are far from it (D 0.19 and more): use a
    lognormal for those, and this one for gaps between independent events.

    Examples
    --------
    >>> round(exponential(mean=10).quantile(0.5), 3)
    6.931
    """
    text = f"exponential(mean={shown(mean)})"
    _check(text, is_number(mean) and mean > 0, "mean must be above 0 and finite")
    return _made(text, lambda u: -mean * log1p(-u))


def lognormal(p50: float, p99: float | None = None, *, sigma: float | None = None) -> Dist:
    """Give a body with a heavy right tail, the usual shape of answer times.

    Parameters
    ----------
    p50 : float, seconds, > 0
        The median.
    p99 : float, seconds, >= p50
        The 99th percentile; give it or `sigma`.
    sigma : float, >= 0
        Standard deviation of the logarithm.

    Returns
    -------
    Dist

    Raises
    ------
    DefinitionError
        If a number is out of range, or not exactly one of `p99` and `sigma` is given.

    Notes
    -----
    ``ln X`` is normal with mean ``ln p50`` and ``sigma = ln(p99 / p50) / 2.3263``; the mean of X is
    ``p50 * exp(sigma**2 / 2)``.

    Examples
    --------
    >>> round(lognormal(p50=3, p99=15).quantile(0.9), 2)
    7.28
    """
    spread = f"sigma={shown(sigma)}" if p99 is None else f"p99={shown(p99)}"
    text = f"lognormal(p50={shown(p50)}, {spread})"
    _check(text, (p99 is None) != (sigma is None), "give either p99 or sigma")
    _check(text, is_number(p50) and p50 > 0, "p50 must be above 0 and finite")
    if p99 is not None:
        _check(text, is_number(p99) and p50 <= p99, "p99 must be at least p50, and finite")
        width = log(p99 / p50) / _Z99
    else:
        _check(text, is_number(sigma) and sigma is not None and sigma >= 0, "sigma must be 0 or more and finite")
        assert sigma is not None
        width = sigma
    return _made(text, lambda u: p50 * exp(width * _NORMAL.inv_cdf(u)))


def gamma(shape: float, scale: float) -> Dist:
    """Sum-like waiting times.

    Parameters
    ----------
    shape : float, > 0
        At 1 it is the exponential.
    scale : float, seconds, > 0
        The mean is ``shape * scale``, at most 1e10.

    Returns
    -------
    Dist

    Raises
    ------
    DefinitionError
        If a number is out of range.

    Notes
    -----
    The quantile is ``scale * P^-1(shape, u)``, P the regularised lower incomplete gamma function: scipy's
    ``gammaincinv``, imported at the first draw.

    Examples
    --------
    >>> round(gamma(shape=2, scale=3).quantile(0.5), 3)
    5.035
    """
    text = f"gamma(shape={shown(shape)}, scale={shown(scale)})"
    _check_shape_and_scale(text, shape, scale)
    # Checked by its mean: the largest draw lies within 100 of it, and asking for that would import scipy here.
    _check(text, scale * max(shape, 1.0) <= _LONGEST / 100, "its mean is above 1e10 seconds; make it shorter")

    def quantile(u: float) -> float:
        from scipy.special import gammaincinv

        return scale * float(gammaincinv(shape, u))

    return Dist(text, quantile)


def weibull(shape: float, scale: float) -> Dist:
    """Stretched exponential: a shape below 1 gives clusters and long gaps.

    Parameters
    ----------
    shape : float, > 0
        At 1 it is the exponential.
    scale : float, seconds, > 0
        Reached by 63 % of the draws.

    Returns
    -------
    Dist

    Raises
    ------
    DefinitionError
        If a number is out of range.

    Notes
    -----
    Quantile ``scale * (-ln(1 - u))**(1 / shape)``.

    Examples
    --------
    >>> round(weibull(shape=0.6, scale=60).quantile(0.9), 1)
    240.9
    """
    text = f"weibull(shape={shown(shape)}, scale={shown(scale)})"
    _check_shape_and_scale(text, shape, scale)
    return _made(text, lambda u: scale * (-log1p(-u)) ** (1.0 / shape))


def _check_shape_and_scale(text: str, shape: float, scale: float) -> None:
    fine = is_number(shape) and is_number(scale) and shape > 0 and scale > 0
    _check(text, fine, "shape and scale must be above 0 and finite")


def empirical(xs: Iterable[float]) -> Dist:
    """Draw from recorded durations, each as likely as the next.

    Parameters
    ----------
    xs : iterable of float, seconds, >= 0
        At least one; a list, an array or a column.

    Returns
    -------
    Dist

    Raises
    ------
    DefinitionError
        If it is empty, or a value is out of range.

    Notes
    -----
    Quantile ``x[floor(u * n)]`` of the sorted values, the inverse of their step function: nothing above the longest
    recorded one ever comes, so a short record knows no tail.

    Examples
    --------
    >>> empirical([3.0, 1.0, 2.0]).quantile(0.5)
    2.0
    """
    try:
        values = sorted(float(x) for x in xs)
    except (TypeError, ValueError):
        raise DefinitionError(f"ok.dist.empirical({xs!r}): give a list of seconds") from None
    text = _empirical_text(values)
    fine = bool(values) and all(map(isfinite, values)) and values[0] >= 0
    _check(text, fine, "give at least one value, all 0 or more and finite")
    return _made(text, lambda u: values[floor(u * len(values))])


def _empirical_text(values: list[float]) -> str:
    if len(values) <= _FEW:
        return f"empirical([{', '.join(map(shown, values))}])"
    digest = blake2b(" ".join(map(repr, values)).encode(), digest_size=4).hexdigest()
    return f"empirical(<{len(values)} values, {digest}>)"


def mixture(*parts: tuple[float, float | Dist]) -> Dist:
    """Draw from one of several distributions.

    Parameters
    ----------
    *parts : tuple of (weight, Dist or seconds)
        Weights above 0; they need not sum to 1.

    Returns
    -------
    Dist

    Raises
    ------
    DefinitionError
        If there is no part, or one is not such a pair.

    Notes
    -----
    One uniform serves: it picks the part, and where it fell within the part's share is the part's own uniform. So
    the quantile function rises within each part and not from one to the next; the distribution is the mixture's.

    Examples
    --------
    The shape of the time to first token that `reference/failures.md` §1.2 recommends, for a median of 0.5 s:

    >>> first_token = mixture((0.961, lognormal(p50=0.505, sigma=0.19)), (0.039, lognormal(p50=0.965, sigma=0.88)))
    >>> first_token.quantile(0.25) < 0.5 < first_token.quantile(0.99)
    True
    """
    pairs = [_part(part) for part in parts]
    total = sum(weight for weight, _ in pairs)
    text = f"mixture({', '.join(f'({shown(weight)}, {dist!r})' for weight, dist in pairs)})"
    _check(text, bool(pairs) and isfinite(total), "give (weight, dist) pairs, weights above 0")
    # The last edge is 1 whatever rounding says: a draw above it would fall into no part.
    edges = [0.0, *accumulate(weight / total for weight, _ in pairs[:-1]), 1.0]

    def quantile(u: float) -> float:
        i = bisect_right(edges, u) - 1
        within = (u - edges[i]) / (edges[i + 1] - edges[i])
        return pairs[i][1].quantile(min(max(within, _FIRST), _LAST))

    return _made(text, quantile)


def _part(part: object) -> tuple[float, Dist]:
    if isinstance(part, tuple) and len(part) == 2 and is_number(part[0]) and part[0] > 0:
        return part[0], of(part[1])
    raise DefinitionError(f"ok.dist.mixture: {part!r} is no (weight, dist) pair with a weight above 0")


def of(value: float | Dist) -> Dist:
    """Take a number of seconds as a constant, a distribution as it is.

    Parameters
    ----------
    value : float or Dist, seconds

    Returns
    -------
    Dist

    Raises
    ------
    DefinitionError
        For anything else.

    Examples
    --------
    >>> of(3)
    ok.dist.constant(3)
    """
    if isinstance(value, Dist):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return constant(value)
    raise DefinitionError(f"{value!r} is no duration: give seconds, or a distribution such as ok.dist.lognormal(...)")
