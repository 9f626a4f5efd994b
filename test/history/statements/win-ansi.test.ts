import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { foldToWinAnsi } from '../../../src/history/statements/win-ansi.js'
import { decodeWinAnsi } from './pdf-text.js'
import { anyText } from './sample.js'

t.test(
  'letters of Western Europe stay, marks that are not known go, the rest is shown as lost',
  async (t) => {
    for (const [text, folded] of [
      ['Žofie Müller, 5 € – “ok”…', 'Žofie Müller, 5 € – “ok”…'],
      ['Příliš žluťoučký kůň úpěl ďábelské ódy', 'Príliš žlutoucký kun úpel dábelské ódy'],
      ['Łódź, Đorđe, İstanbul, Őrs', 'Lódz, Dorde, Istanbul, Ors'],
      ['e\u0301', 'é'],
      ['ﬁ ½ № x²', 'fi ½ No x²'],
      ['Ελλάδα 漢字 😀', '?????? ?? ?'],
      ['a\tb\r\nc\u0000d\u00a0e', 'a b  c d\u00a0e'],
      ['a\u200bb\u202ec\ufeff', 'abc'],
      ['\ud800x', '?x'],
      ['\u0080\u009f', '  '],
    ]) {
      t.equal(foldToWinAnsi(text), folded, text)
    }
  },
)

t.test('nothing but WinAnsi comes out, and that stays as it is', async (t) => {
  const all = decodeWinAnsi(Uint8Array.from({ length: 256 }, (_, i) => i))
  const known = new Set([...all].filter((character) => !/\p{Cc}/u.test(character)))
  fc.assert(
    fc.property(anyText, (text) => {
      const folded = foldToWinAnsi(text)
      for (const character of folded) assert.ok(known.has(character), JSON.stringify(character))
      assert.equal(foldToWinAnsi(folded), folded)
    }),
    { numRuns: 2000 },
  )
  t.equal(foldToWinAnsi([...known].join('')), [...known].join(''))
})
