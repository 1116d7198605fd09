"""Loading code: what is loaded stays, so the garbage collector need not look at it, then or later.

`python -m proxy.loading MODULE` is how children start: it loads a module of ours so, and calls its `main()`.
"""

import contextlib
import gc
import sys
from collections.abc import Iterator
from importlib import import_module


@contextlib.contextmanager
def for_good() -> Iterator[None]:
    """Load in the body. Looking at it again and again while it grows would take a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    """Load the module that the command line names, and run it."""
    with for_good():
        module = import_module(sys.argv[1])
    module.main()


if __name__ == "__main__":
    main()
