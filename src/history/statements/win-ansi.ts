/**
 * The characters of WinAnsi (Windows-1252), the only ones that the fonts built into every PDF
 * reader have. Below U+0100 they are those of Latin-1; these are the others.
 */
const beyondLatin1 = '€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ'
const winAnsi = new Set([...beyondLatin1])
for (let code = 0x20; code <= 0xff; code++) {
  const isControl = code >= 0x7f && code <= 0x9f
  if (!isControl) winAnsi.add(String.fromCharCode(code))
}

/** Letters that Unicode does not take apart, and punctuation, as what is nearest to them. */
const nearest: Record<string, string> = {
  ...{ ł: 'l', Ł: 'L', đ: 'd', Đ: 'D', ħ: 'h', Ħ: 'H', ı: 'i', ŧ: 't', Ŧ: 'T', ĸ: 'k' },
  ...{ ŋ: 'n', Ŋ: 'N', ə: 'e', Ə: 'E', ẞ: 'SS' },
  ...{ '‐': '-', '‑': '-', '‒': '-', '―': '—', '−': '-', '′': "'" },
}

const folded = new Map<string, string>()
/** A bound, not a size that is met: all letters with marks are fewer. */
const foldedMax = 4096

/**
 * Text in WinAnsi only. A letter with a mark that WinAnsi lacks loses the mark (`Dvořák` becomes
 * `Dvorák`); of what has no Latin letter behind it (Greek, Cyrillic, Chinese, emoji) each character
 * becomes `?`, so that one sees that something is missing. Line breaks and other controls become
 * blanks; invisible characters vanish.
 */
export function foldToWinAnsi(text: string): string {
  let result = ''
  for (const character of text.normalize('NFC')) {
    result += winAnsi.has(character) ? character : foldCharacter(character)
  }
  return result
}

function foldCharacter(character: string): string {
  const known = folded.get(character)
  if (known !== undefined) return known
  const fold = nearestOf(character)
  if (folded.size < foldedMax) folded.set(character, fold)
  return fold
}

function nearestOf(character: string): string {
  if (/[\p{Cf}\p{M}]/u.test(character)) return ''
  if (/[\s\p{Cc}]/u.test(character)) return ' '
  const parts = [...character.normalize('NFKD').replace(/\p{M}/gu, '')]
  return parts.map((part) => (winAnsi.has(part) ? part : (nearest[part] ?? '?'))).join('')
}
