"""``python -m orchkit`` is the command ``orchkit``."""

from orchkit.cli import main

if __name__ == "__main__":
    main()
