"""The stage synthesizer: the decoder of one level, fine-tuned on the corpus."""
