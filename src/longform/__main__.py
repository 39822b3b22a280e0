"""`python -m longform`."""

from longform.cli import main

if __name__ == "__main__":
    main()
