import t from 'tap'
import { sha256, signatureOf } from './sigv4.js'

t.test('the server of these tests signs as AWS does', (t) => {
  // Examples of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
  const secretAccessKey = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
  const key = { secretAccessKey, region: 'us-east-1', time: '20130524T000000Z' }
  const payloadHash = sha256('')
  const headers = {
    host: 'examplebucket.s3.amazonaws.com',
    range: 'bytes=0-9',
    'x-amz-content-sha256': payloadHash,
    'x-amz-date': key.time,
  }
  const names = ['host', 'x-amz-content-sha256', 'x-amz-date']
  const ofObject = { method: 'GET', target: '/test.txt', headers, payloadHash }
  t.equal(
    signatureOf({ ...ofObject, signedHeaders: Object.keys(headers) }, key),
    'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  )
  t.equal(
    signatureOf({ ...ofObject, target: '/?max-keys=2&prefix=J', signedHeaders: names }, key),
    '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
  )
  t.end()
})
