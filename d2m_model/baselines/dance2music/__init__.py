"""Dance2Music (Aggarwal and Parikh 2021): notes that are alike where poses are alike, by search or by a network."""
