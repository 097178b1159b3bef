"""The head: the one machine of a cluster that holds the drivers, the lanes and the board, and never is a spot machine.

A lane computes nothing itself: it belongs where nothing is called back. Ray gives each cluster's head this resource
by itself, the local Ray's too; what asks for a thousandth of it is placed there.
"""

HEAD = "node:__internal_head__"
ON_HEAD = {HEAD: 0.001}
