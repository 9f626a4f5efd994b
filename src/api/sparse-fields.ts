import { type TObject, Type } from 'typebox'
import { invalidField } from './errors.js'

/** Which fields of the rows of a list are asked for; undefined: all of them. */
export type AskedFields = ReadonlySet<string> | undefined

/** The parameter `fields` of a list whose rows are of `row`; `always` are there in any case. */
export function fieldsParameter(row: TObject, always: readonly string[]) {
  return Type.String({
    minLength: 1,
    maxLength: 512,
    description:
      `Only these fields of each row, such as ${namesOf(row).slice(-2).join(',')}: some of ` +
      `${namesOf(row).join(', ')}. Always there: ${always.join(', ')}`,
  })
}

/** Reads `fields`; throws `invalid_request` for a name that the rows do not have. */
export function fieldsAsked(
  text: string | undefined,
  row: TObject,
  always: readonly string[],
): AskedFields {
  if (text === undefined) return undefined
  const names = namesOf(row)
  const asked = text.split(',')
  const unknown = asked.find((name) => !names.includes(name))
  if (unknown === undefined) return new Set([...always, ...asked])
  throw invalidField('fields', `has the unknown name "${unknown}"; there are: ${names.join(', ')}`)
}

/** Whether one of some fields is asked for. */
export function asksFor(asked: AskedFields, ...names: readonly string[]): boolean {
  return asked === undefined || names.some((name) => asked.has(name))
}

/** What is asked for of a row. To the types it is whole: a client that asks for less knows it. */
export function withFields<Row extends object>(row: Row, asked: AskedFields): Row {
  if (asked === undefined) return row
  const shown: Partial<Row> = {}
  for (const name of asked) {
    const field = name as keyof Row
    if (row[field] !== undefined) shown[field] = row[field]
  }
  return shown as Row
}

function namesOf(row: TObject): string[] {
  return Object.keys(row.properties)
}
