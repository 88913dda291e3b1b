"""The demo's films: moves on the beat, figure, room, lens, compilation."""
