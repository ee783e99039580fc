"""A private JupyterLab and a page on it: our own small harness, no timing, no guessing by style classes.

Everything Jupyter writes lies under one temporary folder; the port is drawn by the system and the token by us. Cells
are run and watched through the page's own application object.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

CHROMIUM = os.environ.get("ORCHKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
}
_QUIET = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {"fetchNews": "false", "checkForUpdates": False}
}
_READY = """() => {
    const kernel = window.jupyterapp?.shell?.currentWidget?.context?.sessionContext?.session?.kernel;
    return kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""


class LabServer:
    """A JupyterLab on a loopback port; `folder` is its notebook folder."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="orchkit-lab-"))
        self.folder = self.root / "notebooks"
        self.folder.mkdir()
        self.token = secrets.token_hex(16)
        env = dict(os.environ)
        for variable, name in _FOLDERS.items():
            (self.root / name).mkdir()
            env[variable] = str(self.root / name)
        for name, settings in _QUIET.items():
            path = self.root / "settings" / name
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(settings))
        self._log = (self.root / "server.log").open("wb")
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
                "--ServerApp.port=0", f"--ServerApp.root_dir={self.folder}", f"--IdentityProvider.token={self.token}",
                "--LabApp.expose_app_in_browser=True",
            ],
            env=env, stdout=self._log, stderr=subprocess.STDOUT, cwd=self.root,
        )  # fmt: skip
        self.url = self._wait_for_url()

    def _wait_for_url(self) -> str:
        # Polls a real process for its first answer; nothing here depends on how long it takes.
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self._process.poll() is None:
            for path in (self.root / "runtime").glob("jpserver-*.json"):
                try:
                    url = str(json.loads(path.read_text())["url"])
                    with urllib.request.urlopen(f"{url}api/status?token={self.token}", timeout=2):
                        return url
                except (OSError, ValueError):
                    continue
        raise RuntimeError((self.root / "server.log").read_text()[-3000:])

    def close(self) -> None:
        """End the server by its own handle and remove its folder."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self.root, ignore_errors=True)


class LabPage:
    """One notebook in one page of a headless Chromium."""

    def __init__(self, server: LabServer, name: str, *, dark: bool = False) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        self.page = self._browser.new_page(
            viewport={"width": 1280, "height": 1400}, color_scheme="dark" if dark else "light"
        )
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{server.url}lab/tree/{name}?token={server.token}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        self.page.wait_for_function(_READY, timeout=90_000)

    def run_all(self, timeout: float = 120.0) -> None:
        """Run all cells and wait until the last has ended."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(
            """() => { const all = window.jupyterapp.shell.currentWidget.content.widgets;
                       const cells = all.filter(c => c.model.type === 'code');
                       return cells.every(c => c.model.executionState === 'idle' && c.model.executionCount); }""",
            timeout=timeout * 1000,
        )

    def outputs(self) -> list[list[dict[str, Any]]]:
        """Give each code cell's outputs as JSON."""
        found: list[list[dict[str, Any]]] = self.page.evaluate(
            """() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')
                     .map(c => c.outputArea.model.toJSON())"""
        )
        return found

    def close(self) -> None:
        """Close the browser."""
        self._browser.close()
        self._playwright.stop()
