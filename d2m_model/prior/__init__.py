"""The stage `prior`: rhythm and style to codes. `player.Player` plays a trained prior."""
