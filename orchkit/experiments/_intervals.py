"""Intervals: what is known about one number, at any level of doubt.

An `Interval` answers two questions: between what bounds the number lies, if one is wrong in a share `alpha` of all
cases; and how small that share can be made before the bounds take in zero, which is the p value. So a correction
for many questions needs no second method, and an interval and a verdict cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isnan, sqrt
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = [
    "UNBOUNDED", "Draws", "Interval", "Normal", "Wider", "Wilson", "bonett_price", "holm", "order_statistics",
    "quantile_of", "resamples",
]  # fmt: skip

_CHUNK: Final = 2_000_000


class Interval(Protocol):
    """What is known about one number."""

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Give low and high; wrong in at most about a share `alpha` of all cases."""

    @property
    def p(self) -> float:
        """The smallest `alpha` at which the bounds leave zero out."""


class _Unbounded:
    """Nothing is known."""

    p = 1.0

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Give everything."""
        return -inf, inf


UNBOUNDED: Final[Interval] = _Unbounded()


@dataclass(frozen=True, slots=True)
class Normal:
    """An estimate with a standard error: Student's t with `df`, or the normal distribution without.

    Examples
    --------
    >>> low, high = Normal(2.0, 0.5, df=9).bounds(0.05)
    >>> round(low, 3), round(high, 3), round(Normal(2.0, 0.5, df=9).p, 4)
    (0.869, 3.131, 0.0031)
    """

    centre: float
    se: float
    df: int | None = None

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Give ``centre ± t * se``."""
        from scipy.special import ndtri, stdtrit

        if isnan(self.se):
            return -inf, inf
        t = float(ndtri(1 - alpha / 2) if self.df is None else stdtrit(self.df, 1 - alpha / 2))
        return self.centre - t * self.se, self.centre + t * self.se

    @property
    def p(self) -> float:
        """Two-sided."""
        from scipy.special import ndtr, stdtr

        if self.centre == 0 or isnan(self.se):
            return 1.0
        if self.se == 0:
            return 0.0
        z = -abs(self.centre) / self.se
        return float(2 * (ndtr(z) if self.df is None else stdtr(self.df, z)))


@dataclass(frozen=True, slots=True)
class Draws:
    """Sorted estimates from resamples: the percentile interval of the bootstrap [1]_.

    Notes
    -----
    With B draws and ``k = floor((B + 1) * alpha / 2)``: from the k-th smallest to the k-th largest; unbounded when
    k is 0.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """

    values: Floats

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Give the percentile interval."""
        k = int((len(self.values) + 1) * alpha / 2 + 1e-9)
        return (float(self.values[k - 1]), float(self.values[-k])) if k else (-inf, inf)

    @property
    def p(self) -> float:
        """Two-sided, by inverting `bounds`."""
        import numpy as np

        below = int(np.searchsorted(self.values, 0.0, side="right"))
        above = len(self.values) - int(np.searchsorted(self.values, 0.0, side="left"))
        return min(1.0, 2 * (min(below, above) + 1) / (len(self.values) + 1))


@dataclass(frozen=True, slots=True)
class Wilson:
    """A rate from k of n independent trials [1]_.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    Examples
    --------
    >>> low, high = Wilson(10, 10).bounds(0.05)
    >>> round(low, 3), round(high, 3)
    (0.722, 1.0)
    """

    k: int
    n: int

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Give the score interval."""
        from scipy.stats import binomtest

        found = binomtest(self.k, self.n).proportion_ci(confidence_level=1 - alpha, method="wilson")
        return float(found.low), float(found.high)

    @property
    def p(self) -> float:
        """Not asked: a rate is not compared with zero."""
        return 1.0


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bounds that were worked out at one level."""

    low: float
    high: float
    p: float = 1.0

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Give them."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Wider:
    """Several methods for one number: bounds that hold all of theirs, so that it covers as often as the best."""

    parts: Sequence[Interval]

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Give the lowest low and the highest high."""
        both = [part.bounds(alpha) for part in self.parts]
        return min(low for low, _ in both), max(high for _, high in both)

    @property
    def p(self) -> float:
        """The largest."""
        return max(part.p for part in self.parts)


