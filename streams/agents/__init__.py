"""Thin Faust agents: they bring records to the use cases and decide what is done."""
