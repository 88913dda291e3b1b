"""The stage vqvae: the codec, which encodes music into codes and decodes codes into music."""
