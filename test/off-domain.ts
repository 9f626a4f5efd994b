import type { Test } from 'tap'

/**
 * Has tap no longer follow every promise of this test, which is a fifth of the work of one that
 * lives in promises. An error that nobody catches then ends the process, and fails the file.
 */
export function offDomain(t: Test): void {
  for (let each: Pick<Test, 'hookDomain' | 'parent'> | undefined = t; each; each = each.parent) {
    each.hookDomain.destroy()
  }
}
