/** When a failed request is sent again, and when no more. */
export interface RetryPolicy {
  /** Attempts at an event, alone in its request and while the breaker is closed. */
  attemptsMax: number
  delayMsMin: number
  delayMsMax: number
}

export const retryPolicy: RetryPolicy = { attemptsMax: 10, delayMsMin: 500, delayMsMax: 60_000 }

/** Before the attempt after `attempts`: twice as long each time, less up to half of it by chance. */
export function retryDelayMs(
  attempts: number,
  { delayMsMin, delayMsMax }: RetryPolicy,
  random: () => number,
): number {
  const longest = Math.min(delayMsMin * 2 ** (attempts - 1), delayMsMax)
  return longest * (0.5 + random() / 2)
}
