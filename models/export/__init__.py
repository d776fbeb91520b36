"""Trained weights to what Triton serves: the graph, its smaller forms, and the gates before it."""
