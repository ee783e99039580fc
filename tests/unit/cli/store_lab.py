"""Fixtures of the tests of commands on a store; a test module takes them by name."""

import json
import sys

import pytest
from store_workflows import asking, hello, settled
from typer.testing import CliRunner

import orchkit as ok
from orchkit.cli._app import app
from orchkit.hall.registry import register


@pytest.fixture
def orchkit(monkeypatch):
    """Run a command; checks its exit code and that an error is one line. Gives what it printed."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, [str(one) for one in arguments])
        assert result.exit_code == code, (result.output, result.stderr, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert result.stderr.count("\n") <= 1
        if code == 2:
            assert result.stdout == ""
            assert result.stderr.startswith(f"orchkit {arguments[0]}: ")
            return result.stderr
        if "--json" in arguments and result.stdout:
            return json.loads(result.stdout)
        assert all(len(line) <= 100 or "/" in line for line in result.stdout.splitlines()), "wide, and no path in it"
        return result.stdout or result.stderr

    return run


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lab.duckdb"


@pytest.fixture
def lab(path):
    """A store with a run of each kind of end; gives their ids by status."""
    register(hello)
    register(asking)  # they were defined by the import, and each test has a registry of its own
    with ok.open(path) as store:
        ids = {
            "completed": settled(store, hello, "Ada"),
            "failed": settled(store, hello, "bad"),
            "suspended": settled(store, asking, "refund?"),
        }
    return ids
