"""Quantiles: of a sample, and what it says about the quantile that it was drawn from."""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING

from orchkit.experiments._intervals import Fixed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["order_statistics", "quantile_of"]


def quantile_of(ordered: Floats, q: float) -> float:
    """Give the q-quantile of sorted values as one of them: the smallest with a share of at least q up to it.

    No interpolation, so that a run that never ended counts as one and does not spoil the others.
    """
    return float(ordered[_rank(q, len(ordered)) - 1])


def _rank(q: float, n: int) -> int:
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
