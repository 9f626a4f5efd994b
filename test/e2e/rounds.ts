/** Numbers of shards that tests of crashes are run with: DAYBOOK_TEST_SHARDS, such as `1,2,7`. */
export const shardCounts: readonly number[] = (process.env.DAYBOOK_TEST_SHARDS ?? '1,3')
  .split(',')
  .map(Number)

/** How often a crash is repeated: DAYBOOK_TEST_ROUNDS, or what a run of all tests has time for. */
export function roundsOr(usual: number): number {
  return Number(process.env.DAYBOOK_TEST_ROUNDS ?? usual)
}

/** The setting of a server for that many shards. */
export function withShards(shards: number): { DAYBOOK_SHARDS: string } {
  return { DAYBOOK_SHARDS: String(shards) }
}
