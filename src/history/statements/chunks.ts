/** Pieces are gathered to this size: a line is too little to send, and a hundred are no burden. */
const chunkCharactersMin = 16_384

/** The same text in fewer pieces; it reads no further than the piece it is about to give. */
export async function* inChunks(pieces: AsyncIterable<string>): AsyncIterable<string> {
  let chunk = ''
  for await (const piece of pieces) {
    chunk += piece
    if (chunk.length < chunkCharactersMin) continue
    yield chunk
    chunk = ''
  }
  if (chunk !== '') yield chunk
}
