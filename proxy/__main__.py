"""`python -m proxy` is `talkmeter`."""

from proxy.cli import main

if __name__ == "__main__":
    main()
