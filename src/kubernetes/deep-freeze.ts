/**
 * Freezes a value all the way down, so that one reader of a shared object cannot change it for the others.
 * @module
 */

/** Freezes plain data in place and returns it. Iterative, because nesting depth is the sender's choice. */
export function deepFreeze<T>(value: T): T {
  const pending: unknown[] = [value];
  while (pending.length > 0) {
    const next = pending.pop();
    if (typeof next !== "object" || next === null || Object.isFrozen(next)) continue;
    Object.freeze(next);
    pending.push(...Object.values(next));
  }
  return value;
}
