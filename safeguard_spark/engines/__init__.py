"""Engines: what answers prompts. `labelling.engine` is the interface; `factory` opens the one a configuration names."""
