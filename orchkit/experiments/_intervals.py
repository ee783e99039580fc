"""Intervals: what is known about one number, at any level of doubt.

An `Interval` answers two questions: between what bounds the number lies, if one is wrong in a share `alpha` of all
cases; and how small that share can be made before the bounds take in zero, which is the p value. So a correction
for many questions needs no second method, and an interval and a verdict cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan, sqrt
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["UNBOUNDED", "Draws", "Fixed", "Interval", "Normal", "Wider", "Wilson", "bonett_price"]


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
