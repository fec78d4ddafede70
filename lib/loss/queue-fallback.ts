const waiting: (() => void)[] = [];

function next(): void {
  const job = waiting.shift();
  if (waiting.length > 0) setImmediate(next);
  job?.();
}

/**
 * Runs a job in a later turn of the event loop, one in each, in the order of the calls. It must not throw.
 * @returns what takes it back: true if it had not begun and will not run.
 */
export function queueFallback(job: () => void): () => boolean {
  waiting.push(job);
  if (waiting.length === 1) setImmediate(next);
  return () => {
    const at = waiting.indexOf(job);
    if (at >= 0) waiting.splice(at, 1);
    return at >= 0;
  };
}
