"""As ``store_child.py``, with a log that is merged every few commits, so that many kills fall into a checkpoint."""

import sys
import threading

from store_child import _work

from orchkit.store import checkpoint
from orchkit.store.duck import DuckStore

if __name__ == "__main__":
    file, turn, runs = sys.argv[1:]
    checkpoint._MOST_COMMITS = 5
    checkpoint._MOST_BYTES = 40_000
    opened = DuckStore(file)
    for k in range(int(runs)):
        threading.Thread(target=_work, args=(opened, f"r{turn}-{k}"), daemon=True).start()
    threading.Event().wait()
