"""The story as it is told in a terminal."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import orchkit as ok
from orchkit.cli._terminal import Refusal, plain, replace_unprintable
from orchkit.cli.demo.child import Child
from orchkit.cli.demo.compare import BASELINE, experiment
from orchkit.cli.demo.documents import Document, read_documents
from orchkit.cli.demo.live import AT_ONCE, Report, Tally, desk_for, recorded
from orchkit.cli.demo.pipeline import ASK_ABOVE, Decision, Message, inbox
from orchkit.cli.demo.place import Place, choose_place
from orchkit.cli.demo.prompt import ask_yes_no
from orchkit.cli.demo.tables import comparison_table, long_time, tally_table
from orchkit.cli.demo.teller import Teller
from orchkit.clock.ids import wall_micro
from orchkit.errors import OrchkitError

if TYPE_CHECKING:
    from orchkit.experiments import Results
    from orchkit.hall.run import Run

__all__ = ["run_demo"]

_MOST = 2000
_MOST_WITH_MODEL = 60  # a model may take seconds a message; the demo should not take minutes
_KILL_AT = 0.4
_PATIENCE = 20.0


def run_demo(input: Path | None, out: Path | None, *, ask: bool, seed: int) -> int:
    """Tell the whole story.

    Parameters
    ----------
    input : Path, optional
        The user's own messages; by default those that come with the package.
    out : Path, optional
        Where store, outbox and report go.
    ask : bool
        Whether to ask whoever sits at the terminal, if anybody does.
    seed : int
        Of the simulated runs.

    Returns
    -------
    int
        0; 2 for what the user can mend, said in one line on stderr; 130 after Ctrl-C.
    """
    replace_unprintable()
    try:
        with _chosen(input) as path, _pressing() as pressed:
            _tell(path, out, ask=ask and sys.stdin.isatty(), seed=seed, pressed=pressed)
    except KeyboardInterrupt:
        print(
            "\norchkit demo: stopped; the store is kept, and the same command goes on with it",
            file=sys.stderr,
        )
        return 130
    except (Refusal, OrchkitError, OSError) as error:
        print(f"orchkit demo: {plain(str(error), 1000)}", file=sys.stderr)
        return 2
    return 0


@contextlib.contextmanager
def _chosen(input: Path | None) -> Iterator[Path]:
    if input is not None:
        yield input.absolute()
        return
    from importlib.resources import as_file

    from orchkit.sim.shipped import shipped

    with as_file(shipped("datasets/messages.jsonl")) as path:
        yield path


@contextlib.contextmanager
def _pressing() -> Iterator[threading.Event]:
    """Note that Ctrl-C was pressed: an error that comes up in a finalizer is lost, and with it the user's wish."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def press(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(path: Path, out: Path | None, *, ask: bool, seed: int, pressed: threading.Event) -> None:
    if importlib.util.find_spec("vaderSentiment") is None:
        raise Refusal("vaderSentiment is not installed; install it by: pip install 'orchkit[lab]'")
    documents = read_documents(path)
    model = _model()
    found = len(documents)
    documents = documents[: _MOST_WITH_MODEL if model else _MOST]
    place = choose_place(out, documents)
    story = _Story(path, place, documents, ask=ask, seed=seed)
    story.open(found, model)
    chapters = [story.show_workflow, *([] if place.begun else [story.run_and_kill]), story.go_on, story.ask_people]
    for chapter in [*chapters, story.compare]:
        chapter()
        if pressed.is_set():
            raise KeyboardInterrupt


def _model() -> str:
    if not os.environ.get("ORCHKIT_MODEL_URL", "").strip():
        return ""
    from orchkit.interop import openai_chat_from_env

    try:
        return repr(openai_chat_from_env())
    except ValueError as error:
        raise Refusal(f"ORCHKIT_MODEL_URL: {error}") from error


