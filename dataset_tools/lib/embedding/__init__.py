"""What the networks that listen need: log-mel patches of sound, and the demo's own embedding."""
