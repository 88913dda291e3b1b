"""Audio embeddings: log-mel patches, and the demo's own embedding network."""
