"""The stage vqvae: the codec that turns music into codes and back."""
