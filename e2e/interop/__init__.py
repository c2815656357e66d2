"""rq as producer and reader of our worker."""
