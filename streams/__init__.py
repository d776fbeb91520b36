"""Tickertone's streaming service.

Map: `core` is pure and decides everything about a text, a vote or a window; `pipeline` holds
the use cases on ports; `adapters` know Kafka, Triton and Prometheus; `agents` are the thin
Faust agents; `gateway` is the HTTP side; `embedded` starts a broker and a model server for
people who have none; `worker` wires a process together and `cli` is what people type.
"""
