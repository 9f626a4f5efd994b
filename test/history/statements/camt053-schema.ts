import type { XMLBuilder } from 'xmlbuilder2/lib/interfaces.js'

/**
 * What the schema of camt.053.001.08 says of the elements that we write: what each may hold, in its
 * order (`?` may be missing, `*` any number, else exactly one; `A|B` one of them), or what its text
 * looks like. Written by hand from the XSD, so that a test knows what no code of ours knows.
 */
const schema: Record<string, string[] | RegExp> = {
  Document: ['BkToCstmrStmt'],
  BkToCstmrStmt: ['GrpHdr', 'Stmt'],
  GrpHdr: ['MsgId', 'CreDtTm'],
  Stmt: [...['Id', 'ElctrncSeqNb?', 'CreDtTm?', 'FrToDt?', 'Acct', 'Bal*', 'TxsSummry?', 'Ntry*']],
  FrToDt: ['FrDtTm', 'ToDtTm'],
  Acct: ['Id', 'Ccy?', 'Nm?', 'Ownr?', 'Svcr?'],
  'Acct/Id': ['IBAN|Othr'],
  Othr: ['Id'],
  Ownr: ['Nm'],
  Svcr: ['FinInstnId'],
  FinInstnId: ['BICFI?', 'Nm?'],
  Bal: ['Tp', 'Amt', 'CdtDbtInd', 'Dt'],
  Tp: ['CdOrPrtry'],
  CdOrPrtry: ['Cd'],
  'Bal/Dt': ['Dt'],
  TxsSummry: ['TtlNtries?', 'TtlCdtNtries?', 'TtlDbtNtries?'],
  TtlNtries: ['NbOfNtries?', 'Sum?', 'TtlNetNtry?'],
  TtlNetNtry: ['Amt', 'CdtDbtInd'],
  TtlCdtNtries: ['NbOfNtries?', 'Sum?'],
  TtlDbtNtries: ['NbOfNtries?', 'Sum?'],
  Ntry: [
    ...['NtryRef?', 'Amt', 'CdtDbtInd', 'RvslInd?', 'Sts', 'BookgDt?', 'ValDt?', 'AcctSvcrRef?'],
    ...['BkTxCd', 'NtryDtls?'],
  ],
  Sts: ['Cd'],
  BookgDt: ['Dt'],
  ValDt: ['Dt'],
  BkTxCd: ['Prtry'],
  'BkTxCd/Prtry': ['Cd'],
  NtryDtls: ['TxDtls'],
  TxDtls: ['Refs?', 'Amt?', 'CdtDbtInd?', 'RltdPties?', 'Purp?', 'RmtInf?', 'RltdDts?'],
  Refs: ['AcctSvcrRef?', 'EndToEndId?', 'Prtry?'],
  'Refs/Prtry': ['Tp', 'Ref'],
  'Prtry/Tp': /^.{1,35}$/su,
  RltdPties: ['DbtrAcct?', 'CdtrAcct?'],
  DbtrAcct: ['Id'],
  CdtrAcct: ['Id'],
  'DbtrAcct/Id': ['Othr'],
  'CdtrAcct/Id': ['Othr'],
  Purp: ['Prtry'],
  RmtInf: ['Ustrd*'],
  RltdDts: ['AccptncDtTm?'],

  MsgId: /^.{1,35}$/su,
  'Stmt/Id': /^.{1,35}$/su,
  ElctrncSeqNb: /^\d{1,18}$/,
  CreDtTm: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?$/,
  FrDtTm: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?$/,
  ToDtTm: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?$/,
  AccptncDtTm: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?$/,
  Dt: /^\d{4}-\d\d-\d\d$/,
  IBAN: /^[A-Z]{2}[0-9]{2}[a-zA-Z0-9]{1,30}$/,
  'Othr/Id': /^.{1,34}$/su,
  Ccy: /^[A-Z]{3}$/,
  'Acct/Nm': /^.{1,70}$/su,
  Nm: /^.{1,140}$/su,
  BICFI: /^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$/,
  Amt: /^(?=(?:\D*\d){1,18}\D*$)\d+(\.\d{1,5})?$/,
  Sum: /^(?=(?:\D*\d){1,18}\D*$)\d+(\.\d{1,17})?$/,
  CdtDbtInd: /^(CRDT|DBIT)$/,
  RvslInd: /^true$/,
  NbOfNtries: /^\d{1,15}$/,
  NtryRef: /^.{1,35}$/su,
  'CdOrPrtry/Cd': /^(OPBD|CLBD)$/,
  'Sts/Cd': /^BOOK$/,
  Cd: /^.{1,35}$/su,
  Ref: /^.{1,35}$/su,
  AcctSvcrRef: /^.{1,35}$/su,
  EndToEndId: /^.{1,35}$/su,
  'Purp/Prtry': /^.{1,35}$/su,
  Ustrd: /^.{1,140}$/su,
}

/** What we need of the DOM. */
export interface XmlElement {
  localName: string
  nodeType: number
  textContent: string | null
  childNodes: Iterable<XmlElement>
}

/** What is wrong with a parsed document, as paths and reasons; nothing if it fits the schema. */
export function schemaFaults(document: XMLBuilder): string[] {
  return faultsOf(document.root().node as unknown as XmlElement, '')
}

function faultsOf(element: XmlElement, parent: string): string[] {
  const name = element.localName
  const rule = schema[`${parent}/${name}`] ?? schema[name]
  if (rule === undefined) return [`${parent}/${name} is not known`]
  if (rule instanceof RegExp) {
    const text = element.textContent ?? ''
    return rule.test(text) ? [] : [`${parent}/${name} is ${JSON.stringify(text)}`]
  }
  const children = elementsOf(element)
  const names = children.map((child) => child.localName).join(' ')
  const order = rule.map((item) => {
    const [, choice, howMany] = /^([^?*]+)([?*]?)$/.exec(item) as RegExpExecArray
    return `(?:(?:${choice}) )${howMany}`
  })
  const fits = new RegExp(`^${order.join('')}$`).test(`${names} `)
  const own = fits ? [] : [`${parent}/${name} holds ${names}`]
  return [...own, ...children.flatMap((child) => faultsOf(child, name))]
}

/** The children that are elements. */
export function elementsOf(element: XmlElement): XmlElement[] {
  return [...element.childNodes].filter((node) => node.nodeType === 1)
}

/** Texts of all elements at a path below `element`, such as `Ntry/Amt`. */
export function textsAt(element: XmlElement, path: string): string[] {
  let found = [element]
  for (const name of path.split('/')) {
    found = found.flatMap((one) => elementsOf(one).filter((child) => child.localName === name))
  }
  return found.map((one) => one.textContent ?? '')
}
