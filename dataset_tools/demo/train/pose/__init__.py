"""Parts of the recipe `dataset_tools.demo.train_pose`: training samples, loss, evaluation."""
