/** The stream of each slot, as the row of the book keeps it: an int for each, big-endian. */
export function slotBytes(streamOfSlot: Int32Array): Buffer {
  const bytes = Buffer.alloc(streamOfSlot.length * 4)
  for (const [slot, stream] of streamOfSlot.entries()) bytes.writeInt32BE(stream, slot * 4)
  return bytes
}

/** Reads what {@link slotBytes} has written. */
export function slotsFrom(bytes: Buffer): Int32Array {
  const streamOfSlot = new Int32Array(bytes.length / 4)
  for (let slot = 0; slot < streamOfSlot.length; slot++) {
    streamOfSlot[slot] = bytes.readInt32BE(slot * 4)
  }
  return streamOfSlot
}
