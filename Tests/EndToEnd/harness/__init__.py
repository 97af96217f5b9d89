"""Real proxies, scripted upstreams and a raw HTTP/1 client: the parts of every end-to-end test."""
