import PDFDocument from 'pdfkit'
import { foldToWinAnsi } from './win-ansi.js'

/** Points (1/72 inch) from the upper left corner of an A4 page, 595 by 842. */
const left = 42
const right = 553
const top = 42
const bottom = 782
const footer = 800
const rowHeight = 12
const fontSize = 8.5
/** Where columns begin or, for what is aligned right, end; texts wrap at `textWidth`. */
const dateLeft = left
const textLeft = 104
const textWidth = 224
const amountRight = 440
const balanceRight = right

/** A row of the table: texts are folded and wrapped, the rest fits as it is. */
export interface PdfRow {
  date: string
  text: string
  amount: string
  balance: string
}

/**
 * Pages that are filled from top to bottom and go out as soon as they are full: nothing on a page
 * depends on a later one, so its number stands there without the number of pages. What stays in
 * memory of a page are its three entries of the table at the end of the file, 1.4 KB.
 */
export class PdfPages {
  readonly #document: PDFKit.PDFDocument
  readonly #widths = new Map<string, number>()
  /** Stands at the head of every page but the first. */
  readonly #runningHead: string
  #page = 0
  #y = 0

  constructor(info: { title: string; author: string; createdAtMs: number; compress: boolean }) {
    const { title, author, createdAtMs, compress } = info
    this.#runningHead = title
    this.#document = new PDFDocument({
      ...{ size: 'A4', margin: 0, autoFirstPage: false, compress, lang: 'en', displayTitle: true },
      info: {
        Title: title,
        Author: author,
        Creator: 'Daybook',
        CreationDate: new Date(createdAtMs),
      },
    })
    this.#startPage()
  }

  /** A line over the whole width, wrapped. */
  line(text: string, style: { bold?: boolean; size?: number } = {}): void {
    const size = style.size ?? fontSize
    const lineHeight = rowHeight * (size / fontSize)
    // Bold letters are wider, and widths are those of the plain font in its usual size.
    const width = ((right - left) * 0.9 * fontSize) / size
    for (const part of this.#wrap(text, width)) {
      if (this.#y + lineHeight > bottom) this.#nextPage()
      this.#font(style.bold, size)
      this.#write(part, left)
      this.#y += lineHeight
    }
    this.#font(false)
  }

  gap(): void {
    this.#y += rowHeight / 2
  }

  /** Begins the table, whose head stands on the pages that follow, too. */
  tableHead(): void {
    this.#font(true)
    this.#cells({ date: 'Date', amount: 'Amount', balance: 'Balance' }, ['Text'])
    this.#font(false)
    const y = this.#y
    this.#document.moveTo(left, y).lineTo(right, y).lineWidth(0.5).stroke()
    this.#y += rowHeight / 4
  }

  /** A row that is never split over two pages. */
  row({ text, ...cells }: PdfRow): void {
    const parts = this.#wrap(text, textWidth)
    if (this.#y + parts.length * rowHeight > bottom) {
      this.#nextPage()
      this.tableHead()
    }
    this.#cells(cells, parts)
  }

  /** Goes on at the next page unless so many lines fit on this one. */
  keepTogether(lines: number): void {
    if (this.#y + lines * rowHeight > bottom) this.#nextPage()
  }

  /** What is ready to go out; after {@link end}, all the rest. */
  take(): Buffer | undefined {
    return (this.#document.read() as Buffer | null) ?? undefined
  }

  end(): void {
    this.#document.end()
  }

  #nextPage(): void {
    this.#startPage()
    this.line(this.#runningHead)
    this.gap()
  }

  #startPage(): void {
    this.#document.addPage()
    this.#page += 1
    this.#font(false)
    this.#y = footer
    this.#writeRight(`page ${this.#page}`, right)
    this.#y = top
  }

  #cells({ date, amount, balance }: Omit<PdfRow, 'text'>, texts: string[]): void {
    this.#write(date, dateLeft)
    this.#writeRight(amount, amountRight)
    this.#writeRight(balance, balanceRight)
    for (const text of texts) {
      this.#write(text, textLeft)
      this.#y += rowHeight
    }
  }

  #font(bold: boolean | undefined, size = fontSize): void {
    this.#document.font(bold ? 'Helvetica-Bold' : 'Helvetica').fontSize(size)
  }

  #write(text: string, x: number): void {
    this.#document.text(text, x, this.#y, { lineBreak: false })
  }

  #writeRight(text: string, end: number): void {
    this.#write(text, end - this.#document.widthOfString(text))
  }

  /** At least one part. Breaks at blanks, and within a word only if it is wider than the column. */
  #wrap(text: string, width: number): string[] {
    const parts: string[] = []
    let part = ''
    let partWidth = 0
    for (const word of wordsOf(foldToWinAnsi(text))) {
      const wordWidth = this.#widthOf(word)
      if (partWidth + wordWidth <= width) {
        part += word
        partWidth += wordWidth
        continue
      }
      if (part !== '') parts.push(part)
      part = ''
      partWidth = 0
      for (const character of word.trimStart()) {
        const characterWidth = this.#widthOf(character)
        if (partWidth + characterWidth > width) {
          parts.push(part)
          part = ''
          partWidth = 0
        }
        part += character
        partWidth += characterWidth
      }
    }
    return [...parts, part]
  }

  /** Of plain text in its usual size, without kerning, which would only make it narrower. */
  #widthOf(text: string): number {
    let width = 0
    for (const character of text) {
      let own = this.#widths.get(character)
      if (own === undefined) {
        this.#font(false)
        own = this.#document.widthOfString(character)
        this.#widths.set(character, own)
      }
      width += own
    }
    return width
  }
}

/** Words, each with the blanks before it. */
function wordsOf(text: string): string[] {
  return text.trim().match(/\s*\S+/g) ?? []
}
