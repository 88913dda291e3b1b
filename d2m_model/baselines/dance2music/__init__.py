"""Dance2Music (Aggarwal and Parikh 2021): similar notes where poses are similar, by search or by a network."""
