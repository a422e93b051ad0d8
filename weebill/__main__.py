"""`python -m weebill` is `weebill`."""

from .cli import main

if __name__ == "__main__":
    main()
