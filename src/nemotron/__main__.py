"""`python -m nemotron`: the same as the `nemotron` command."""

from nemotron.cli.app import main

if __name__ == "__main__":
    main()
