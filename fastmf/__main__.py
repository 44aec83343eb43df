"""`python -m fastmf`."""

from fastmf.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
