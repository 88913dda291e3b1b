"""What is told from sounds alone, and what is done to them: fingerprints, cross-fades, stretching."""
