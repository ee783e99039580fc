"""Files that travel with the package: data sets and notebooks."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from orchkit.errors import OrchkitError

__all__ = ["shipped"]


def shipped(name: str, *, package: Traversable | None = None) -> Traversable:
    """Find a file that travels with the package.

    Parameters
    ----------
    name : str
        Its path, as ``"datasets/messages.jsonl"``.
    package : Traversable, optional
        Where the package lies; for tests.

    Returns
    -------
    Traversable
        Use ``read_text``, or ``importlib.resources.as_file`` where a real path is needed.

    Raises
    ------
    OrchkitError
        If the file is not there; its ``name`` is an attribute.

    Notes
    -----
    A wheel holds these files inside the package; a checkout has them beside it, where people look for them.

    Examples
    --------
    >>> shipped("datasets/messages.jsonl").is_file()
    True
    """
    places = _places(resources.files("orchkit") if package is None else package)
    for place in places:
        found = place.joinpath(*name.split("/"))
        if found.is_file():
            return found
    raise OrchkitError(
        f"{name} comes with orchkit but is not in {' or '.join(map(str, places))}; "
        "install orchkit again, or run it from a whole checkout",
        name=name,
    )


def _places(package: Traversable) -> list[Traversable]:
    # Beside the package only in a checkout: in site-packages, "datasets" beside it is somebody else's package.
    if isinstance(package, Path) and (package.parent / "pyproject.toml").is_file():
        return [package, package.parent]
    return [package]
