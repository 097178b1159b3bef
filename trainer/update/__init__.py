"""One update: loss, gradients summed over micro-batches and workers, schedule, optimizer, and the noise measured."""
