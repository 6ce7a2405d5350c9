"""For policy authors: cases, checks, diffs, new versions, imports, publishing, verification. Pure."""
