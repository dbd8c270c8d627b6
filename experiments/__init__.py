"""The verbs: what is run on nouns, teachers and students. The only room that knows Hydra, W&B and Fabric."""
