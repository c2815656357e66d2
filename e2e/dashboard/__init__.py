"""`jobqueue dashboard` in a real Chromium: what a person clicks, reads and hears."""
