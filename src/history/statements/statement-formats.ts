import { writeCamt053 } from './camt053.js'
import { writeCsv } from './csv-statement.js'
import { writeJson } from './json-statement.js'
import { writePdf } from './pdf-statement.js'
import type { StatementWriter } from './statement.js'

export interface StatementFormat {
  /** For the header of an answer. */
  contentType: string
  /** With its dot. */
  fileExtension: string
  write: StatementWriter
}

/** In what a statement can be had, by the name that a request gives. */
export const statementFormats = {
  json: {
    contentType: 'application/json; charset=utf-8',
    fileExtension: '.json',
    write: writeJson,
  },
  csv: {
    contentType: 'text/csv; charset=utf-8; header=present',
    fileExtension: '.csv',
    write: writeCsv,
  },
  camt053: {
    contentType: 'application/xml; charset=utf-8',
    fileExtension: '.xml',
    write: writeCamt053,
  },
  pdf: {
    contentType: 'application/pdf',
    fileExtension: '.pdf',
    write: (statement) => writePdf(statement),
  },
} as const satisfies Record<string, StatementFormat>

export type StatementFormatName = keyof typeof statementFormats
