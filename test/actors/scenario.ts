import fc from 'fast-check'
import type {
  AccountChange,
  AccountClass,
  AccountStatus,
  Attributes,
  FollowUp,
  LedgerModel,
  Metadata,
  NewAccount,
  NewTransaction,
} from './model.js'

/**
 * Random commands. A step says what is wanted in picks (numbers that choose among what is there
 * when it is carried out), so that a failing run shrinks: any step may go and the rest still means
 * something.
 */
export type Step =
  | { do: 'create'; account: number; body: Omit<NewAccount, 'id'> }
  | {
      do: 'change'
      account: number
      unknown: boolean
      change: Omit<AccountChange, 'id' | 'version'>
      version: VersionPick
    }
  | { do: 'post'; post: PostStep }
  | { do: 'batch'; posts: PostStep[]; atomic: boolean; repeat: number | undefined }
  | { do: 'followUp'; follow: FollowStep }
  | { do: 'repeat'; pick: number; how: 'same' | 'rewritten' | 'changed' }
  | { do: 'read'; what: 'account' | 'transaction'; pick: number; unknown: boolean; ahead: boolean }
  | { do: 'advance'; ms: number; to: 'anywhere' | 'expiry' | 'before expiry' }
  | { do: 'restart' }

type VersionPick = 'none' | 'right' | 'wrong'

export interface PostStep {
  postings: PostingStep[]
  hold: 'no' | 'open' | 'expiring' | 'expired'
  expiresInMs: number
  date: 'none' | 'past' | 'future'
  imported: boolean
  version: VersionPick
  attributes: Attributes
}

interface PostingStep {
  debit: number
  credit: number
  amount: string
  currency: 'none' | 'right' | 'wrong'
  /** How the accounts are chosen: of one currency; any that exist; any that may exist; twice one. */
  choice: 'fitting' | 'existing' | 'any' | 'same'
}

export interface FollowStep {
  kind: FollowUp['kind']
  target: 'pending' | 'ended' | 'posted' | 'any' | 'unknown'
  pick: number
  amounts: 'whole' | 'part' | 'more' | 'decimals' | 'count'
  keepRest: boolean
  date: 'none' | 'past' | 'future'
  attributes: Attributes
}

/** A command as it was sent, so that it can be sent again. */
export type Sent =
  | { kind: 'create'; body: NewAccount }
  | { kind: 'post'; body: NewTransaction }
  | { kind: 'followUp'; body: FollowUp }

/** Ids that accounts may have: names and UUIDs of several versions. */
export const accountIds = [
  'equity:eur',
  'cash:till-1',
  '018e0000-0000-7000-8000-000000000003',
  'customer.4',
  'equity:jpy',
  'wallet_jpy',
  'c0ffee00-1234-4abc-9def-00000000beef',
  'btc-8',
  'a',
  '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  'late:11',
  'late:12',
]

const scales: Record<string, number> = { EUR: 2, JPY: 0, BTC: 8, KWD: 3 }
const dayMs = 86_400_000

const account = (
  currency: string,
  accountClass: AccountClass,
  overdraftLimit: string,
): Omit<NewAccount, 'id'> => ({
  currency,
  scale: scales[currency],
  class: accountClass,
  overdraftLimit,
  minimumBalance: '0',
})

const transfer = (
  debit: number,
  credit: number,
  amount: string,
  hold: PostStep['hold'] = 'no',
): Step => ({
  do: 'post',
  post: {
    postings: [{ debit, credit, amount, currency: 'none', choice: 'any' }],
    hold,
    expiresInMs: 0,
    date: 'none',
    imported: false,
    version: 'none',
    attributes: {},
  },
})

/** A few accounts with money in them, so that most commands meet something. */
export const prelude: Step[] = [
  { do: 'create', account: 0, body: account('EUR', 'equity', 'unlimited') },
  { do: 'create', account: 1, body: account('EUR', 'asset', '0') },
  { do: 'create', account: 2, body: account('EUR', 'liability', '0') },
  { do: 'create', account: 3, body: account('EUR', 'liability', '50') },
  { do: 'create', account: 4, body: account('JPY', 'equity', 'unlimited') },
  { do: 'create', account: 5, body: account('JPY', 'liability', '0') },
  { do: 'create', account: 6, body: account('EUR', 'liability', '0') },
  transfer(1, 0, '500'),
  transfer(0, 2, '300'),
  transfer(4, 5, '1000'),
  transfer(2, 6, '7', 'open'),
]

