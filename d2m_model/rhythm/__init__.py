"""The stage `rhythm`: beats of dances. `model.load_rhythm` loads a trained network; `beats_file` reads and writes beats."""
