"""The code blocks of the pages, run as they are printed."""
