"""Ollama's own store, read and never written: its models are bases that need no download.

```
<root>/manifests/<host>/<namespace>/<model>/<tag>    a manifest (JSON)
<root>/blobs/sha256-<hex>                             the layers it names
```
The layout is that of Ollama's `manifest/` and `types/model/config.go`.
"""
