"""The screen: a light classifier with a threshold that keeps a recall floor, to spare calls. No run uses it yet."""
