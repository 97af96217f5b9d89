"""What long runs look at: whether memory and descriptors stay where they were."""

import threading

# Memory may still move a little: a table that grows once, a page that is touched for the first time.
GROWTH_SHARE, GROWTH_KILOBYTES = 0.05, 512
# Part of the run that does not count: pools grow, pages come in.
WARM_UP_SHARE = 0.2


class Watch(threading.Thread):
    """Samples memory (KiB) and descriptors every second, until told to stop."""

    def __init__(self, memory, descriptors):
        super().__init__(daemon=True)
        self.memory, self.descriptors = memory, descriptors
        self.samples, self.ended = [], threading.Event()

    def run(self):
        while not self.ended.wait(1):
            try:
                self.samples.append((self.memory(), self.descriptors()))
            except (OSError, AttributeError, AssertionError):
                return

    def stop(self):
        """Gives the samples."""
        self.ended.set()
        self.join()
        return self.samples


def judge_memory(samples):
    """(sentence, whether it is flat): the last tenth beside the tenth after the warm-up."""
    settled = [memory for memory, _ in samples[int(len(samples) * WARM_UP_SHARE):]]
    if len(settled) < 4:
        return "too short a run to judge memory", False
    part = max(1, len(settled) // 10)
    early, late = sum(settled[:part]) / part, sum(settled[-part:]) / part
    allowance = max(GROWTH_KILOBYTES, early * GROWTH_SHARE)
    text = (f"memory after warm-up {early / 1024:.1f} MB, at the end {late / 1024:.1f} MB, "
            f"most {max(settled) / 1024:.1f} MB (growth allowed: {allowance / 1024:.1f} MB)")
    return text, late - early <= allowance
