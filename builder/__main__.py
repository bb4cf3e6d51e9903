"""`python -m builder` is the command `drivebuild`."""

import sys

__all__ = ["start"]


def start() -> None:
    """Run the command line; Ctrl-C while its modules are still being read is no traceback either."""
    try:
        from builder.cli.main import run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    start()
