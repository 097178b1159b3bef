"""Everything around a trial: studies, their lanes on Ray, the summary of their results, and what people see of it."""

from cluster.process.own_packages import refuse_foreign_trainer

DISTRIBUTION = "batchscope"

refuse_foreign_trainer()
