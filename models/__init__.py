"""Offline tools that make what `triton_repo/` serves: data, fine-tuning, evaluation, export."""
