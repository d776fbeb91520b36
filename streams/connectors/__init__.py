"""Where texts come from: recorded files (replay), and feeds, APIs, growing files and streams."""
