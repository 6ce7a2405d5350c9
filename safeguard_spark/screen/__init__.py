"""The screen: a light classifier that may clear a content under a proved recall floor, so that no call is made."""
