"""The stage clips: cuts dances out of their videos, crops them and brings them to 30 fps."""
