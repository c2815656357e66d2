"""One operator and thousands of JobQueues."""
