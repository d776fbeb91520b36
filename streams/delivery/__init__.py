"""How alerts leave: who wants them, what is sent, and where it may be sent to."""
