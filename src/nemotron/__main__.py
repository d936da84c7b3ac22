"""`python -m nemotron`, and the `nemotron` command."""

import os
import sys


def main() -> None:
    """Run the command line, and end in a line on a signal from the first import on."""
    try:
        from nemotron.exit_codes import end_on_sigterm

        end_on_sigterm()
        from nemotron.cli import app

        app.main()
    except KeyboardInterrupt:  # commands say more
        os.write(2, b"\nInterrupted.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