def bonett_price(won: float, lost: float, n: float) -> Normal:
    """Bound the difference of two rates over n pairs, of which `won` favour one and `lost` the other.

    Without a single discordant pair it still has a width: ``±2.8 / (n + 2)`` at 95 %, close to the rule of three.

    Notes
    -----
    With ``a = (won + 1) / (n + 2)`` and ``b = (lost + 1) / (n + 2)``: centre ``a - b``, variance
    ``(a + b - (a - b)**2) / (n + 2)`` [1]_.

    References
    ----------
    .. [1] D. G. Bonett, R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions
       based on paired data", Journal of Educational and Behavioral Statistics 37, 2012.

    Examples
    --------
    >>> low, high = bonett_price(0, 0, 200).bounds(0.05)
    >>> round(low, 4), round(high, 4)
    (-0.0137, 0.0137)
    """
    a, b = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    return Normal(a - b, sqrt((a + b - (a - b) ** 2) / (n + 2)))


def quantile_of(ordered: Floats, q: float) -> float:
    """Give the q-quantile of sorted values as one of them: the smallest with a share of at least q up to it.

    No interpolation, so that a run that never ended counts as one and does not spoil the others.
    """
    return float(ordered[_rank(q, len(ordered)) - 1])


def _rank(q: float, n: int) -> int:
    from math import ceil

    return max(1, ceil(q * n - 1e-9))


def order_statistics(ordered: Floats, q: float, alpha: float) -> Fixed:
    """Bound the q-quantile by two of the sorted values, for any distribution.

    Notes
    -----
    How many of n values lie below the quantile is binomial(n, q). The bounds are the values of rank
    ``F^-1(alpha/2)`` and ``F^-1(1 - alpha/2) + 1`` [1]_; a rank outside of the sample gives no bound on that side.

    References
    ----------
    .. [1] H. A. David, H. N. Nagaraja, "Order Statistics", 3rd edition, 2003, section 7.1.

    Examples
    --------
    >>> import numpy as np
    >>> order_statistics(np.arange(1.0, 101.0), 0.5, 0.05)
    Fixed(low=40.0, high=61.0, p=1.0)
    >>> order_statistics(np.arange(1.0, 101.0), 0.99, 0.05).high
    inf
    """
    from scipy.stats import binom

    n = len(ordered)
    low, high = int(binom.ppf(alpha / 2, n, q)), int(binom.ppf(1 - alpha / 2, n, q)) + 1
    return Fixed(float(ordered[low - 1]) if low else -inf, float(ordered[high - 1]) if high <= n else inf)


@lru_cache(maxsize=2)
def resamples(units: int, count: int, seed: int) -> tuple[npt.NDArray[np.uint8], ...]:
    """Draw `count` bootstrap resamples: how often each unit is in each, in chunks of rows.

    Notes
    -----
    By NumPy's legacy generator, whose stream is frozen: the same seed gives the same resamples with every version.
    A unit is in a resample about once, by Poisson's law, so a byte holds the number.
    """
    import numpy as np

    luck = np.random.RandomState(seed)
    step = max(1, _CHUNK // units)
    chunks = []
    for start in range(0, count, step):
        rows = min(step, count - start)
        picks = luck.randint(0, units, size=(rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(picks.ravel(), minlength=rows * units).reshape(rows, units)
        chunks.append(counts.astype(np.uint8))
    return tuple(chunks)


def holm(ps: Sequence[float], alpha: float) -> list[float]:
    """Share out alpha over a family of questions, by Holm's step-down rule [1]_.

    Parameters
    ----------
    ps : sequence of float, 0..1
        p values, one a question.
    alpha : float, 0..1
        How often any verdict of the whole family may be wrong.

    Returns
    -------
    list of float
        The level of each question: it is decided if its p is at most that.

    Notes
    -----
    In order of p, the k-th of m questions (from 1) gets ``alpha / (m - k + 1)`` as long as all before it are
    decided; from the first that is not, all get what that one got.

    References
    ----------
    .. [1] S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.

    Examples
    --------
    >>> [round(level, 4) for level in holm([0.01, 0.04, 0.03, 0.005], 0.05)]
    [0.0167, 0.025, 0.025, 0.0125]
    """
    levels = [alpha] * len(ps)
    left, stopped = len(ps), False
    for position in sorted(range(len(ps)), key=lambda i: ps[i]):
        levels[position] = alpha / left
        stopped = stopped or ps[position] > alpha / left
        left -= 0 if stopped else 1
    return levels
