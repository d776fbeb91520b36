"""The use cases, on ports: what is done with a batch, whatever brings it."""
