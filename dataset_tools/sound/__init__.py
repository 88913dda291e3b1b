"""What can be told from the sound of clips alone."""