class _Story(Teller):
    """The chapters, in order."""

    def __init__(self, path: Path, place: Place, documents: Sequence[Document], *, ask: bool, seed: int) -> None:
        super().__init__()
        self.path = path
        self.place = place
        self.documents = documents
        self.ask = ask
        self.seed = seed

    def open(self, found: int, model: str) -> None:
        """Say what will be worked on, and by whom."""
        self.console.print(
            Text.assemble(("orchkit demo", "bold cyan"), "  a durable pipeline: run, kill, resume, approve, compare")
        )
        self.console.print()
        taken = len(self.documents)
        some = f"The first {taken:,} of {found:,}" if taken < found else f"{taken:,}"
        self.say(f"{some} messages to a shop's customer service, from {plain(self.path.name, 60)}.")
        if model:
            self.say(f"ORCHKIT_MODEL_URL is set: {plain(model, 120)} reads them.")
        else:
            self.say("Plain rules read them; set ORCHKIT_MODEL_URL to have a model read them.")

    def show_workflow(self) -> None:
        """Draw the graph."""
        self.head("The workflow: one run for each message")
        drawing = inbox._repr_mimebundle_()["text/plain"]
        for line in drawing.splitlines()[1:-1]:
            self.console.print(Text(f" {line}"), soft_wrap=True)
        self.console.print()
        self.say(
            f"Complaints get a reply; above {ASK_ABOVE:.0f} EUR a person must agree first; the rest is filed. "
            "Sentiment is vaderSentiment. Sending appends to a file, and cannot be undone."
        )

    def run_and_kill(self) -> None:
        """Run until two messages in five are done, then kill the process."""
        self.head("Run it, and kill the process in the middle")
        began, settled, target = wall_micro(), 0, max(1, int(len(self.documents) * _KILL_AT))
        with (
            Child(self.place, self.path, len(self.documents), resume=False) as child,
            self.waiting(f"process {child.pid} is at work"),
        ):
            for line in child.lines():
                settled += line["at"] == "settled"
                if settled >= target:
                    child.kill()
                    break
            else:
                child.finish()
        flying = min(AT_ONCE, len(self.documents) - settled)
        self.say(
            ("kill -9", "bold red"),
            f" {child.pid}, {self.seconds_since(began)} after its start, when {settled} of {len(self.documents)} "
            f"messages were done{f' and up to {flying} in flight' if flying else ''}. No warning, no tidying up.",
        )

    def go_on(self) -> None:
        """Resume in a new process, and count from the log what was done twice."""
        self.head(f"A new process goes on from {self.place.store.name}")
        if self.place.begun:
            self.say(f"An earlier demo stopped here, with {self.place.begun} of {len(self.documents)} messages begun.")
        began = wall_micro()
        with Child(self.place, self.path, len(self.documents), resume=True) as child:
            with self.waiting(f"process {child.pid} goes on"):
                last = [line for line in child.lines() if line["at"] == "report"]
            child.finish()
        report = Report.from_line(last[-1])
        self.show(tally_table(report))
        kept, again = sum(t.kept for t in report.tallies), sum(t.again for t in report.tallies)
        self.say(
            f"{kept} steps had a result in the log: ",
            (f"{again} of them ran again.", "bold green" if not again else "bold red"),
            f" ({self.seconds_since(began)}, starting Python included)",
        )
        self._say_effects(report)

    def _say_effects(self, report: Report) -> None:
        self.say(
            f"Effects: {report.sent} replies sent, ",
            (f"{report.twice} recorded twice.", "bold green" if not report.twice else "bold red"),
            f" Runs: {', '.join(f'{count} {status}' for status, count in report.statuses.items())}.",
        )
        extra = report.lines - report.keys
        if extra:
            cut = _tally(report, "send").cut
            self.say(
                f"Of the {cut} cut off while sending, {extra} had got out before the log could know. Each was sent "
                "again under the same idempotency key, by which a receiver drops the repetition: "
                f"{report.lines} lines in {self.place.outbox.name}, {report.keys} keys."
            )
        failed = sum(
            count for status, count in report.statuses.items() if status not in ("completed", "degraded", "waiting")
        )
        if failed:
            self.say((f"{failed} runs failed; store.runs() lists them.", "bold red"))

    def ask_people(self) -> None:
        """Answer what waits for a person, the first question by whoever sits here."""
        from orchkit.cli.demo.pipeline import inbox

        self.head("Some wait for a person, and nothing else waits for them")
        labels = {document.id: document.labels for document in self.documents}
        with ok.open(self.place.store) as store:
            messages = {run: message for run, _, message in recorded(store).values()}
            waiting = [str(run) for run in store.pending().run]
            desk = desk_for(self.place.outbox)
            if not waiting:
                self.say("None does: no complaint is about that much money.")
            for number, run_id in enumerate(waiting):
                run = store.resume(run_id, inbox, deps=desk).wait_settled()
                message = messages[run_id]
                self._answer(run, message, labels[message.id], number, len(waiting))
            self._say_answers(store)

    def _answer(self, run: Run, message: Message, labels: dict[str, Any], number: int, count: int) -> None:
        # The scripted person sees what the rules did not: whether it is a complaint at all.
        yes, by = str(labels.get("complaint", True)).lower() != "false", "demo"
        if number == 0:
            self.say(f"{count} wait for an answer. The first:" if count > 1 else "One waits for an answer:")
            self._show_question(message, str(run.question("approve")))
            if self.ask:
                yes, by = ask_yes_no(self.console, "   Send this reply?", default=yes, patience=_PATIENCE), "you"
        note = "" if yes else "no complaint" if by == "demo" else "not like this"
        run.answer("approve", Decision(approve=yes, note=note), by=by)
        run.wait_settled()

    def _show_question(self, message: Message, draft: str) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_row(Text(f"message {plain(message.id, 20)}", style="dim"), Text(plain(message.text, 400)))
        table.add_row(Text("draft", style="dim"), Text(plain(draft, 400)))
        self.console.print(Padding(table, (0, 0, 0, 5)))

    def _say_answers(self, store: ok.Store) -> None:
        rows = store.sql("select \"by\", answer from approval where status = 'answered' order by settled")
        answers = Counter((by, json.loads(answer)["approve"]) for by, answer in rows.values)
        said = ", ".join(f"{count} {'yes' if yes else 'no'} by {by}" for (by, yes), count in answers.items())
        if said:
            self.say(f"Answered: {said}. Who, when and what was shown is in the log.")
        counts = store.sql("select status, count(*) as runs from run where events > 0 group by all order by 2 desc")
        said = ", ".join(f"{row['runs']} {row['status']}" for row in counts.to_dict("records"))
        self.say(f"All runs: {said}.")
        self._say_accuracy(store)

    def _say_accuracy(self, store: ok.Store) -> None:
        """Measure the sorting, where the file says which messages are complaints."""
        truth = {d.id: str(d.labels["complaint"]).lower() for d in self.documents if "complaint" in d.labels}
        if not truth:
            return
        picked = dict(store.sql("select run, body from event where kind = 'picked' and node = 'triage'").values)
        right = total = 0
        for id_, (run, _, _) in recorded(store).items():
            if id_ in truth and run in picked:
                right += ("draft" in picked[run]) == (truth[id_] == "true")
                total += 1
        self.say(
            f"By the labels in the file, {right} of {total} were sorted right. Durable is not the same as correct."
        )

    def compare(self) -> None:
        """Compare three ways to protect the slow step, and write the report."""
        self.head("Which protection holds up, if extract were a model call of thirty seconds?")
        began = wall_micro()
        exp = experiment(self.documents, self.seed)
        with self.waiting("simulating"):
            results = exp.run()
            if results.partial:
                raise KeyboardInterrupt
            frame = results.compare("success", "degraded", "p95", "cost", baseline=BASELINE)
        self.say(
            f"{int(frame.n.iloc[0]):,} simulated runs each, in a storm: a quarter of the calls refused, some slow, "
            "some never back: "
            f"{long_time(results.frame.latency.sum())} on the virtual clock, {self.seconds_since(began)} on yours. "
            "Latencies and storm are assumptions; all other steps are the real ones."
        )
        self.show(comparison_table(frame))
        self.say("p95: within that time 95 % of the runs had ended. The intervals hold for all rows at once.")
        self._write_report(results)

    def _write_report(self, results: Results) -> None:
        # Under another name first: a folder with a report is a folder with a finished demo.
        draft = results.report(self.place.report.with_suffix(".part.html"), baseline=BASELINE)
        os.replace(draft, self.place.report)
        self.console.print()
        self.point("Report", plain(str(self.place.report), 4096))
        self.point("Store ", plain(str(self.place.store), 4096))
        self.point("Look  ", f"import orchkit as ok; ok.open({_short(self.place.store)!r}).runs()")
        self.console.print()
        self.say(f"The whole story took {self.seconds_since(self.began)}.")


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _tally(report: Report, node: str) -> Tally:
    return next(tally for tally in report.tallies if tally.node == node)
