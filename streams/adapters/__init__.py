"""The only place that knows Triton, Kafka, Prometheus and the log library."""
