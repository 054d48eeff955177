"""Run the command as `python -m semantic_ids.cli`."""

from semantic_ids.cli import main

if __name__ == "__main__":
    main()
