"""`python -m weightcut`: the command line, where its script is not on the path."""

from weightcut.cli.main import main

if __name__ == "__main__":
    main()
