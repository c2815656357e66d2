"""What must hold while workers, servers and networks fail."""
