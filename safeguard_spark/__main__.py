"""`python -m safeguard_spark` is the command line `safeguard`."""

from safeguard_spark.cli.app import main

if __name__ == "__main__":
    main()
