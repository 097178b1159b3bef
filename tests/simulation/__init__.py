"""The control plane under one scheduler with a virtual clock: one seed is one day of faults, which can be played again.

What runs is the product's own code, from `cluster.drive.run` down to the board, the lanes and the summary. Ray, Tune's
loop, the trainings, the bucket and the format of its files are doubles of few lines.
"""
