"""The commands; what they do is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchkit.cli import answering, caring, doctoring, looking, resuming

__all__ = ["app"]

app = typer.Typer(
    name="orchkit",
    help="A lab for AI orchestration: run, break, resume and compare workflows of model calls and people.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from orchkit import __version__

        typer.echo(f"orchkit {__version__}")
        raise typer.Exit


@app.callback()
def orchkit(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Run, break, resume and compare workflows of model calls and people."""


@app.command()
def demo(
    input: Annotated[
        Path | None,
        typer.Option(help="Your own messages: JSON lines or CSV with the columns id and text.", metavar="FILE"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where store, outbox and report go.  [default: ./orchkit-demo]", metavar="DIR"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: the demo answers itself.")] = False,
    seed: Annotated[int, typer.Option(help="Decides all luck of the simulated runs.")] = 0,
) -> None:
    """Tell the whole story in under a minute: run, kill, resume, approve, compare, report.

    Nothing leaves this machine, unless ORCHKIT_MODEL_URL names a model server to read the messages.
    """
    from orchkit.cli.demo.story import run_demo

    raise typer.Exit(run_demo(input, out, ask=not yes, seed=seed))


for _command in (
    looking.runs, looking.show, resuming.resume, answering.inbox, answering.answer, caring.export, caring.compact,
    caring.prune, caring.snapshot, doctoring.doctor,
):  # fmt: skip
    app.command()(_command)
