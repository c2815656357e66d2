"""The operator beside KEDA, on the same cluster."""
