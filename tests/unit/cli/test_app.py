"""The command ``orchkit``: what it prints, what it refuses, and that it loads nothing before it must."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import orchkit as ok
from orchkit.cli._app import app
from orchkit.cli.demo import story
from orchkit.cli.demo.pipeline import Desk, Message, Outbox, inbox

GOOD = '{"id": "a", "text": "hello"}\n'


def demo(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["demo", "--yes", *map(str, arguments)])


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == "", "nothing is told before the input is known to be good"
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("orchkit demo: ")
    return result.stderr


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let child processes find a checkout that is not installed, and nobody a model."""
    monkeypatch.setenv("PYTHONPATH", str(Path(ok.__file__).parent.parent))
    monkeypatch.delenv("ORCHKIT_MODEL_URL", raising=False)


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text(GOOD, "utf-8")
    return path


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"orchkit {ok.__version__}\n"


def test_help_names_the_demo_and_loads_neither_database_nor_frames() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom orchkit.cli._app import app\n"
        "assert 'demo' in CliRunner().invoke(app, ['--help']).stdout\n"
        "print([name for name in ('duckdb', 'pandas', 'pydantic', 'scipy', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "orchkit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"orchkit {ok.__version__}\n"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    said = refused(demo("--input", tmp_path / "no.jsonl", "--out", tmp_path / "out"))
    assert "no.jsonl does not exist; give a file of JSON lines or CSV" in said
    assert not (tmp_path / "out").exists(), "a wrong input leaves no folder behind"


def test_names_of_files_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    assert "\x1b" not in refused(demo("--input", tmp_path / "[bold]\x1b[31m\n.jsonl"))


@pytest.mark.parametrize("content", [b"a text file, and no store\n" * 500, b"\x00" * 5000])
def test_something_else_in_the_place_of_the_store_is_left_alone(content: bytes, messages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "demo.duckdb").write_bytes(content)
    said = refused(demo("--input", messages, "--out", out))
    assert "demo.duckdb" in said
    assert (out / "demo.duckdb").read_bytes() == content


def test_a_store_of_other_runs_is_left_alone(messages: Path, tmp_path: Path) -> None:
    other = ok.Workflow("other", input=str)

    @other.step
    def greet(input: str) -> str:
        return input

    with ok.open(tmp_path / "demo.duckdb") as store:
        other.start("x", store=store).result(10)
    assert "a store of other runs than the demo's" in refused(demo("--input", messages, "--out", tmp_path))
    with ok.open(tmp_path / "demo.duckdb") as store:
        assert store.runs().workflow.tolist() == ["other"]


def test_an_unfinished_demo_of_other_messages_is_left_alone(messages: Path, tmp_path: Path) -> None:
    with ok.open(tmp_path / "demo.duckdb") as store:
        desk = Desk(Outbox(tmp_path / "outbox.jsonl"))
        inbox.start(Message(id="a", text="something else"), store=store, deps=desk).result(10)
    assert "an unfinished demo of other messages" in refused(demo("--input", messages, "--out", tmp_path))


def test_a_store_that_another_process_holds_by_duckdb_itself(messages: Path, tmp_path: Path) -> None:
    code = "import sys, duckdb; s = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "demo.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert f"held by process {holder.pid}" in refused(demo("--input", messages, "--out", tmp_path))
        holder.communicate("")


@pytest.mark.parametrize("name", ["report.html", "outbox.jsonl"])
def test_what_exists_is_not_overwritten(name: str, messages: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine", "utf-8")
    assert "choose another folder by --out" in refused(demo("--input", messages, "--out", tmp_path))
    assert (tmp_path / name).read_text("utf-8") == "mine"


def test_a_folder_that_cannot_be_made(messages: Path, tmp_path: Path) -> None:
    assert "cannot be made" in refused(demo("--input", messages, "--out", messages / "in" / "a file"))


def test_vader_is_missing(messages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vaderSentiment", None)
    said = refused(demo("--input", messages, "--out", tmp_path / "out"))
    assert "vaderSentiment is not installed; install it by: pip install 'orchkit[lab]'" in said


def test_a_wrong_model_address(messages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHKIT_MODEL_URL", "ftp://example.org")
    assert "ORCHKIT_MODEL_URL: " in refused(demo("--input", messages, "--out", tmp_path / "out"))


def test_ctrl_c_is_130(messages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(story, "_tell", interrupted)
    assert demo("--input", messages).exit_code == 130
