"""What a model is: the Modelfile language, names, parameters, the model store and the demo."""
