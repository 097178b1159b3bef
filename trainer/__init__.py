"""What runs on a worker: one trial from its spec to its report, without Ray, AWS or anything of `cluster`."""

# `cluster` recognizes its own `trainer` by this: other distributions and people's own folders have that name too.
DISTRIBUTION = "batchscope"
