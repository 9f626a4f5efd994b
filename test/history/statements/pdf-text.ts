import { inflateSync } from 'node:zlib'

/** The pages of a PDF of ours, each as the texts on it in the order of writing. */
export function pageTexts(pdf: Buffer): string[][] {
  const objects = objectsOf(pdf)
  const dictionaryOf = (id: string) => headOf(objects.get(id) as Buffer)
  const pages =
    [...objects.values()].map(headOf).find((head) => head.includes('/Type /Pages')) ?? ''
  const kids = /\/Kids \[([^\]]*)\]/.exec(pages)?.[1].match(/\d+(?= 0 R)/g) ?? []
  return kids.map((kid) => {
    const contents = /\/Contents (\d+) 0 R/.exec(dictionaryOf(kid))?.[1] as string
    return textsOf(streamOf(objects.get(contents) as Buffer))
  })
}

/** Objects by number, found as a reader finds them; throws if the table at the end is not right. */
function objectsOf(pdf: Buffer): Map<string, Buffer> {
  const end = /startxref\n(\d+)\n%%EOF\n$/.exec(pdf.subarray(-64).toString('latin1'))
  const table = pdf.subarray(Number(end?.[1])).toString('latin1')
  const [, count, entries] =
    /^xref\n0 (\d+)\n((?:\d{10} \d{5} [fn] \n)+)trailer\n/.exec(table) ?? []
  const offsets = entries
    .split('\n')
    .slice(1, -1)
    .map((entry) => Number(entry.slice(0, 10)))
  if (offsets.length !== Number(count) - 1) throw new Error('the table has another length')
  const objects = new Map<string, Buffer>()
  for (const [index, offset] of offsets.entries()) {
    const id = `${index + 1}`
    const object = pdf.subarray(offset)
    if (!object.subarray(0, 16).toString('latin1').startsWith(`${id} 0 obj\n`)) {
      throw new Error(`object ${id} is not where the table says`)
    }
    objects.set(id, object)
  }
  return objects
}

/** The beginning of an object, up to its stream or end. */
function headOf(object: Buffer): string {
  return object.subarray(0, object.indexOf('endobj')).toString('latin1').split('\nstream\n')[0]
}

function streamOf(object: Buffer): string {
  const start = object.indexOf('\nstream\n') + 8
  const length = Number(/\/Length (\d+)/.exec(headOf(object))?.[1])
  const bytes = object.subarray(start, start + length)
  return (headOf(object).includes('/FlateDecode') ? inflateSync(bytes) : bytes).toString('latin1')
}

/** Bytes 0x80 to 0x9f; TextDecoder of Node 20 takes windows-1252 for Latin-1. */
const highControls = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ'

export function decodeWinAnsi(bytes: Uint8Array): string {
  const characters = [...bytes].map((byte) =>
    byte >= 0x80 && byte <= 0x9f ? highControls[byte - 0x80] : String.fromCharCode(byte),
  )
  return characters.join('')
}

function textsOf(content: string): string[] {
  return [...content.matchAll(/\[([^\]]*)\] TJ/g)].map(([, parts]) => {
    const hex = [...parts.matchAll(/<([0-9a-f]*)>/g)].map(([, digits]) => digits).join('')
    return decodeWinAnsi(Buffer.from(hex, 'hex'))
  })
}
