"""A comparison of two versions of a policy: its statistics, and reports as text, JSON and HTML."""
