"""What a stranger does first, on a Debian that has nothing but what the pages name."""
