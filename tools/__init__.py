"""Scripts that make committed data. Nothing in the service imports them."""
