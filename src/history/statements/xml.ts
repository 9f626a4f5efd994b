/**
 * Pieces of XML. A document of a million entries is text that comes together piece by piece: a
 * builder that makes a tree of each element costs half a millisecond an entry, sixty times this.
 */
declare const isXml: unique symbol

/** Text that is well-formed XML already, so that plain text cannot get in without being escaped. */
export type Xml = string & { readonly [isXml]: true }

export const xmlDeclaration = '<?xml version="1.0" encoding="UTF-8"?>\n'

/** An element with `children`; nothing at all if they are nothing. */
export function element(name: string, ...children: Xml[]): Xml {
  const content = children.join('')
  return (content === '' ? '' : `<${name}>${content}</${name}>`) as Xml
}

/** An element that holds text; nothing at all without any. */
export function leaf(name: string, text: string | undefined, attribute?: [string, string]): Xml {
  if (text === undefined || text === '') return '' as Xml
  const [key, value] = attribute ?? []
  const start = key === undefined ? name : `${name} ${key}="${escapeText(value as string)}"`
  return `<${start}>${escapeText(text)}</${name}>` as Xml
}

/** What must not stand in a document (XML 1.0, production 2), half surrogate pairs included. */
const notXml = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu
const special = /[&<>"\r]/g
const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  // A parser turns a bare carriage return into a line feed.
  '\r': '&#xD;',
}

function escapeText(text: string): string {
  return text.replace(notXml, '\uFFFD').replace(special, (character) => entities[character])
}

/** The first `charactersMax` characters, as XML schemas count them: no surrogate pair is cut. */
export function cut(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text
  return [...text].slice(0, charactersMax).join('')
}

/** All of the text in pieces of at most `charactersMax` characters. */
export function split(text: string, charactersMax: number): string[] {
  if (text.length <= charactersMax) return [text]
  const characters = [...text]
  const pieces: string[] = []
  for (let from = 0; from < characters.length; from += charactersMax) {
    pieces.push(characters.slice(from, from + charactersMax).join(''))
  }
  return pieces
}
