"""The stage `prior`: generates codes from rhythm and style. `player.Player` makes audio with a trained prior."""
