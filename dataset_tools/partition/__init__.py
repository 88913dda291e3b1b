"""How a corpus is divided into parts that share no song."""
