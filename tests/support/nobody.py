"""Processes without rights: root is above permissions, so a child that is to meet them stops being root."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

NOBODY = 65534
STOP_BEING_ROOT = f"""
import os
if os.getuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""
"""To be run by a child after it has imported what only root may read."""


@pytest.fixture
def public():
    """A folder that anybody can reach."""
    folder = Path(tempfile.mkdtemp(prefix="orchkit-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def own(*paths):
    """Give files to the one that such a child becomes."""
    if os.getuid() == 0:
        for path in paths:
            os.chown(path, NOBODY, NOBODY)
