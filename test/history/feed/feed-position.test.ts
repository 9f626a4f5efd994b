import t from 'tap'
import {
  aroundSeq,
  type BookHeads,
  formatFeedPosition,
  nextPlace,
  parseFeedPosition,
  placeOf,
} from '../../../src/history/feed/feed-position.js'

const bookId = '1f0c9a3e-0000-4000-8000-000000000000'
const digest = Buffer.alloc(32)

/** Stream 1, then streams 2 and 3, then 4, 5 and 6, which are open. */
const book: BookHeads = {
  bookId,
  streams: [
    { stream: 1, generation: 1, isClosed: true, head: 10, digest },
    { stream: 2, generation: 2, isClosed: true, head: 20, digest },
    { stream: 3, generation: 2, isClosed: true, head: 0, digest },
    { stream: 4, generation: 3, isClosed: false, head: 40, digest },
    { stream: 5, generation: 3, isClosed: false, head: 50, digest },
    { stream: 6, generation: 3, isClosed: false, head: 0, digest },
  ],
}

const placed = (text: string) => {
  const position = parseFeedPosition(text)
  if (position === undefined) throw new Error(`${text} is no position`)
  const { generation, seqs } = placeOf(position, book)
  return [generation, Object.fromEntries(seqs)]
}

t.test('a position is read as it was written, with its book or without', async (t) => {
  const seqs = new Map([
    [4, 12],
    [5, 0],
    [6, 123_456_789_012_345],
  ])
  const text = formatFeedPosition(bookId, seqs)
  t.equal(text, '1f0c9a3e.4-12.5-0.6-123456789012345')
  t.same(parseFeedPosition(text), { book: '1f0c9a3e', seqs })
  t.same(parseFeedPosition('5-7'), { book: undefined, seqs: new Map([[5, 7]]) })
  t.same(parseFeedPosition('0'), { book: undefined, seqs: new Map() })
})

t.test('around the seq of any of its streams a position is the same', async (t) => {
  const seqs = new Map([
    [4, 12],
    [5, 7],
    [6, 9],
  ])
  for (const [stream, seq] of seqs) {
    t.equal(aroundSeq(bookId, seqs, stream).join(String(seq)), formatFeedPosition(bookId, seqs))
  }
})

t.test('what is no position is not taken for one', async (t) => {
  const others = [
    '',
    '1',
    '-',
    '1-',
    '1-2.',
    '.1-2',
    '1-2.1-3',
    '1f0c9a3e',
    '1f0c9a3e.0',
    '1-2,3-4',
  ]
  const long = [`1-${'9'.repeat(16)}`, Array.from({ length: 65 }, (_, i) => `${i}-1`).join('.')]
  for (const text of [...others, ...long, '1F0C9A3E.1-2', ' 1-2', '1-2\n']) {
    t.equal(parseFeedPosition(text), undefined, JSON.stringify(text))
  }
})

t.test('streams that a position does not name are at their beginning', async (t) => {
  t.same(placed('0'), [1, { 1: 0 }])
  t.same(placed('1-3'), [1, { 1: 3 }])
  t.same(placed('5-7'), [3, { 4: 0, 5: 7, 6: 0 }])
  t.same(placed('1f0c9a3e.2-20.3-0'), [2, { 2: 20, 3: 0 }])
  t.same(placeOf(undefined, book), {
    generation: 3,
    seqs: new Map([
      [4, 40],
      [5, 50],
      [6, 0],
    ]),
  })
})

t.test('a place that the book does not have is refused', async (t) => {
  const unknown = { code: 'position_unknown' }
  t.throws(() => placed('00000000.4-1'), unknown)
  t.throws(() => placed('7-0'), unknown)
  t.throws(() => placed('4-41'), unknown)
  t.throws(() => placed('3-1'), unknown, 'also in a stream that is closed')
  t.throws(() => placed('2-1.4-1'), { code: 'invalid_request' })
})

t.test('behind a generation comes the beginning of the next', async (t) => {
  t.same(nextPlace(1, book.streams)?.seqs, new Map([...[2, 3].map((id) => [id, 0] as const)]))
  t.equal(nextPlace(2, book.streams)?.generation, 3)
  t.equal(nextPlace(3, book.streams), undefined)
})
