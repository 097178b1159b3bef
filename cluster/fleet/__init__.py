"""The EC2 machines: a stack that costs nothing, a head, workers that come and go, and switches that end all of them."""
