"""The sixteen checks in the order of the runbook; the quick ones run before Ray starts on a machine."""

from cluster.doctor import card, machines, places, speed, training
from cluster.doctor.finding import Check

CHECKS = (
    Check(1, "driver", card.driver, quick=True),
    Check(2, "cards", card.devices, quick=True),
    Check(3, "libraries", card.libraries, quick=True),
    Check(4, "float32", card.arithmetic, quick=True),
    Check(5, "kernels", card.kernels, quick=True),
    Check(6, "layouts", training.layouts, quick=True),
    Check(7, "repeats", training.repeats),
    Check(8, "card memory", speed.memory),
    Check(9, "card speed", speed.speed),
    Check(10, "two workers", training.two_workers),
    Check(11, "out of memory", training.out_of_memory),
    Check(12, "store", places.store, quick=True),
    Check(13, "cache", places.cache),
    Check(14, "head", machines.head),
    Check(15, "guards", machines.guards, quick=True),
    Check(16, "quotas", machines.quotas),
)
