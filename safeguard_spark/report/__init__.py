"""The report of a period: what the labels say, what people's decisions say of the labels, and what it cost."""
