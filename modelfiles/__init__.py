"""Models: the Modelfile language, names, parameters, the model store and the bundled demo."""
