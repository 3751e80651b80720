"""Pictures for `--plot`: the home of matplotlib."""
