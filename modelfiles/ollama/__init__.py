"""Read-only access to Ollama's own store, whose models are bases that need no download.

```
<root>/manifests/<host>/<namespace>/<model>/<tag>    a manifest (JSON)
<root>/blobs/sha256-<hex>                             the layers it names
```
The layout follows Ollama's `manifest/` and `types/model/config.go`.
"""