const pick = fc.nat(1000)
const metadata: fc.Arbitrary<Metadata> = fc.dictionary(
  fc.constantFrom('a', 'till', 'ünïcode', 'n'),
  fc.oneof(fc.string({ maxLength: 6 }), fc.integer(), fc.boolean(), fc.maxSafeInteger()),
  { minKeys: 1, maxKeys: 3, noNullPrototype: true },
)
const largeMetadata: fc.Arbitrary<Metadata> = fc
  .integer({ min: 3000, max: 12_000 })
  .map((length) => ({ note: 'x'.repeat(length) }))
const attributes: fc.Arbitrary<Attributes> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: fc.record({ code: fc.integer({ min: 1, max: 0xffffffff }) }) },
  {
    weight: 2,
    arbitrary: fc.record(
      {
        code: fc.integer({ min: 1, max: 0xffffffff }),
        reference: fc.constantFrom('R-1', 'R-2'),
        description: fc.constantFrom('rent', 'Miete für März', '𝄞'),
        category: fc.constantFrom('food', 'travel'),
        number: fc.constantFrom('N/17', 'N/18'),
        metadata: fc.oneof(
          { weight: 9, arbitrary: metadata },
          { weight: 1, arbitrary: largeMetadata },
        ),
      },
      { requiredKeys: [] },
    ),
  },
)

const amount = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.constantFrom('1', '2', '10', '25', '60', '100', '100.00', '300', '7.0'),
  },
  { weight: 4, arbitrary: fc.constantFrom('0.01', '2.5', '33.33', '1000', '12.50') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...['7.125', '0.00000001', '4000000000000000000', '90000000000000000', '9223372036854775807'],
    ),
  },
)
const limit = fc.constantFrom('0', '50', '100.00', '5')

const createStep: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('create' as const),
  account: pick,
  body: fc
    .record(
      {
        currency: fc.constantFrom('EUR', 'EUR', 'EUR', 'JPY', 'BTC', 'KWD'),
        wrongScale: fc.integer({ min: 0, max: 19 }).map((n) => n === 0),
        class: fc.constantFrom<AccountClass>('asset', 'liability', 'equity', 'income', 'expense'),
        overdraftLimit: fc.constantFrom('0', '0', '50', 'unlimited'),
        minimumBalance: fc.constantFrom('0', '0', '0', '20'),
        type: fc.constantFrom('current', 'savings'),
        owner: fc.constantFrom('jane', 'josé'),
        number: fc.constantFrom('CZ-1', 'CZ-2'),
        metadata,
      },
      { requiredKeys: ['currency', 'wrongScale', 'class'] },
    )
    .map(({ wrongScale, ...body }) => ({
      ...body,
      scale: scales[body.currency] + (wrongScale ? 1 : 0),
    })),
})

const versionPick = fc.constantFrom<VersionPick>('none', 'none', 'none', 'right', 'right', 'wrong')

const changeStep: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('change' as const),
  account: pick,
  unknown: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  change: fc.record(
    {
      status: fc.constantFrom<AccountStatus>(
        'active',
        'active',
        'active',
        'dormant',
        'frozen',
        'closed',
        'closed',
      ),
      overdraftLimit: fc.oneof(limit, fc.constantFrom('unlimited', '0.001', '4000000000000000000')),
      minimumBalance: fc.oneof(fc.constant('0'), limit, fc.constantFrom('0.0001')),
      metadata,
    },
    { requiredKeys: [] },
  ),
  version: versionPick,
})

const postingStep: fc.Arbitrary<PostingStep> = fc.record({
  debit: pick,
  credit: pick,
  amount,
  currency: fc.oneof(
    { weight: 40, arbitrary: fc.constantFrom('none' as const, 'right' as const) },
    { weight: 1, arbitrary: fc.constant('wrong' as const) },
  ),
  choice: fc.oneof(
    { weight: 40, arbitrary: fc.constant('fitting' as const) },
    { weight: 1, arbitrary: fc.constant('existing' as const) },
    { weight: 1, arbitrary: fc.constant('any' as const) },
    { weight: 1, arbitrary: fc.constant('same' as const) },
  ),
})

const date = fc.oneof(
  { weight: 30, arbitrary: fc.constant('none' as const) },
  { weight: 1, arbitrary: fc.constant('past' as const) },
  { weight: 1, arbitrary: fc.constant('future' as const) },
)

