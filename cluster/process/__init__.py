"""What this process itself needs: signals, deadlines, folders that go with it, proxies, and its Ray."""
