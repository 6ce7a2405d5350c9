"""One model call: content, prompt, contract, verdict, and `engine`, the interface that engines/ implements. Pure."""
