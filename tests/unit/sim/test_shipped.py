"""Files that travel with the package are found in a wheel and in a checkout, and nowhere else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import orchkit as ok
from orchkit.sim.shipped import shipped


def laid(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")
    return root / "orchkit"


def test_a_wheel_has_them_inside_the_package(tmp_path: Path) -> None:
    package = laid(tmp_path, "orchkit/__init__.py", "orchkit/datasets/a.jsonl")
    assert shipped("datasets/a.jsonl", package=package).read_text("utf-8") == "orchkit/datasets/a.jsonl"


def test_a_checkout_has_them_beside_the_package(tmp_path: Path) -> None:
    package = laid(tmp_path, "pyproject.toml", "orchkit/__init__.py", "datasets/a.jsonl")
    assert shipped("datasets/a.jsonl", package=package).read_text("utf-8") == "datasets/a.jsonl"


def test_a_package_of_that_name_beside_an_installed_one_is_not_ours(tmp_path: Path) -> None:
    package = laid(tmp_path, "orchkit/__init__.py", "datasets/a.jsonl")
    with pytest.raises(ok.OrchkitError, match=r"a\.jsonl comes with orchkit but is not in .*; install orchkit again"):
        shipped("datasets/a.jsonl", package=package)


def test_a_zip_will_do(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as made:
        made.writestr("orchkit/datasets/a.jsonl", "zipped")
    with zipfile.ZipFile(tmp_path / "lib.zip") as lib:
        found = shipped("datasets/a.jsonl", package=zipfile.Path(lib, "orchkit/"))
        assert found.read_text("utf-8") == "zipped"


def test_the_real_ones_are_there() -> None:
    assert shipped("datasets/messages.jsonl").is_file()
