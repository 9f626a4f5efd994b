import Table from 'cli-table3'

/** Rows below their headings, for people; numbers stand right. */
export function table(headings: string[], rows: (string | number | bigint)[][]): string {
  const out = new Table({
    head: headings,
    colAligns: headings.map((_, column) =>
      rows.length > 0 && rows.every((row) => typeof row[column] !== 'string') ? 'right' : 'left',
    ),
    style: { head: [], border: [], compact: true },
    chars: plainChars,
  })
  for (const row of rows) out.push(row.map(String))
  return `${out.toString().replaceAll(/ +$/gm, '')}\n`
}

/** No lines but blanks between the columns: it can be piped on. */
const plainChars = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
  ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
  ...{ left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: ' ' },
}
