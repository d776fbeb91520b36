"""The labelled sets, brought into one table that training and evaluation read."""