const postStep: fc.Arbitrary<PostStep> = fc.record({
  postings: fc.oneof(
    { weight: 5, arbitrary: fc.array(postingStep, { minLength: 1, maxLength: 1 }) },
    { weight: 3, arbitrary: fc.array(postingStep, { minLength: 2, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.array(postingStep, { minLength: 5, maxLength: 12 }) },
  ),
  hold: fc.oneof(
    { weight: 12, arbitrary: fc.constant('no' as const) },
    { weight: 5, arbitrary: fc.constant('open' as const) },
    { weight: 5, arbitrary: fc.constant('expiring' as const) },
    { weight: 1, arbitrary: fc.constant('expired' as const) },
  ),
  expiresInMs: fc.constantFrom(1, 1000, 60_000, 90_000, 3_600_000, 2 * dayMs),
  date,
  imported: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  version: versionPick,
  attributes,
})

const followStep: fc.Arbitrary<FollowStep> = fc.record({
  kind: fc.constantFrom('post', 'post', 'post', 'void', 'reverse', 'reverse'),
  target: fc.oneof(
    { weight: 12, arbitrary: fc.constant('pending' as const) },
    { weight: 4, arbitrary: fc.constant('ended' as const) },
    { weight: 4, arbitrary: fc.constant('posted' as const) },
    { weight: 1, arbitrary: fc.constantFrom('any' as const, 'unknown' as const) },
  ),
  pick,
  amounts: fc.constantFrom('whole', 'whole', 'part', 'part', 'part', 'more', 'decimals', 'count'),
  keepRest: fc.boolean(),
  date,
  attributes,
})

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: createStep },
  { weight: 4, arbitrary: changeStep },
  { weight: 14, arbitrary: fc.record({ do: fc.constant('post' as const), post: postStep }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('batch' as const),
      posts: fc.array(postStep, { minLength: 1, maxLength: 5 }),
      atomic: fc.boolean(),
      repeat: fc.option(pick, { nil: undefined }),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constant('followUp' as const), follow: followStep }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('repeat' as const),
      pick,
      how: fc.constantFrom('same', 'same', 'rewritten', 'changed'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('read' as const),
      what: fc.constantFrom('account', 'transaction'),
      pick,
      unknown: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
      ahead: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      ms: fc.constantFrom(1, 999, 1000, 30_000, 60_000, 61_000, 3_600_000, dayMs, 3 * dayMs),
      to: fc.constantFrom('anywhere', 'anywhere', 'expiry', 'before expiry'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
)

/** Up to `max` random steps. */
export function steps(max: number): fc.Arbitrary<Step[]> {
  return fc.noBias(fc.array(step, { minLength: 1, maxLength: max, size: 'max' }))
}

/**
 * A new id: every other one is a UUID, and a posting without attributes then has its short form.
 * Some are dated in the future.
 */
export function freshId(number: number): string {
  if (number % 2 === 0) return `t:${number}`
  const time = number % 30 === 29 ? '018fffff-0000' : '018d5555-0000'
  return `${time}-7000-8000-${number.toString(16).padStart(12, '0')}`
}

/** The body that a step means, as the book stands in the model. */
export function bodyOfPost(model: LedgerModel, step: PostStep, id: string): NewTransaction {
  const today = Math.floor(model.nowMs / dayMs)
  const postings = step.postings.map((posting) => bodyOfPosting(model, posting))
  const body: NewTransaction = { id, postings, ...step.attributes }
  if (step.hold !== 'no') body.pending = true
  if (step.hold === 'expiring') body.expiresAt = model.nowMs + step.expiresInMs
  if (step.hold === 'expired') body.expiresAt = model.nowMs
  if (step.date === 'past') body.effectiveDate = today - 400
  if (step.date === 'future') body.effectiveDate = today + 3
  if (step.imported) body.imported = true
  if (step.version !== 'none') {
    const { debit } = postings[0]
    const version = model.accounts.get(debit)?.version ?? 1
    body.conditions = [{ account: debit, version: version + (step.version === 'wrong' ? 1 : 0) }]
  }
  return body
}

function bodyOfPosting(model: LedgerModel, step: PostingStep): NewTransaction['postings'][number] {
  const existing = [...model.accounts.keys()]
  const debit =
    step.choice === 'any' ? pickOf(accountIds, step.debit) : pickOf(existing, step.debit)
  const { currency } = model.accounts.get(debit ?? '') ?? {}
  const candidates = {
    any: accountIds,
    existing,
    fitting: existing.filter((id) => id !== debit && model.accounts.get(id)?.currency === currency),
    same: [debit ?? 'a'],
  }[step.choice]
  const body: NewTransaction['postings'][number] = {
    debit: debit ?? 'a',
    credit: pickOf(candidates, step.credit) ?? 'nobody',
    amount: step.amount,
  }
  if (step.currency === 'right' && currency !== undefined) body.currency = currency
  if (step.currency === 'wrong') body.currency = 'CZK'
  return body
}

/** How far a step moves the clock: often to where a hold is just about to expire, or just does. */
export function msOfAdvance(model: LedgerModel, step: Extract<Step, { do: 'advance' }>): number {
  const expiries = [...model.transactions.values()]
    .filter(({ status }) => status === 'pending')
    .map(({ expiresAt }) => expiresAt ?? Number.POSITIVE_INFINITY)
  const next = Math.min(...expiries)
  if (step.to === 'anywhere' || next === Number.POSITIVE_INFINITY) return step.ms
  return Math.max(1, next - model.nowMs - (step.to === 'expiry' ? 0 : 1))
}

export function bodyOfFollowUp(model: LedgerModel, step: FollowStep, id: string): FollowUp {
  const today = Math.floor(model.nowMs / dayMs)
  const posted = ['posted', 'hold post', 'reversed']
  const wanted: readonly string[] | undefined = {
    // Most reversals are of what can be reversed.
    pending: step.kind === 'reverse' ? posted.slice(0, 2) : ['pending'],
    ended: [
      'hold posted',
      'hold voided',
      'hold expired',
      ...(step.kind === 'reverse' ? posted : []),
    ],
    posted,
    any: undefined,
    unknown: [],
  }[step.target]
  const ids = [...model.transactions].filter(
    ([, { status }]) => wanted === undefined || wanted.includes(status),
  )
  const [target, transaction] = pickOf(ids, step.pick) ?? ['unknown', undefined]
  const body: FollowUp = { kind: step.kind, target, id, ...step.attributes }
  if (step.date === 'past') body.effectiveDate = today - 1
  if (step.date === 'future') body.effectiveDate = today + 2
  if (step.kind !== 'post' || step.amounts === 'whole') return body
  const remaining = transaction?.remaining ?? [1n]
  const scaleOf = (index: number) => scales[transaction?.postings[index]?.currency ?? 'EUR'] ?? 2
  body.amounts = remaining.map((amount, index) => {
    if (step.amounts === 'decimals') return '0.000000001'.slice(0, scaleOf(index) + 3)
    const units = step.amounts === 'more' ? amount + 1n : amount / 2n + (index === 0 ? 1n : 0n)
    return textOf(units < amount || step.amounts === 'more' ? units : amount, scaleOf(index))
  })
  if (step.amounts === 'count') body.amounts.push('1')
  if (step.keepRest) body.keepRest = true
  return body.amounts.every((text) => /^[0.]+$/.test(text)) ? { ...body, amounts: ['1'] } : body
}

/** The same command once more: as it was, written another way, or with something else in it. */
export function repeated(sent: Sent, how: 'same' | 'rewritten' | 'changed'): Sent {
  if (how === 'same') return sent
  const rewrite = (text: string) => (text.includes('.') ? `${text}0` : `${text}.0`).slice(0, 24)
  switch (sent.kind) {
    case 'create':
      return how === 'rewritten'
        ? sent
        : { kind: 'create', body: { ...sent.body, owner: `${sent.body.owner ?? ''}x` } }
    case 'post': {
      const postings = sent.body.postings.map((posting, index) => {
        if (how === 'rewritten')
          return { ...posting, amount: rewriteAmount(posting.amount, rewrite) }
        return index === 0 ? { ...posting, amount: posting.amount === '3' ? '4' : '3' } : posting
      })
      return { kind: 'post', body: { ...sent.body, postings } }
    }
    case 'followUp': {
      const { amounts } = sent.body
      if (how === 'changed') {
        const kind = sent.body.kind === 'void' ? 'post' : 'void'
        return {
          kind: 'followUp',
          body: { ...sent.body, kind, amounts: undefined, keepRest: undefined },
        }
      }
      const body = { ...sent.body }
      if (amounts !== undefined) body.amounts = amounts.map((text) => rewriteAmount(text, rewrite))
      return { kind: 'followUp', body }
    }
  }
}

/** At most eight decimals may be written. */
function rewriteAmount(text: string, rewrite: (text: string) => string): string {
  return (text.split('.')[1] ?? '').length < 8 ? rewrite(text) : text
}

export function pickOf<T>(from: readonly T[], pick: number): T | undefined {
  return from[pick % from.length]
}

function textOf(units: bigint, scale: number): string {
  const digits = units.toString().padStart(scale + 1, '0')
  return scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
