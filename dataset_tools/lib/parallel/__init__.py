"""Run work in other processes, and end those processes together with the one that started them."""
