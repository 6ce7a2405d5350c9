"""What a new version of a policy changes, whom it touches, and what labelling that costs. Pure."""
