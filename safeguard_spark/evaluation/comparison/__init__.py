"""A comparison of two versions of a policy: its figures, and how they are shown."""
