"""Run the command as ``python -m hush``, as torchrun does."""

from hush.cli import main

if __name__ == "__main__":
    main()
