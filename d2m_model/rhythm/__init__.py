"""The stage `rhythm`: dance to beats. `model.load_rhythm` gives a trained network, `beats_file` the beats as files."""
