"""Where texts come from: for now files of JSON Lines."""
