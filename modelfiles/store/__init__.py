"""Keep models on disk as manifests and content-addressed blobs; read the packaged demo."""
