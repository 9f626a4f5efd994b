/** How often a crash is repeated: DAYBOOK_TEST_ROUNDS, or what a run of all tests has time for. */
export function roundsOr(usual: number): number {
  return Number(process.env.DAYBOOK_TEST_ROUNDS ?? usual)
}
