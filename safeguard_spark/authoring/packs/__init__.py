"""Policy packs as people publish them: which files they have, the rules and the answer in the text, the golden sets."""
