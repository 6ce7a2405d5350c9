"""What a policy's author uses: cases, checks, diffs, new versions, imports, publishing, verification. Pure."""
