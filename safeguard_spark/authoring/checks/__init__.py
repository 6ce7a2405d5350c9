"""The checks of `safeguard check`, one file per part of a policy."""
