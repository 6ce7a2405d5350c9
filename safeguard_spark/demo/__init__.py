"""The demo: content, and a model small enough to ship that reads the policy in its prompt."""
