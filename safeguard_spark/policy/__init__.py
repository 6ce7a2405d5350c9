"""The policy document, references to one, and the lock that pins what was published. Pure."""
