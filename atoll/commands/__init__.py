"""The commands of `atoll`, one file a family; `atoll/cli.py` puts them together."""
